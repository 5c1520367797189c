// The solver against GPTQ in fp64, one column at a time.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <tuple>

#include "base/random.h"
#include "quant/oracle.h"
#include "quant/solver_support.h"

namespace gptq {
namespace {

using test::OracleOptions;
using test::OracleOrder;

// A symmetric range puts its own weight of largest magnitude halfway between two codes, so that with exact scales the
// last bit decides; fp16 scales break the tie.

struct Input {
  int cols, tokens;
  std::vector<float> x;
  std::vector<std::vector<double>> gram;
  std::vector<float> originals{};                  // of the unquantized model
  std::vector<float> stream_then{}, stream_now{};  // residual streams [tokens][rows], or empty
};

Input make_input(int tokens, int cols, uint64_t seed) {
  Input input{cols, tokens, test::correlated_inputs(tokens, cols, seed), {}};
  input.gram = test::gram(input.x, cols);
  return input;
}

SolverOptions solver_options(const OracleOptions& o) {
  return {.bits = o.bits,
          .group_size = o.group_size,
          .symmetric = o.symmetric ? Symmetric::yes : Symmetric::no,
          .order = o.order == OracleOrder::act   ? Order::act
                   : o.order == OracleOrder::gar ? Order::gar
                                                 : Order::none,
          .static_groups = o.static_groups ? StaticGroups::yes : StaticGroups::no,
          .damp_percent = o.damp,
          .scale_type = o.half_scales ? ScaleType::f16 : ScaleType::f32,
          .range = o.range == test::OracleRange::hessian ? RangeSearch::hessian
                   : o.range == test::OracleRange::mse   ? RangeSearch::mse
                                                         : RangeSearch::minmax,
          .mse_norm = o.norm,
          .target = o.target == test::OracleTarget::exact   ? Target::exact
                    : o.target == test::OracleTarget::gptaq ? Target::gptaq
                                                            : Target::sequential,
          .target_alpha = o.alpha,
          .residual_alpha = o.residual_alpha,
          .sweeps = o.sweeps,
          .refits = o.refits};
}

struct Difference {
  int64_t codes = 0, unequal = 0;
  double loss = 0, oracle_loss = 0;
};

void compare(const test::CpuBench& bench, const Input& input, const Hessian& hessian,
             const std::vector<float>& w, const OracleOptions& o, Difference& total) {
  SCOPED_TRACE(testing::Message() << o.bits << " bits, group " << o.group_size << ", symmetric "
                                  << o.symmetric << ", order " << static_cast<int>(o.order) << ", static "
                                  << o.static_groups << ", fp16 scales " << o.half_scales);
  const auto rows = static_cast<int64_t>(w.size()) / input.cols;
  Drifts drifts;
  std::vector<std::vector<double>> drift, residual;
  if (o.target != test::OracleTarget::sequential) {
    drifts.inputs = bench.drift(input.originals, input.x, input.cols, input.x, input.cols);
    drift = test::drift(input.originals, input.x, input.cols, input.x, input.cols);
  }
  if (!input.stream_then.empty()) {
    const auto features = static_cast<int>(rows);
    drifts.residual = bench.drift(input.stream_then, input.stream_now, rows, input.x, input.cols);
    residual = test::drift(input.stream_then, input.stream_now, features, input.x, input.cols);
  }
  Solver solver(*bench.stream, hessian, &drifts, solver_options(o));
  const SolveResult result = solver.quantize(w.data(), rows, "random");
  const test::OracleResult oracle = test::solve_by_the_book(w, input.gram, input.tokens, o, drift, residual);
  ASSERT_EQ(result.method, SolveResult::Method::gptq);
  ASSERT_NO_THROW(validate(result.q, "random"));
  EXPECT_TRUE(std::equal(oracle.group_of.begin(), oracle.group_of.end(), result.q.group_of.begin()));
  std::set<size_t> far;  // rows
  for (size_t i = 0; i < w.size(); ++i) {
    const int difference = std::abs(oracle.codes[i] - int{result.q.codes[i]});
    total.unequal += difference != 0;
    if (difference > 1) far.insert(i / static_cast<size_t>(input.cols));
  }
  // Two ranges of a group, or two codes in a sweep, may be equally good but for fp32's last bits; the row goes its own way
  // from there.
  EXPECT_LE(far.size(), o.range == test::OracleRange::hessian || o.sweeps > 0 ? 1u : 0u);
  total.codes += static_cast<int64_t>(w.size());
  total.loss += result.loss;
  total.oracle_loss += oracle.loss;
}

/// @param most  part of the codes that may be others
void expect_same(const Difference& d, double most = 1e-3) {
  testing::Test::RecordProperty("unequal", std::to_string(d.unequal) + " of " + std::to_string(d.codes));
  EXPECT_LE(static_cast<double>(d.unequal), most * static_cast<double>(d.codes))
      << d.unequal << " of " << d.codes;
  EXPECT_NEAR(d.loss, d.oracle_loss, 1e-3 * d.oracle_loss);
}

using BitsAndGroup = std::tuple<int, int>;
class SolverOracle : public testing::TestWithParam<BitsAndGroup> {};

TEST_P(SolverOracle, AllOrders) {
  static const Input input = make_input(600, 224, 17);
  test::CpuBench bench;
  const auto hessian = bench.hessian(input.x, input.cols);
  const std::vector<float> w = test::normal(24 * input.cols, 5);
  Difference total;
  for (bool symmetric : {true, false}) {
    for (OracleOrder order : {OracleOrder::none, OracleOrder::act, OracleOrder::gar}) {
      for (bool fixed : {false, true}) {
        OracleOptions o{.bits = std::get<0>(GetParam()),
                        .group_size = std::get<1>(GetParam()),
                        .symmetric = symmetric,
                        .order = order,
                        .static_groups = fixed,
                        .half_scales = symmetric || fixed};
        compare(bench, input, *hessian, w, o, total);
      }
    }
  }
  expect_same(total);
}

INSTANTIATE_TEST_SUITE_P(All, SolverOracle,
                         testing::Combine(testing::Values(2, 3, 4, 8),
                                          testing::Values(16, 32, 100, 128, 160, -1)),
                         [](const auto& info) {
                           const int group = std::get<1>(info.param);
                           return "bits" + std::to_string(std::get<0>(info.param)) + "_group" +
                                  (group < 0 ? "_all" : std::to_string(group));
                         });

using RangeAndTarget = std::tuple<test::OracleRange, test::OracleTarget>;
std::string name_of(const RangeAndTarget& what) {
  constexpr const char* kRanges[] = {"minmax", "mse", "hessian"};
  constexpr const char* kTargets[] = {"sequential", "gptaq", "exact"};
  return std::string(kRanges[static_cast<int>(std::get<0>(what))]) + "_" +
         kTargets[static_cast<int>(std::get<1>(what))];
}

class SolverBeyond : public testing::TestWithParam<RangeAndTarget> {};

TEST_P(SolverBeyond, AllOrdersAndWidths) {
  Input input = make_input(500, 200, 23);
  input.originals = input.x;
  input.x = test::drifted(input.originals, input.cols, 4);
  input.gram = test::gram(input.x, input.cols);
  test::CpuBench bench;
  const auto hessian = bench.hessian(input.x, input.cols);
  const std::vector<float> w = test::normal(20 * input.cols, 6);
  Difference total;
  int i = 0;
  for (int bits : {2, 3, 4}) {
    for (OracleOrder order : {OracleOrder::none, OracleOrder::act, OracleOrder::gar}) {
      for (int group : {32, 100, 160, -1}) {
        ++i;
        compare(bench, input, *hessian, w,
                {.bits = bits,
                 .group_size = group,
                 .symmetric = i % 2 == 0,
                 .order = order,
                 .static_groups = i % 3 == 0,
                 .half_scales = true,
                 .range = std::get<0>(GetParam()),
                 .target = std::get<1>(GetParam())},
                total);
      }
    }
  }
  expect_same(total);
}

INSTANTIATE_TEST_SUITE_P(
    All, SolverBeyond,
    testing::Values(RangeAndTarget{test::OracleRange::mse, test::OracleTarget::sequential},
                    RangeAndTarget{test::OracleRange::hessian, test::OracleTarget::sequential},
                    RangeAndTarget{test::OracleRange::minmax, test::OracleTarget::exact},
                    RangeAndTarget{test::OracleRange::mse, test::OracleTarget::exact},
                    RangeAndTarget{test::OracleRange::hessian, test::OracleTarget::exact},
                    RangeAndTarget{test::OracleRange::minmax, test::OracleTarget::gptaq},
                    RangeAndTarget{test::OracleRange::hessian, test::OracleTarget::gptaq}),
    [](const auto& info) { return name_of(info.param); });

/// Numbers of values, one for each of `counts`, such that any two values of any two of them come together in some row.
std::vector<std::vector<size_t>> covering_rows(const std::vector<size_t>& counts) {
  struct Pair {
    size_t a, value_a, b, value_b;
    bool in(const std::vector<size_t>& row) const { return row[a] == value_a && row[b] == value_b; }
  };
  std::vector<Pair> missing;
  for (size_t a = 0; a < counts.size(); ++a) {
    for (size_t b = a + 1; b < counts.size(); ++b) {
      for (size_t i = 0; i < counts[a] * counts[b]; ++i)
        missing.push_back({a, i % counts[a], b, i / counts[a]});
    }
  }
  std::vector<std::vector<size_t>> rows;
  Random random(1);
  while (!missing.empty()) {
    std::vector<size_t> best;
    int64_t most = 0;
    for (int i = 0; i < 50; ++i) {  // the best of some that have the first missing pair
      std::vector<size_t> row;
      for (size_t count : counts) row.push_back(static_cast<size_t>(random.below(count)));
      row[missing[0].a] = missing[0].value_a;
      row[missing[0].b] = missing[0].value_b;
      const auto covered =
          std::count_if(missing.begin(), missing.end(), [&](const Pair& pair) { return pair.in(row); });
      if (covered > most) {
        most = covered;
        best = row;
      }
    }
    std::erase_if(missing, [&](const Pair& pair) { return pair.in(best); });
    rows.push_back(best);
  }
  return rows;
}

TEST(SolverOracle, EachPairOfOptions) {
  Input input = make_input(400, 272, 31);
  input.originals = input.x;
  input.x = test::drifted(input.originals, input.cols, 4);
  input.gram = test::gram(input.x, input.cols);
  test::CpuBench bench;
  const auto hessian = bench.hessian(input.x, input.cols);
  const std::vector<float> w = test::normal(10 * input.cols, 6);
  constexpr std::array kBits{2, 3, 4, 8}, kGroups{16, 64, 256, -1};
  constexpr std::array kDamp{0.01, 0.05, 0.3}, kAlpha{0.25, 0.75, 1.0};
  constexpr std::array kNorm{2.4, 1.0};
  constexpr std::array kSweeps{0, 1, 4}, kRefits{0, 1, 4};
  // of a step between two codes fp32's last bits decide: sweeps carry that on through the row, to another end as good
  Difference total, refined;
  const auto rows = covering_rows({kBits.size(), kGroups.size(), 2, 3, 2, kDamp.size(), 3, kNorm.size(), 3,
                                   kAlpha.size(), kSweeps.size(), kRefits.size()});
  EXPECT_LT(rows.size(), 40u);
  for (const auto& row : rows) {
    compare(bench, input, *hessian, w,
            {.bits = kBits[row[0]],
             .group_size = kGroups[row[1]],
             .symmetric = row[2] == 0,
             .order = static_cast<OracleOrder>(row[3]),
             .static_groups = row[4] == 1,
             .damp = kDamp[row[5]],
             .half_scales = true,
             .range = static_cast<test::OracleRange>(row[6]),
             .norm = kNorm[row[7]],
             .target = static_cast<test::OracleTarget>(row[8]),
             .alpha = kAlpha[row[9]],
             .sweeps = kSweeps[row[10]],
             .refits = std::min(kSweeps[row[10]], kRefits[row[11]])},
            kSweeps[row[10]] == 0 ? total : refined);
  }
  expect_same(total);
  expect_same(refined, 4e-3);
}

TEST(SolverBeyond, MakesUpForTheResidualStream) {
  constexpr int kRows = 24;
  Input input = make_input(500, 96, 29);
  input.originals = input.x;
  input.x = test::drifted(input.originals, input.cols, 4);
  input.gram = test::gram(input.x, input.cols);
  input.stream_then = test::normal(input.tokens * kRows, 7);
  input.stream_now = test::drifted(input.stream_then, kRows, 8);
  test::CpuBench bench;
  const auto hessian = bench.hessian(input.x, input.cols);
  const std::vector<float> w = test::normal(kRows * input.cols, 6);
  Difference total;
  for (double alpha : {0.0, 0.75}) {
    for (double residual : {0.0, 0.5, 1.0}) {
      for (OracleOrder order : {OracleOrder::act, OracleOrder::gar}) {
        compare(bench, input, *hessian, w,
                {.group_size = 32,
                 .order = order,
                 .half_scales = true,
                 .range = test::OracleRange::hessian,
                 .target = test::OracleTarget::exact,
                 .alpha = alpha,
                 .residual_alpha = residual},
                total);
      }
    }
  }
  expect_same(total);
}

TEST(SolverOracle, LargeProblem) {
  const Input input = make_input(4096, 512, 3);
  test::CpuBench bench;
  const auto hessian = bench.hessian(input.x, input.cols, 512);
  const std::vector<float> w = test::normal(200 * input.cols, 9);
  Difference total;
  for (OracleOrder order : {OracleOrder::none, OracleOrder::act, OracleOrder::gar}) {
    compare(bench, input, *hessian, w, {.bits = 4, .group_size = 128, .order = order, .half_scales = true},
            total);
  }
  expect_same(total);
}

TEST(SolverOracle, OddSizes) {
  test::CpuBench bench;
  Difference total;
  for (int cols : {1, 2, 31, 33, 127, 129, 257}) {
    const Input input = make_input(cols + 40, cols, 100 + cols);
    const auto hessian = bench.hessian(input.x, cols, 7);
    for (int rows : {1, 15, 17, 130}) {
      const std::vector<float> w = test::normal(rows * cols, 11);
      const OracleOptions o{.bits = 4,
                            .group_size = std::min(48, cols),
                            .symmetric = rows != 17,
                            .order = OracleOrder::gar,
                            .half_scales = rows != 17};
      compare(bench, input, *hessian, w, o, total);
    }
  }
  expect_same(total);
}

}  // namespace
}  // namespace gptq
