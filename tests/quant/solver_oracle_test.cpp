// The solver against GPTQ in fp64, one column at a time.
#include <gtest/gtest.h>

#include <cmath>
#include <tuple>

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
  std::vector<float> originals{};  // of the unquantized model
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
          .target_alpha = o.alpha};
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
  std::unique_ptr<Drift> drift;
  std::vector<std::vector<double>> oracle_drift;
  if (o.target != test::OracleTarget::sequential) {
    drift = bench.drift(input.originals, input.x, input.cols);
    oracle_drift = test::drift(input.originals, input.x, input.cols);
  }
  Solver solver(*bench.stream, hessian, drift.get(), solver_options(o));
  const SolveResult result = solver.quantize(w.data(), rows, "random");
  const test::OracleResult oracle = test::solve_by_the_book(w, input.gram, input.tokens, o, oracle_drift);
  ASSERT_EQ(result.method, SolveResult::Method::gptq);
  ASSERT_NO_THROW(validate(result.q, "random"));
  EXPECT_TRUE(std::equal(oracle.group_of.begin(), oracle.group_of.end(), result.q.group_of.begin()));
  int64_t far = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    const int difference = std::abs(oracle.codes[i] - int{result.q.codes[i]});
    total.unequal += difference != 0;
    far += difference > 1;
  }
  EXPECT_EQ(far, 0);
  total.codes += static_cast<int64_t>(w.size());
  total.loss += result.loss;
  total.oracle_loss += oracle.loss;
}

void expect_same(const Difference& d) {
  testing::Test::RecordProperty("unequal", std::to_string(d.unequal) + " of " + std::to_string(d.codes));
  EXPECT_LE(static_cast<double>(d.unequal), 1e-3 * static_cast<double>(d.codes))
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
                    RangeAndTarget{test::OracleRange::hessian, test::OracleTarget::exact},
                    RangeAndTarget{test::OracleRange::minmax, test::OracleTarget::gptaq},
                    RangeAndTarget{test::OracleRange::hessian, test::OracleTarget::gptaq}),
    [](const auto& info) { return name_of(info.param); });

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
