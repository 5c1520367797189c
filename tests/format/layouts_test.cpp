// Layouts of other programs: golden words, whole modules packed by their published recipes, and faults.
#include "format/layout.h"

#include <array>
#include <numeric>

#include "base/half.h"
#include "format/bit_stream.h"
#include "format/format_support.h"
#include "format/memory_checkpoint.h"
#include "format/written_module.h"

namespace gptq {
namespace {

using test::expect_equal;
using test::MemoryCheckpoint;
using test::Outcome;
using test::outcome_of;

using Words = std::vector<uint32_t>;
using Halves = std::vector<uint16_t>;

/// All different where they can be; zero points over the whole range.
QTensor sample(int64_t k, int64_t n, int64_t group_size, Symmetry symmetry, int bits = 4) {
  QTensor q{.bits = bits, .rows = n, .cols = k, .groups = (k + group_size - 1) / group_size};
  const int levels = 1 << bits;
  for (int64_t i = 0; i < n * k; ++i)
    q.codes.push_back(static_cast<uint8_t>((i * 7 + i / k * 5 + 3) % levels));
  for (int64_t i = 0; i < q.groups * n; ++i) {
    q.scales.push_back(fp16_to_float(static_cast<uint16_t>(0x2000 + i)));
    q.zeros.push_back(
        static_cast<uint16_t>(symmetry == Symmetry::symmetric ? levels / 2 : (i * 3 + i / n) % levels));
  }
  for (int64_t i = 0; i < k; ++i) q.group_of.push_back(static_cast<int32_t>(i / group_size));
  return q;
}

uint8_t code(const QTensor& q, int64_t k, int64_t n) { return q.codes[static_cast<size_t>(n * q.cols + k)]; }

Halves halves(const std::vector<float>& scales) {
  Halves out;
  for (float scale : scales) out.push_back(float_to_fp16(scale));
  return out;
}

/// AutoAWQ: the codes of outputs 8c + 0, 2, 4, 6, 1, 3, 5, 7 from the lowest nibble up.
template <class CodeAt>
Words pack_awq(int64_t rows, int64_t cols, const CodeAt& code_at) {
  Words words;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; c += 8) {
      uint32_t word = 0;
      for (const auto& [nibble, column] :
           {std::pair{0, 0}, std::pair{1, 2}, std::pair{2, 4}, std::pair{3, 6}, std::pair{4, 1},
            std::pair{5, 3}, std::pair{6, 5}, std::pair{7, 7}}) {
        word |= uint32_t{code_at(r, c + column)} << (4 * nibble);
      }
      words.push_back(word);
    }
  }
  return words;
}

void put_awq(MemoryCheckpoint& m, const QTensor& q) {
  const auto zero_at = [&](int64_t g, int64_t n) {
    return static_cast<uint8_t>(q.zeros[static_cast<size_t>(g * q.rows + n)]);
  };
  m.put("qweight", DType::i32, {q.cols, q.rows / 8},
        pack_awq(q.cols, q.rows, [&](int64_t k, int64_t n) { return code(q, k, n); }));
  m.put("qzeros", DType::i32, {q.groups, q.rows / 8}, pack_awq(q.groups, q.rows, zero_at));
  m.put("scales", DType::f16, {q.groups, q.rows}, halves(q.scales));
}

const QuantConfig kAwq{.group_size = 32, .symmetry = Symmetry::asymmetric, .format = QuantFormat::awq_gemm};

TEST(AwqGemm, GoldenWords) {
  for (const auto& [word, codes] :
       {std::pair{0x75316420u, std::array<uint8_t, 8>{0, 1, 2, 3, 4, 5, 6, 7}},
        std::pair{0x468ADF13u, std::array<uint8_t, 8>{3, 10, 1, 8, 15, 6, 13, 4}}}) {
    MemoryCheckpoint m;
    m.put("qweight", DType::i32, {1, 1}, Words{word});
    m.put("qzeros", DType::i32, {1, 1}, Words{word});
    m.put("scales", DType::f16, {1, 8}, Halves(8, 0x3C00));
    const QTensor q = read_module(m, "m", kAwq, 1, 8);
    EXPECT_TRUE(std::equal(codes.begin(), codes.end(), q.codes.begin()));
    EXPECT_TRUE(std::equal(codes.begin(), codes.end(), q.zeros.begin()));
  }
}

TEST(AwqGemm, ReadsWhatItsPackerWrites) {
  for (int64_t k : {64, 96, 80}) {  // the last group of 80 is half a group
    const QTensor q = sample(k, 40, 32, Symmetry::asymmetric);
    MemoryCheckpoint m;
    put_awq(m, q);
    expect_equal(read_module(m, "m", kAwq, k, 40), q);
  }
}

TEST(AwqGemm, Faults) {
  MemoryCheckpoint m;
  const QTensor q = sample(64, 16, 32, Symmetry::asymmetric);
  put_awq(m, q);
  const auto fault = [&](int64_t k, int64_t n, QuantConfig config = kAwq) {
    return outcome_of([&] { read_module(m, "m", config, k, n); }).fault;
  };
  EXPECT_EQ(fault(64, 16), Fault::none);
  EXPECT_EQ(fault(64, 24), Fault::mismatch);
  EXPECT_EQ(fault(96, 16), Fault::mismatch);
  EXPECT_EQ(fault(64, 20), Fault::unsupported);
  QuantConfig other = kAwq;
  other.bits = 8;
  EXPECT_EQ(fault(64, 16, other), Fault::unsupported);
  other = kAwq;
  other.group_size = 64;
  EXPECT_EQ(fault(64, 16, other), Fault::mismatch);
  other.group_size = 0;
  EXPECT_EQ(fault(64, 16, other), Fault::range);
  m.put("scales", DType::f16, {2, 16}, Halves(32, 0x7E00));  // NaN
  EXPECT_EQ(fault(64, 16), Fault::numeric);
  m.remove("qzeros");
  EXPECT_EQ(fault(64, 16), Fault::mismatch);
}

/// AutoAWQ: zero points and scales along the groups, with room for a multiple of 8.
void put_gemv(MemoryCheckpoint& m, const QTensor& q, int64_t width) {
  m.put("qweight", DType::i32, {q.rows, q.cols / 8}, pack_bits(q.codes, 4));
  Words zeros;
  Halves scales;
  for (int64_t n = 0; n < q.rows; ++n) {
    std::vector<uint8_t> row(static_cast<size_t>(8 * width), 0);
    for (int64_t g = 0; g < 8 * width; ++g) {
      const auto at = static_cast<size_t>(g * q.rows + n);
      if (g < q.groups) row[static_cast<size_t>(g)] = static_cast<uint8_t>(q.zeros[at]);
      scales.push_back(g < q.groups ? float_to_fp16(q.scales[at]) : uint16_t{0});
    }
    const auto words = pack_bits(row, 4);
    zeros.insert(zeros.end(), words.begin(), words.end());
  }
  m.put("qzeros", DType::i32, {q.rows, width}, zeros);
  m.put("scales", DType::f16, {q.rows, 8 * width}, scales);
}

TEST(AwqGemv, ReadsWhatItsPackerWrites) {
  const QuantConfig kGemv{
      .group_size = 32, .symmetry = Symmetry::asymmetric, .format = QuantFormat::awq_gemv};
  for (const auto& [k, width] : {std::pair{64, 4}, std::pair{288, 2}, std::pair{80, 1}}) {
    const QTensor q = sample(k, 5, 32, Symmetry::asymmetric);
    MemoryCheckpoint m;
    put_gemv(m, q, width);
    expect_equal(read_module(m, "m", kGemv, k, 5), q);
  }
  MemoryCheckpoint m;
  put_gemv(m, sample(288, 5, 32, Symmetry::asymmetric), 2);
  m.put("qzeros", DType::i32, {5, 1}, Words(5));  // room for 8 groups of 9
  EXPECT_EQ(outcome_of([&] { read_module(m, "m", kGemv, 288, 5); }).fault, Fault::mismatch);
}

/// Marlin's _perm: where each of the 1024 codes of a block of 16 x 64 comes from.
std::vector<int> marlin_permutation() {
  std::vector<int> perm;
  for (int i = 0; i < 32; ++i) {
    std::vector<int> part;
    for (int block : {0, 1}) {
      for (int row : {2 * (i % 4), 2 * (i % 4) + 1, 2 * (i % 4) + 8, 2 * (i % 4) + 9}) {
        part.push_back(16 * row + i / 4 + 8 * block);
      }
    }
    for (int tile = 0; tile < 4; ++tile) {
      for (int p : part) perm.push_back(p + 256 * tile);
    }
  }
  std::vector<int> interleaved;
  for (size_t i = 0; i < perm.size(); i += 8) {
    for (size_t place : {0, 2, 4, 6, 1, 3, 5, 7}) interleaved.push_back(perm[i + place]);
  }
  return interleaved;
}

/// Reshape (K/16, 16, N/16, 16), permute (0, 2, 1, 3), then _perm in blocks of 1024 and eight codes to a word.
template <class CodeAt>
Words pack_marlin(int64_t k, int64_t n, const CodeAt& code_at) {
  const std::vector<int> perm = marlin_permutation();
  Words words;
  for (int64_t tile = 0; tile < k / 16; ++tile) {
    std::vector<uint8_t> row;
    for (int64_t column = 0; column < n / 16; ++column) {
      for (int64_t i = 0; i < 256; ++i) row.push_back(code_at(16 * tile + i / 16, 16 * column + i % 16));
    }
    std::vector<uint8_t> moved(row.size());
    for (size_t i = 0; i < row.size(); ++i)
      moved[i] = row[i / 1024 * 1024 + static_cast<size_t>(perm[i % 1024])];
    const Words packed = pack_bits(moved, 4);
    words.insert(words.end(), packed.begin(), packed.end());
  }
  return words;
}

/// stored[i] = scale[order[i]] in blocks of the order's length
Halves pack_marlin_scales(const QTensor& q) {
  std::vector<int> order;
  if (q.groups > 1) {
    for (int i = 0; i < 8; ++i) {
      for (int j = 0; j < 8; ++j) order.push_back(i + 8 * j);
    }
  } else {
    for (int i = 0; i < 4; ++i) {
      for (int j : {0, 1, 8, 9, 16, 17, 24, 25}) order.push_back(2 * i + j);
    }
  }
  Halves stored;
  for (size_t i = 0; i < q.scales.size(); ++i) {
    const size_t block = i / order.size() * order.size();
    stored.push_back(float_to_fp16(q.scales[block + static_cast<size_t>(order[i % order.size()])]));
  }
  return stored;
}

const QuantConfig kMarlin{.group_size = 32, .format = QuantFormat::marlin};

TEST(Marlin, TheRecipeGivesTheGoldenWords) {
  const std::vector<int> perm = marlin_permutation();
  EXPECT_EQ(std::vector<int>(perm.begin(), perm.begin() + 16),
            (std::vector<int>{0, 128, 8, 136, 16, 144, 24, 152, 256, 384, 264, 392, 272, 400, 280, 408}));
  const Words words =
      pack_marlin(32, 128, [](int64_t k, int64_t n) { return static_cast<uint8_t>((3 * k + 5 * n) % 16); });
  ASSERT_EQ(words.size(), 512u);
  EXPECT_EQ(Words(words.begin(), words.begin() + 4), Words(4, 0x3BB30880));
  EXPECT_EQ(Words(words.end() - 4, words.end()), Words(4, 0x80085DD5));
}

TEST(Marlin, ReadsWhatItsPackerWrites) {
  for (int64_t group_size : {32, 96}) {  // groups, and one group alone
    const QTensor q = sample(96, 128, group_size, Symmetry::symmetric);
    MemoryCheckpoint m;
    m.put("B", DType::i32, {96 / 16, 2 * 128},
          pack_marlin(96, 128, [&](int64_t k, int64_t n) { return code(q, k, n); }));
    m.put("s", DType::f16, {q.groups, 128}, pack_marlin_scales(q));
    QuantConfig config = kMarlin;
    config.group_size = group_size == 96 ? -1 : group_size;
    expect_equal(read_module(m, "m", config, 96, 128), q);
    EXPECT_EQ(outcome_of([&] { read_module(m, "m", config, 96, 192); }).fault, Fault::mismatch);
    EXPECT_EQ(outcome_of([&] { read_module(m, "m", config, 96, 120); }).fault, Fault::unsupported);
    EXPECT_EQ(outcome_of([&] { read_module(m, "m", config, 112, 128); }).fault, Fault::mismatch);
  }
}

const QuantConfig kCompressed{.group_size = 32, .format = QuantFormat::compressed_tensors};

void put_written(MemoryCheckpoint& m, const QTensor& q, QuantFormat format) {
  const ModuleShape shape = shape_of(q);
  const auto infos = module_tensors("m", shape, format);
  const auto tensors = write_module(q, "m", shape, format);
  ASSERT_EQ(infos.size(), tensors.size());
  for (size_t i = 0; i < infos.size(); ++i) {
    ASSERT_EQ(infos[i].name, tensors[i].name);
    m.put(infos[i], tensors[i].bytes);
  }
}

TEST(CompressedTensors, RoundTrips) {
  for (int bits : {2, 3, 4, 8}) {
    for (auto symmetry : {Symmetry::symmetric, Symmetry::asymmetric}) {
      for (const auto& [k, n, group_size] :
           {std::array{64, 16, 32}, std::array{96, 13, 32}, std::array{35, 5, 35}}) {
        const QTensor q = sample(k, n, group_size, symmetry, bits);
        MemoryCheckpoint m;
        put_written(m, q, QuantFormat::compressed_tensors);
        EXPECT_EQ(m.find("m.weight_zero_point") != nullptr, symmetry == Symmetry::asymmetric);
        QuantConfig config = kCompressed;
        config.bits = bits;
        expect_equal(read_module(m, "m", config, k, n), q);
        config.bits = 12 - bits;  // another group of modules than the one that the label is of
        if (bits >= 4) expect_equal(read_module(m, "m", config, k, n), q);
      }
    }
  }
}

TEST(CompressedTensors, ZeroPointsAsBytesAndGroupsByIndex) {
  QTensor q = sample(64, 4, 32, Symmetry::asymmetric);
  MemoryCheckpoint m;
  put_written(m, q, QuantFormat::compressed_tensors);
  std::vector<int8_t> zeros;  // [n][groups], signed
  for (int n = 0; n < 4; ++n) {
    for (int g = 0; g < 2; ++g)
      zeros.push_back(static_cast<int8_t>(q.zeros[static_cast<size_t>(g * 4 + n)] - 8));
  }
  m.put("weight_zero_point", DType::i8, {4, 2}, zeros);
  expect_equal(read_module(m, "m", kCompressed, 64, 4), q);
  zeros[3] = 8;
  m.put("weight_zero_point", DType::i8, {4, 2}, zeros);
  EXPECT_EQ(outcome_of([&] { read_module(m, "m", kCompressed, 64, 4); }).fault, Fault::range);
  m.remove("weight_zero_point");
  q.zeros.assign(8, 8);
  std::reverse(q.group_of.begin(), q.group_of.end());
  m.put("weight_g_idx", DType::i32, {64}, q.group_of);
  expect_equal(read_module(m, "m", kCompressed, 64, 4), q);
  EXPECT_EQ(outcome_of([&] { put_written(m, q, QuantFormat::compressed_tensors); }).fault,
            Fault::unsupported);
}

TEST(CompressedTensors, Faults) {
  MemoryCheckpoint m;
  put_written(m, sample(64, 16, 32, Symmetry::asymmetric), QuantFormat::compressed_tensors);
  const auto read = [&](int64_t k = 64, int64_t n = 16) {
    return outcome_of([&] { read_module(m, "m", kCompressed, k, n); });
  };
  EXPECT_EQ(read().fault, Fault::none);
  EXPECT_EQ(read(64, 8).fault, Fault::mismatch);
  EXPECT_EQ(read(96, 16).fault, Fault::mismatch);
  m.put("weight_shape", DType::i64, {2}, std::vector<int64_t>{16, 63});
  const Outcome shape = read();
  EXPECT_EQ(shape.fault, Fault::mismatch);
  EXPECT_TRUE(shape.mentions("weight_shape") && shape.mentions("[16, 63]")) << shape.message;
  m.remove("weight_shape");
  EXPECT_EQ(read().fault, Fault::none);
  m.put("weight_scale", DType::f16, {16, 3}, Halves(48, 0x3C00));
  EXPECT_EQ(read().fault, Fault::mismatch);
  m.put("weight_scale", DType::f16, {16, 2}, Halves(32, 0));
  EXPECT_EQ(read().fault, Fault::numeric);
  QTensor partial = sample(80, 16, 32, Symmetry::symmetric);
  EXPECT_EQ(outcome_of([&] { put_written(m, partial, QuantFormat::compressed_tensors); }).fault,
            Fault::unsupported);
}

TEST(ScaleTypes, AreTheNarrowestThatHoldAll) {
  QTensor q = sample(64, 4, 32, Symmetry::symmetric);
  for (const auto& [scale, type] :
       {std::pair{0.1f, DType::f32}, std::pair{bf16_to_float(0x3001), DType::bf16}}) {
    q.scales[3] = scale;
    std::fill(q.scales.begin(), q.scales.begin() + 3, 0.5f);
    std::fill(q.scales.begin() + 4, q.scales.end(), 0.25f);
    EXPECT_EQ(shape_of(q).scale_type, type);
    for (auto format : {QuantFormat::gptq, QuantFormat::compressed_tensors}) {
      MemoryCheckpoint m;
      put_written(m, q, format);
      QuantConfig config = kCompressed;
      config.format = format;
      expect_equal(read_module(m, "m", config, 64, 4), q);
    }
  }
}

TEST(ZeroPoints, AreRaisedWhereNoCodeIsAtTheTop) {
  QTensor q = sample(4, 2, 2, Symmetry::symmetric);
  q.codes = {0, 14, 15, 3, 1, 2, 3, 15};
  q.zeros = {0, 8, 0, 8};  // [group][output]: output 0 has two groups at 0, one with a code at the top
  QTensor same = q;
  EXPECT_FALSE(raise_zero_points(same));
  EXPECT_EQ(same.codes, (std::vector<uint8_t>{1, 15, 15, 3, 1, 2, 3, 15}));
  EXPECT_EQ(same.zeros, (std::vector<uint16_t>{1, 8, 0, 8}));
  q.codes[2] = 14;
  same = q;
  EXPECT_TRUE(raise_zero_points(same));
  for (int64_t row : {0, 1}) {
    std::array<float, 4> before{}, after{};
    dequantize_row(q, row, before.data());
    dequantize_row(same, row, after.data());
    EXPECT_EQ(before, after);
  }
}

TEST(ReadOnlyFormats, AreNotWritten) {
  const QTensor q = sample(64, 16, 32, Symmetry::symmetric);
  for (auto format : {QuantFormat::awq_gemm, QuantFormat::awq_gemv, QuantFormat::marlin}) {
    EXPECT_EQ(outcome_of([&] { write_module(q, "m", shape_of(q), format); }).fault, Fault::unsupported);
    EXPECT_EQ(outcome_of([&] { module_tensors("m", shape_of(q), format); }).fault, Fault::unsupported);
  }
}

}  // namespace
}  // namespace gptq
