// Coordinate descent from a solution: it must end where no single change helps.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <tuple>

#include "backend/range.h"
#include "quant/oracle.h"
#include "quant/solver_support.h"

namespace gptq {
namespace {

/// A problem, and a solution of it by rounding to nearest.
struct Refining {
  int64_t rows, cols, groups;
  int bits;
  std::vector<float> target, scales, diagonal_add;
  std::vector<uint8_t> codes;
  std::vector<uint16_t> zeros;
  std::vector<int32_t> group_of, order;
  std::vector<std::vector<double>> h;  // as refine() sees it
  std::unique_ptr<Hessian> hessian;
  std::vector<double> row_loss;

  Refining(const test::CpuBench& bench, int64_t rows_in, int64_t cols_in, int64_t group, int bits_in,
           Symmetric symmetric)
      : rows(rows_in), cols(cols_in), groups((cols + group - 1) / group), bits(bits_in) {
    const std::vector<float> x = test::correlated_inputs(2 * cols, cols, 3);
    hessian = bench.hessian(x, cols);
    order.resize(static_cast<size_t>(cols));
    std::iota(order.begin(), order.end(), 0);
    std::reverse(order.begin(), order.end());
    const auto gram = test::gram(x, static_cast<int>(cols));
    double trace = 0;
    for (int64_t i = 0; i < cols; ++i) trace += gram[i][i];
    diagonal_add.assign(order.size(), static_cast<float>(1e-3 * trace / static_cast<double>(cols)));
    h.assign(order.size(), std::vector<double>(order.size()));
    for (int64_t i = 0; i < cols; ++i) {
      for (int64_t j = 0; j < cols; ++j) h[i][j] = gram[order[i]][order[j]] + (i == j ? diagonal_add[i] : 0);
    }
    target = test::normal(rows * cols, 5);
    round_to_nearest(group, symmetric);
    row_loss.resize(static_cast<size_t>(rows));
  }

  void round_to_nearest(int64_t group, Symmetric symmetric) {
    codes.resize(target.size());
    scales.resize(static_cast<size_t>(groups * rows));
    zeros.resize(scales.size());
    for (int64_t j = 0; j < cols; ++j) group_of.push_back(static_cast<int32_t>(j / group));
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t g = 0; g < groups; ++g) {
        const auto begin = target.begin() + r * cols + g * group;
        const auto end = std::min(begin + group, target.begin() + (r + 1) * cols);
        const Range range = range_of(*std::min_element(begin, end), *std::max_element(begin, end),
                                     {.bits = bits, .symmetric = symmetric});
        scales[g * rows + r] = range.scale;
        zeros[g * rows + r] = range.zero;
      }
      for (int64_t j = 0; j < cols; ++j) {
        const double steps = std::nearbyint(target[r * cols + j] / scale(r, j)) + zero(r, j);
        codes[r * cols + j] = static_cast<uint8_t>(std::clamp(steps, 0.0, double((1 << bits) - 1)));
      }
    }
  }

  double scale(int64_t r, int64_t j) const { return scales[group_of[j] * rows + r]; }
  double zero(int64_t r, int64_t j) const { return zeros[group_of[j] * rows + r]; }
  double value(int64_t r, int64_t j) const { return scale(r, j) * (codes[r * cols + j] - zero(r, j)); }

  std::vector<double> residual(int64_t r) const {
    std::vector<double> result(order.size());
    for (int64_t j = 0; j < cols; ++j) result[j] = target[r * cols + j] - value(r, j);
    return result;
  }
  /// R H
  std::vector<double> gradient(int64_t r) const {
    std::vector<double> result(order.size());
    const std::vector<double> difference = residual(r);
    for (int64_t i = 0; i < cols; ++i) {
      for (int64_t j = 0; j < cols; ++j) result[j] += difference[i] * h[i][j];
    }
    return result;
  }
  double loss(int64_t r) const {
    const std::vector<double> difference = residual(r), g = gradient(r);
    return std::inner_product(g.begin(), g.end(), difference.begin(), 0.0) / 2;
  }
  double loss() const {
    double total = 0;
    for (int64_t r = 0; r < rows; ++r) total += loss(r);
    return total;
  }

  void refine(const test::CpuBench& bench, int sweeps, int refits) {
    // stored with the first half behind the second
    std::vector<int32_t> stored(order.size());
    std::iota(stored.begin(), stored.end(), 0);
    std::rotate(stored.begin(), stored.begin() + cols / 2, stored.end());
    std::vector<float> moved_target(target.size());
    std::vector<uint8_t> moved_codes(codes.size());
    const auto each = [&](const auto& visit) {
      for (int64_t i = 0; i < rows * cols; ++i) visit(i, i / cols * cols + stored[i % cols]);
    };
    each([&](int64_t i, int64_t place) {
      moved_target[place] = target[i];
      moved_codes[place] = codes[i];
    });
    RefineProblem problem{.rows = rows,
                          .cols = cols,
                          .target = moved_target.data(),
                          .group_of = group_of.data(),
                          .stored = stored.data(),
                          .codes = moved_codes.data(),
                          .scales = scales.data(),
                          .zeros = zeros.data(),
                          .row_loss = row_loss.data()};
    bench.stream->refine(*hessian, order, diagonal_add, {.bits = bits, .sweeps = sweeps, .refits = refits},
                         problem);
    each([&](int64_t i, int64_t place) { codes[i] = moved_codes[place]; });
  }

  /// Weights for which another code would be better than the one that they have, ties left out.
  int64_t movable() const {
    int64_t count = 0;
    for (int64_t r = 0; r < rows; ++r) {
      const std::vector<double> g = gradient(r);
      for (int64_t j = 0; j < cols; ++j) {
        const double steps = (value(r, j) + g[j] / h[j][j]) / scale(r, j) + zero(r, j);
        const double best = std::clamp(steps, 0.0, double((1 << bits) - 1));
        count += std::fabs(best - codes[r * cols + j]) > 0.501;
      }
    }
    return count;
  }

  /// The largest part by which a better scale differs from what a group has, where that is allowed.
  double worst_scale() const {
    double worst = 0;
    for (int64_t r = 0; r < rows; ++r) {
      const std::vector<double> g = gradient(r);
      for (int64_t group = 0; group < groups; ++group) {
        double numerator = 0, denominator = 0;
        for (int64_t i = 0; i < cols; ++i) {
          if (group_of[i] != group) continue;
          const double c = codes[r * cols + i] - zero(r, i);
          numerator += c * g[i];
          for (int64_t j = 0; j < cols; ++j) {
            if (group_of[j] == group) denominator += c * h[i][j] * (codes[r * cols + j] - zero(r, j));
          }
        }
        const double part = numerator / denominator / scales[group * rows + r];
        if (denominator > 0 && part >= -0.5 && part <= 1) worst = std::max(worst, std::fabs(part));
      }
    }
    return worst;
  }
};

using Shape = std::tuple<int64_t, int64_t, int, Symmetric>;  // columns, group, bits
class Refine : public testing::TestWithParam<Shape> {
 protected:
  Refining make(const test::CpuBench& bench, int64_t rows) const {
    const auto [cols, group, bits, symmetric] = GetParam();
    return {bench, rows, cols, group, bits, symmetric};
  }
};

TEST_P(Refine, EndsWhereNoCodeCanMove) {
  const test::CpuBench bench;
  Refining problem = make(bench, 21);
  double last = problem.loss();
  const double first = last;
  if (problem.cols > 1) {
    EXPECT_GT(problem.movable(), 0);
  }
  for (int i = 0; i < 4; ++i) {
    problem.refine(bench, 1, 0);
    const double now = problem.loss();
    EXPECT_LE(now, last * (1 + 1e-6));
    last = now;
  }
  problem.refine(bench, 40, 0);
  EXPECT_EQ(problem.movable(), 0);
  if (problem.cols > 1) {
    EXPECT_LT(problem.loss(), 0.7 * first);
  }
}

TEST_P(Refine, RefitsUntilScalesAreTheBest) {
  const test::CpuBench bench;
  Refining problem = make(bench, 18);
  problem.refine(bench, 4, 0);
  double last = problem.loss();
  for (int i = 0; i < 3; ++i) {
    problem.refine(bench, 1, 1);
    const double now = problem.loss();
    EXPECT_LE(now, last * (1 + 1e-5));  // scales are rounded to fp16
    last = now;
  }
  problem.refine(bench, 60, 60);
  EXPECT_LT(problem.worst_scale(), 0.02);  // what fp16 leaves of one moves its neighbours
}

TEST_P(Refine, TellsTheLossOfEachRow) {
  const test::CpuBench bench;
  Refining problem = make(bench, 17);
  problem.refine(bench, 2, 1);
  for (int64_t r = 0; r < problem.rows; ++r)
    EXPECT_NEAR(problem.row_loss[r], problem.loss(r), 1e-4 * problem.loss(r));
}

TEST_P(Refine, ThreadsDontMatter) {
  Refining one = make(test::CpuBench(1), 50), many = make(test::CpuBench(3), 50);
  one.refine(test::CpuBench(1), 3, 2);
  many.refine(test::CpuBench(3), 3, 2);
  EXPECT_EQ(one.codes, many.codes);
  EXPECT_EQ(one.scales, many.scales);
  EXPECT_EQ(one.row_loss, many.row_loss);
}

INSTANTIATE_TEST_SUITE_P(All, Refine,
                         testing::Values(Shape{96, 32, 4, Symmetric::yes}, Shape{200, 16, 2, Symmetric::no},
                                         Shape{290, 160, 3, Symmetric::yes},
                                         Shape{150, 150, 4, Symmetric::no}, Shape{129, 128, 3, Symmetric::no},
                                         Shape{33, 5, 8, Symmetric::yes}, Shape{1, 1, 2, Symmetric::no}),
                         [](const auto& info) {
                           return "columns" + std::to_string(std::get<0>(info.param)) + "_group" +
                                  std::to_string(std::get<1>(info.param));
                         });

}  // namespace
}  // namespace gptq
