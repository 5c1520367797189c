// What holds for every problem: thread counts, scaling, degenerate inputs, refusals.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "backend/range.h"
#include "base/error.h"
#include "base/half.h"
#include "quant/solver_support.h"

namespace gptq {
namespace {

bool same(const QTensor& a, const QTensor& b) {
  return a.codes == b.codes && a.scales == b.scales && a.zeros == b.zeros && a.group_of == b.group_of;
}

SolveResult solve(const test::CpuBench& bench, const std::vector<float>& x, int64_t cols,
                  const std::vector<float>& w, const SolverOptions& options) {
  const auto hessian = bench.hessian(x, cols);
  Solver solver(*bench.stream, *hessian, nullptr, options);
  return solver.quantize(w.data(), static_cast<int64_t>(w.size()) / cols, "layer.weight");
}

double squared_error(const std::vector<float>& x, int64_t cols, const std::vector<float>& w,
                     const QTensor& q) {
  const std::vector<float> rounded = test::dequantized(q);
  double total = 0;
  for (size_t t = 0; t < x.size(); t += static_cast<size_t>(cols)) {
    for (size_t r = 0; r < w.size(); r += static_cast<size_t>(cols)) {
      double y = 0;
      for (size_t i = 0; i < static_cast<size_t>(cols); ++i)
        y += double{x[t + i]} * (double{w[r + i]} - rounded[r + i]);
      total += y * y;
    }
  }
  return total / (static_cast<double>(x.size()) / static_cast<double>(cols));
}

TEST(SolverProperty, ThreadsDontMatter) {
  const std::vector<float> x = test::correlated_inputs(700, 333, 1), w = test::normal(601 * 333, 2);
  const SolverOptions options{.group_size = 48, .order = Order::act};
  const SolveResult one = solve(test::CpuBench(1), x, 333, w, options);
  for (int threads : {2, 3}) {
    const SolveResult many = solve(test::CpuBench(threads), x, 333, w, options);
    EXPECT_TRUE(same(one.q, many.q)) << threads;
    EXPECT_EQ(one.loss, many.loss) << threads;
  }
}

TEST(SolverProperty, RowsDontMatterToEachOther) {
  const test::CpuBench bench;
  const std::vector<float> x = test::correlated_inputs(300, 96, 1), w = test::normal(37 * 96, 2);
  const SolveResult all = solve(bench, x, 96, w, {.group_size = 32});
  for (int64_t r : {0, 5, 36}) {
    const SolveResult one =
        solve(bench, x, 96, {w.begin() + r * 96, w.begin() + (r + 1) * 96}, {.group_size = 32});
    EXPECT_TRUE(same(one.q, slice_rows(all.q, r, r + 1))) << r;
  }
}

TEST(SolverProperty, SamplesTwiceChangeNothing) {
  const test::CpuBench bench;
  const std::vector<float> x = test::correlated_inputs(400, 160, 1), w = test::normal(40 * 160, 2);
  std::vector<float> twice = x;
  twice.insert(twice.end(), x.begin(), x.end());
  const SolveResult once = solve(bench, x, 160, w, {}), again = solve(bench, twice, 160, w, {});
  EXPECT_EQ(once.q.codes, again.q.codes);
  EXPECT_NEAR(once.loss, again.loss, 1e-4 * once.loss);
}

/// What the library does by default, plain GPTQ, and what lies between.
const SolverOptions kKinds[] = {
    {.group_size = 32},
    {.group_size = 32, .order = Order::act},
    {.bits = 3, .group_size = 64, .symmetric = Symmetric::no, .static_groups = StaticGroups::yes},
    {.bits = 2, .group_size = 32, .range = RangeSearch::mse, .target = Target::gptaq},
    {.group_size = 32, .range = RangeSearch::hessian, .target = Target::exact, .sweeps = 4, .refits = 2},
    {.bits = 8, .group_size = -1, .order = Order::none, .target = Target::exact, .sweeps = 1},
};

struct Problem {
  int64_t cols;
  std::vector<float> x, original, w;
};

Problem make_problem() {
  constexpr int64_t kCols = 160;
  const std::vector<float> original = test::correlated_inputs(400, kCols, 1);
  return {kCols, test::drifted(original, kCols, 3), original, test::normal(30 * kCols, 2)};
}

SolveResult solve(const Problem& problem, const SolverOptions& options) {
  const test::CpuBench bench;
  const auto hessian = bench.hessian(problem.x, problem.cols);
  const Drifts drifts{
      .inputs = bench.drift(problem.original, problem.x, problem.cols, problem.x, problem.cols),
      .residual = nullptr};
  const auto rows = static_cast<int64_t>(problem.w.size()) / problem.cols;
  return Solver(*bench.stream, *hessian, &drifts, options).quantize(problem.w.data(), rows, "w");
}

/// Part of the codes that differ.
double unequal(const std::vector<uint8_t>& a, const std::vector<uint8_t>& b) {
  EXPECT_EQ(a.size(), b.size());
  int64_t count = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) count += a[i] != b[i];
  return static_cast<double>(count) / static_cast<double>(a.size());
}

TEST(SolverProperty, ScaledInputsChangeTheLossAlone) {
  const Problem problem = make_problem();
  for (const SolverOptions& options : kKinds) {
    const SolveResult plain = solve(problem, options);
    for (const float scale : {0.125f, 64.0f}) {  // powers of two: no rounding differs
      Problem scaled = problem;
      for (float& v : scaled.x) v *= scale;
      for (float& v : scaled.original) v *= scale;
      const SolveResult result = solve(scaled, options);
      EXPECT_TRUE(same(plain.q, result.q)) << options.bits << " bits, scale " << scale;
      EXPECT_NEAR(result.loss, plain.loss * double{scale} * scale, 1e-6 * result.loss);
    }
  }
}

TEST(SolverProperty, ScaledWeightsChangeScalesAlone) {
  const Problem problem = make_problem();
  for (const SolverOptions& options : kKinds) {
    const SolveResult plain = solve(problem, options);
    Problem scaled = problem;
    for (float& v : scaled.w) v *= 4;
    SolveResult result = solve(scaled, options);
    for (float& s : result.q.scales) s /= 4;
    EXPECT_TRUE(same(plain.q, result.q)) << options.bits << " bits";
    EXPECT_NEAR(result.loss, 16 * plain.loss, 1e-6 * result.loss);
  }
}

TEST(SolverProperty, TokensTwiceChangeNothingForAnyKind) {
  const Problem problem = make_problem();
  Problem twice = problem;
  twice.x.insert(twice.x.end(), problem.x.begin(), problem.x.end());
  twice.original.insert(twice.original.end(), problem.original.begin(), problem.original.end());
  for (const SolverOptions& options : kKinds) {
    const SolveResult once = solve(problem, options), again = solve(twice, options);
    EXPECT_LE(unequal(once.q.codes, again.q.codes), 1e-3) << options.bits << " bits";
    EXPECT_NEAR(again.loss, once.loss, 1e-3 * once.loss);
  }
}

/// Column i of the result is column `from[i]`.
std::vector<float> permuted(const std::vector<float>& rows, const std::vector<size_t>& from) {
  std::vector<float> result;
  for (size_t row = 0; row < rows.size(); row += from.size()) {
    for (size_t column : from) result.push_back(rows[row + column]);
  }
  return result;
}

void expect_columns_follow(const SolverOptions& options, const std::vector<size_t>& from) {
  const Problem problem = make_problem();
  const SolveResult plain = solve(problem, options);
  const SolveResult moved = solve(
      {problem.cols, permuted(problem.x, from), permuted(problem.original, from), permuted(problem.w, from)},
      options);
  const std::vector<float> wanted = permuted(test::dequantized(plain.q), from);
  const std::vector<float> found = test::dequantized(moved.q);
  int64_t far = 0;
  for (size_t i = 0; i < wanted.size(); ++i) far += std::fabs(wanted[i] - found[i]) > 1e-6f;
  EXPECT_LE(static_cast<double>(far), 2e-3 * static_cast<double>(wanted.size())) << options.bits << " bits";
  EXPECT_NEAR(moved.loss, plain.loss, 1e-3 * plain.loss);
}

TEST(SolverProperty, ColumnsInAnotherOrderFollowIt) {
  std::vector<size_t> any, in_groups;
  for (size_t i = 0; i < 160; ++i) {
    any.push_back((i * 77 + 13) % 160);
    // within each 32 columns, and the groups among each other
    in_groups.push_back((i / 32 * 2 + 1) % 5 * 32 + (i % 32 * 11 + 5) % 32);
  }
  // groups that the order makes, or that all are one of
  expect_columns_follow({.group_size = 32, .order = Order::act}, any);
  expect_columns_follow({.bits = 3, .group_size = -1, .order = Order::act}, any);
  expect_columns_follow({.group_size = 32, .order = Order::act, .target = Target::gptaq}, any);
  expect_columns_follow({.bits = 3, .group_size = -1, .symmetric = Symmetric::no}, any);
  // groups of neighbours
  expect_columns_follow({.group_size = 32}, in_groups);
  expect_columns_follow({.group_size = 32, .static_groups = StaticGroups::yes, .target = Target::exact},
                        in_groups);
  expect_columns_follow({.bits = 3, .group_size = 32, .range = RangeSearch::hessian}, in_groups);
}

TEST(SolverProperty, LossIsOutputErrorPerToken) {
  const test::CpuBench bench;
  const std::vector<float> x = test::correlated_inputs(500, 96, 4), w = test::normal(30 * 96, 2);
  const SolveResult result = solve(bench, x, 96, w, {.bits = 3, .group_size = 32, .damp_percent = 1e-4});
  const double error = squared_error(x, 96, w, result.q);
  EXPECT_NEAR(result.loss, error, 0.02 * error);
}

TEST(SolverProperty, BeatsRounding) {
  const test::CpuBench bench;
  const std::vector<float> x = test::correlated_inputs(800, 128, 4), w = test::normal(64 * 128, 2);
  const SolveResult solved = solve(bench, x, 128, w, {.group_size = 32, .order = Order::gar});
  const auto empty = bench.stream->create_hessian(128);
  const SolveResult rounded =
      Solver(*bench.stream, *empty, nullptr, {.group_size = 32}).quantize(w.data(), 64, "w");
  EXPECT_LT(squared_error(x, 128, w, solved.q), 0.5 * squared_error(x, 128, w, rounded.q));
}

TEST(SolverProperty, NoTokens) {
  const test::CpuBench bench;
  const auto hessian = bench.stream->create_hessian(40);
  const std::vector<float> w = test::normal(3 * 40, 2);
  for (Compat compat : {Compat::none, Compat::gptqmodel}) {
    Solver solver(*bench.stream, *hessian, nullptr,
                  {.bits = 8, .group_size = 16, .order = Order::act, .compat = compat});
    const SolveResult result = solver.quantize(w.data(), 3, "w");
    EXPECT_EQ(result.method, SolveResult::Method::rounded);
    EXPECT_NE(result.note, "");
    EXPECT_EQ(result.loss, 0);
    const std::vector<float> back = test::dequantized(result.q);
    for (size_t i = 0; i < w.size(); ++i) EXPECT_NEAR(back[i], w[i], 0.03f);
  }
}

TEST(SolverProperty, ZeroAndInfiniteInputs) {
  const test::CpuBench bench;
  const std::vector<float> w = test::normal(3 * 8, 2);
  std::vector<float> x(5 * 8);
  EXPECT_EQ(solve(bench, x, 8, w, {}).method, SolveResult::Method::rounded);
  x[9] = std::numeric_limits<float>::infinity();
  const SolveResult result = solve(bench, x, 8, w, {});
  EXPECT_EQ(result.method, SolveResult::Method::rounded);
  EXPECT_NE(result.note.find("finite"), std::string::npos) << result.note;
  EXPECT_TRUE(std::isfinite(result.loss));
}

TEST(SolverProperty, RankOne) {
  const test::CpuBench bench;
  const std::vector<float> direction = test::normal(64, 3), w = test::normal(4 * 64, 2);
  std::vector<float> x;
  for (int t = 0; t < 50; ++t) {
    for (float d : direction) x.push_back(d * static_cast<float>(t % 7 - 3));
  }
  const SolveResult result = solve(bench, x, 64, w, {.group_size = 32});
  EXPECT_EQ(result.method, SolveResult::Method::gptq);
  EXPECT_DOUBLE_EQ(result.damp, 0.05);
  // one direction to get right, with 64 roundings to do it
  EXPECT_LT(squared_error(x, 64, w, result.q), 0.02 * static_cast<double>(w.size()));
}

TEST(SolverProperty, DampingClimbs) {
  // Of 64 equal columns H is singular; without damping fp32 can't factor it, with 0.05 it can.
  const test::CpuBench bench;
  std::vector<float> x;
  for (float v : test::normal(100, 8)) x.insert(x.end(), 64, v);
  const std::vector<float> w = test::normal(4 * 64, 2);
  const SolveResult climbed = solve(bench, x, 64, w, {.damp_percent = 0, .damp_auto_increment = 0.05});
  EXPECT_EQ(climbed.method, SolveResult::Method::gptq);
  EXPECT_DOUBLE_EQ(climbed.damp, 0.05);
  const SolveResult floored = solve(bench, x, 64, w, {.damp_percent = 0, .damp_auto_increment = 0});
  EXPECT_EQ(floored.method, SolveResult::Method::gptq);
  EXPECT_EQ(floored.damp, 0);
  EXPECT_NE(floored.note.find("raised"), std::string::npos) << floored.note;
}

TEST(SolverProperty, DeadColumns) {
  const test::CpuBench bench;
  std::vector<float> x = test::correlated_inputs(100, 32, 1);
  const std::vector<float> w = test::normal(2 * 32, 2);
  for (size_t i = 5; i < x.size(); i += 32) x[i] = 0;
  for (Order order : {Order::none, Order::act, Order::gar}) {
    const SolveResult kept = solve(bench, x, 32, w, {.bits = 8, .group_size = 16, .order = order});
    EXPECT_NE(kept.note.find("1 of 32"), std::string::npos) << kept.note;
    EXPECT_NEAR(test::dequantized(kept.q)[5], w[5], 0.03);
    const SolveResult dropped =
        solve(bench, x, 32, w, {.bits = 8, .group_size = 16, .order = order, .compat = Compat::gptqmodel});
    EXPECT_EQ(test::dequantized(dropped.q)[5], 0);
  }
}

TEST(SolverProperty, RefusesNonFiniteWeights) {
  const test::CpuBench bench;
  const std::vector<float> x = test::correlated_inputs(20, 16, 1);
  for (float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    std::vector<float> w = test::normal(3 * 16, 2);
    w[2 * 16 + 11] = bad;
    try {
      solve(bench, x, 16, w, {.order = Order::act});
      FAIL();
    } catch (const Error& e) {
      EXPECT_EQ(e.fault(), Fault::numeric);
      EXPECT_NE(std::string(e.what()).find("layer.weight: the weight in row 2, column 11"), std::string::npos)
          << e.what();
    }
  }
}

TEST(SolverProperty, RefusesOptions) {
  const test::CpuBench bench;
  const auto hessian = bench.stream->create_hessian(8);
  const double nan = std::nan("");
  for (const SolverOptions& bad :
       {SolverOptions{.bits = 5}, SolverOptions{.group_size = 0}, SolverOptions{.group_size = -2},
        SolverOptions{.damp_percent = 1}, SolverOptions{.damp_percent = nan},
        SolverOptions{.damp_auto_increment = -0.1}}) {
    EXPECT_THROW(Solver(*bench.stream, *hessian, nullptr, bad), Error);
  }
}

TEST(SolverProperty, GroupsOfZerosAndExtremes) {
  const test::CpuBench bench;
  const std::vector<float> x = test::correlated_inputs(50, 16, 1);
  for (float size : {0.0f, 1e-45f, 1e-30f, 1e-6f, 3e38f}) {
    const std::vector<float> w(2 * 16, size);
    for (Symmetric symmetric : {Symmetric::yes, Symmetric::no}) {
      for (ScaleType type : {ScaleType::f16, ScaleType::f32}) {
        const SolveResult result =
            solve(bench, x, 16, w, {.group_size = 8, .symmetric = symmetric, .scale_type = type});
        EXPECT_NO_THROW(validate(result.q, "w"));
        EXPECT_TRUE(std::isfinite(result.loss)) << size;
        for (float s : result.q.scales) {
          EXPECT_GT(s, 0) << size;
          if (type == ScaleType::f16) {
            EXPECT_EQ(s, fp16_to_float(float_to_fp16(s)));
          }
        }
        if (size == 0) {
          EXPECT_EQ(test::dequantized(result.q), w);
        }
      }
    }
  }
}

TEST(Range, SymmetricCoversBothSigns) {
  const SolveParams fixed{.scale_type = ScaleType::f32};
  const SolveParams faulty{.compat = Compat::gptqmodel, .scale_type = ScaleType::f32};
  EXPECT_FLOAT_EQ(range_of(0.1f, 0.9f, fixed).scale, 0.12f);
  EXPECT_FLOAT_EQ(range_of(0.1f, 0.9f, faulty).scale, 0.06f);
  EXPECT_FLOAT_EQ(range_of(-0.1f, 0.9f, faulty).scale, 0.12f);
  EXPECT_EQ(range_of(-0.1f, 0.9f, fixed).zero, 8);
}

TEST(SolverProperty, GroupLargerThanTheRow) {
  const test::CpuBench bench;
  const std::vector<float> x = test::correlated_inputs(60, 24, 1), w = test::normal(5 * 24, 2);
  const SolveResult large = solve(bench, x, 24, w, {.group_size = 128}),
                    all = solve(bench, x, 24, w, {.group_size = -1});
  EXPECT_TRUE(same(large.q, all.q));
  EXPECT_EQ(large.q.groups, 1);
}

TEST(SolverProperty, NothingAfterTheLastMatrix) {
  const test::CpuBench bench;
  const std::vector<float> x = test::correlated_inputs(200, 64, 1), w = test::normal(9 * 64, 3);
  const auto hessian = bench.hessian(x, 64);
  Solver solver(*bench.stream, *hessian, nullptr, {});
  solver.end_with_next({});
  solver.quantize(w.data(), 9, "w");
  EXPECT_THROW(solver.quantize(w.data(), 9, "w"), Error);
}

TEST(SolverProperty, OneSolverForSeveralMatrices) {
  const test::CpuBench bench;
  const std::vector<float> x = test::correlated_inputs(200, 64, 1), a = test::normal(20 * 64, 2),
                           b = test::normal(9 * 64, 3);
  const auto hessian = bench.hessian(x, 64);
  Solver solver(*bench.stream, *hessian, nullptr, {});
  solver.quantize(a.data(), 20, "a");
  EXPECT_TRUE(same(solver.quantize(b.data(), 9, "b").q, solve(bench, x, 64, b, {}).q));
}

}  // namespace
}  // namespace gptq
