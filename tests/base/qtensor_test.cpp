#include "base/qtensor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

namespace gptq {
namespace {

Tensor matrix_of(const std::vector<float>& values, int64_t rows) {
  std::byte* bytes = nullptr;
  const Tensor t = make_tensor(DType::f32, {rows, static_cast<int64_t>(values.size()) / rows}, &bytes);
  if (!values.empty()) std::memcpy(bytes, values.data(), values.size() * sizeof(float));
  return t;
}

std::vector<float> values_of(const QTensor& q) {
  std::vector<float> values(static_cast<size_t>(q.rows * q.cols));
  for (int64_t n = 0; n < q.rows; ++n) dequantize_row(q, n, values.data() + n * q.cols);
  return values;
}

TEST(RoundToNearest, EachGroupByItsLargest) {
  // two rows, groups of 3 and a rest of 1
  const QTensor q = round_to_nearest(matrix_of({7, -3.4f, 0.6f, 1e-35f, 0, 0, 0, -14}, 2), 4, 3);
  validate(q, "q");
  EXPECT_EQ(q.groups, 2);
  EXPECT_EQ(values_of(q), (std::vector<float>{7, -3, 1, 0, 0, 0, 0, -14}));
}

TEST(RoundToNearest, NumbersThatAreNone) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const QTensor q = round_to_nearest(matrix_of({NAN, 1, -kInfinity, kInfinity}, 2), 8, 128);
  validate(q, "q");
  const auto values = values_of(q);
  EXPECT_EQ(values[0], 0);
  EXPECT_FLOAT_EQ(values[1], 1);
  EXPECT_LT(values[2], -3e38f);
  EXPECT_GT(values[3], 3e38f);
}

TEST(RoundToNearest, NoInputs) {
  const QTensor q = round_to_nearest(matrix_of({}, 1), 8, 128);
  EXPECT_EQ(q.cols, 0);
  EXPECT_TRUE(q.codes.empty());
}

}  // namespace
}  // namespace gptq
