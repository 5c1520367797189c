// Quantized matrices on disk: what is read is what was written, bit for bit, and nothing else is believed.
#include "quant/layer_file.h"

#include <random>

#include "base/error.h"
#include "support/test_data.h"

namespace gptq::test {
namespace {

QTensor random_matrix(int bits, int64_t rows, int64_t cols, int64_t groups, std::mt19937& random) {
  QTensor q{.bits = bits, .rows = rows, .cols = cols, .groups = groups};
  const auto limit = 1u << bits;
  for (int64_t i = 0; i < rows * cols; ++i) q.codes.push_back(static_cast<uint8_t>(random() % limit));
  for (int64_t i = 0; i < groups * rows; ++i) {
    q.scales.push_back(static_cast<float>(random() + 1.0) * 1e-9f);
    q.zeros.push_back(static_cast<uint16_t>(random() % (limit + 1)));
  }
  for (int64_t i = 0; i < cols; ++i) q.group_of.push_back(static_cast<int32_t>(random() % groups));
  return q;
}

void expect_equal(const QTensor& a, const QTensor& b) {
  EXPECT_EQ(a.bits, b.bits);
  EXPECT_EQ(a.codes, b.codes);
  EXPECT_EQ(a.scales, b.scales);
  EXPECT_EQ(a.zeros, b.zeros);
  EXPECT_EQ(a.group_of, b.group_of);
}

TEST(LayerFile, GivesBackWhatWasWritten) {
  const TemporaryFolder folder;
  std::mt19937 random(3);
  std::vector<QTensor> matrices;
  for (int bits : kBitWidths) {
    matrices.push_back(random_matrix(bits, 5, 33, 3, random));
    matrices.push_back(random_matrix(bits, 1, 1, 1, random));
  }
  LayerFileWriter writer{FileWriter(folder / "layer")};
  std::vector<MatrixShape> shapes;
  for (const QTensor& q : matrices) shapes.push_back(writer.append(q));
  writer.finish();
  const File file(folder / "layer");
  EXPECT_EQ(file.size(), writer.bytes());
  EXPECT_EQ(hash_of(file), writer.hash());
  uint64_t offset = 0;
  for (size_t i = 0; i < matrices.size(); ++i) {
    expect_equal(read_matrix(file, offset, shapes[i], "m"), matrices[i]);
    offset += stored_bytes(shapes[i], "m");
  }
  EXPECT_EQ(offset, file.size());
}

TEST(LayerFile, BelievesNoSize) {
  const TemporaryFolder folder;
  std::mt19937 random(4);
  LayerFileWriter writer{FileWriter(folder / "layer")};
  const MatrixShape good = writer.append(random_matrix(4, 8, 32, 2, random));
  writer.finish();
  const File file(folder / "layer");
  const auto fault_of = [&](uint64_t offset, MatrixShape shape) {
    try {
      read_matrix(file, offset, shape, "m");
      return Fault::none;
    } catch (const Error& error) {
      return error.fault();
    }
  };
  EXPECT_EQ(fault_of(0, good), Fault::none);
  EXPECT_EQ(fault_of(1, good), Fault::truncated);
  EXPECT_EQ(fault_of(UINT64_MAX, good), Fault::truncated);
  MatrixShape shape = good;
  shape.rows = INT64_MAX;
  EXPECT_EQ(fault_of(0, shape), Fault::range);
  shape.rows = int64_t{1} << 40;
  EXPECT_EQ(fault_of(0, shape), Fault::truncated);
  shape = good;
  shape.bits = 5;
  shape.rows = 4;
  EXPECT_EQ(fault_of(0, shape), Fault::unsupported);
  shape = good;
  shape.groups = 1;  // the second group's scales are taken for zero points then
  EXPECT_EQ(fault_of(0, shape), Fault::range);
}

}  // namespace
}  // namespace gptq::test
