// The largest elements of rows, against sorting all of them.
#include <algorithm>
#include <cmath>

#include "ops_support.h"

namespace gptq::test {
namespace {

std::vector<Ranked> sorted(const std::vector<float>& row) {
  std::vector<Ranked> all;
  for (size_t i = 0; i < row.size(); ++i) all.push_back({static_cast<int32_t>(i), row[i]});
  std::stable_sort(all.begin(), all.end(), [](const Ranked& a, const Ranked& b) {
    return std::isnan(a.value) ? !std::isnan(b.value) : a.value > b.value;
  });
  return all;
}

void expect_largest(std::vector<float> x, int64_t rows, int64_t count, int threads = 2) {
  const auto cols = static_cast<int64_t>(x.size()) / rows;
  std::vector<Ranked> out(static_cast<size_t>(rows * count));
  const auto backend = backend_with(threads);
  backend->create_stream(nullptr)->largest(matrix(x, rows, cols), count, out);
  for (int64_t r = 0; r < rows; ++r) {
    const std::vector<Ranked> wanted = sorted({x.begin() + r * cols, x.begin() + (r + 1) * cols});
    for (int64_t i = 0; i < count; ++i) {
      const Ranked &got = out[static_cast<size_t>(r * count + i)], &want = wanted[static_cast<size_t>(i)];
      ASSERT_EQ(got.column, want.column) << "row " << r << ", place " << i << " of " << count;
      if (!std::isnan(want.value)) {
        ASSERT_EQ(got.value, want.value);
      }
    }
  }
}

TEST(Largest, AreThoseThatComeFirst) {
  Random random(3);
  for (int64_t cols : {1, 2, 100, 5000}) {
    for (int64_t count : {int64_t{1}, int64_t{7}, kMostLargest}) {
      if (count <= cols) expect_largest(random_floats(random, 3 * cols), 3, count);
    }
  }
  expect_largest(random_floats(random, 40), 1, 40);
}

TEST(Largest, OfEqualsTheLowerColumn) {
  Random random(4);
  std::vector<float> x = random_floats(random, 600);
  for (float& v : x) v = std::round(v * 3);  // -0 among them
  for (int64_t count : {1, 50, 300}) expect_largest(x, 2, count);
  expect_largest(std::vector<float>(20, -INFINITY), 1, 5);
}

TEST(Largest, WhatIsNoNumberComesFirst) {
  Random random(5);
  std::vector<float> x = random_floats(random, 100);
  x[70] = x[30] = NAN;
  x[60] = INFINITY;
  for (int64_t count : {1, 2, 3, 100}) expect_largest(x, 1, count);
}

TEST(Largest, NoneOfNone) {
  expect_largest({1, 2, 3}, 1, 0);
  backend_with(1)->create_stream(nullptr)->largest({nullptr, 0, 5}, 2, {});
}

TEST(ExpSums, AreThoseOfTheirDefinition) {
  Random random(4);
  std::vector<float> x = random_floats(random, 3 * 50);
  for (float& v : x) v *= 9;
  x[60] = -INFINITY;
  const std::vector<double> temperatures{0.1, 1, 40};
  std::vector<double> sums(3);
  backend_with(2)->create_stream(nullptr)->exp_sums(matrix(x, 3, 50), temperatures, sums);
  for (size_t r = 0; r < 3; ++r) {
    const auto begin = x.begin() + static_cast<int64_t>(r) * 50;
    const double most = *std::max_element(begin, begin + 50);
    double sum = 0;
    for (int64_t i = 0; i < 50; ++i) sum += std::exp((double{begin[i]} - most) / temperatures[r]);
    EXPECT_DOUBLE_EQ(sums[r], sum);
  }
  backend_with(1)->create_stream(nullptr)->exp_sums({nullptr, 0, 5}, {}, {});
}

}  // namespace
}  // namespace gptq::test
