// A matrix that is solved some rows at a time comes out as one that is solved whole.
#include "quant/matrix_solve.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "quant/solver_support.h"

namespace gptq::test {
namespace {

constexpr int64_t kRows = 150, kCols = 96;

class InParts : public testing::TestWithParam<int64_t> {
 protected:
  SolvedMatrix solve(int64_t together, const SolverOptions& options, bool last) {
    Drifts drifts{.inputs = bench_.drift(originals_, inputs_, kCols, inputs_, kCols),
                  .residual = bench_.drift(stream_then_, stream_now_, kRows, inputs_, kCols)};
    Solver solver(*bench_.stream, *hessian_, &drifts, options);
    const auto read = [&](int64_t begin, int64_t count) {
      Tensor rows = float_tensor(std::span(weights_).subspan(static_cast<size_t>(begin * kCols),
                                                             static_cast<size_t>(count * kCols)));
      rows.shape = {count, kCols};
      return rows;
    };
    const SolvedMatrix solved = solve_matrix(*bench_.stream, *hessian_, solver,
                                             {.name = "m", .rows = kRows, .together = together, .read = read},
                                             last ? &drifts : nullptr);
    EXPECT_EQ(drifts.inputs == nullptr, last);
    return solved;
  }

  CpuBench bench_;
  std::vector<float> originals_ = correlated_inputs(300, kCols, 1);
  std::vector<float> inputs_ = drifted(originals_, kCols, 2);
  std::unique_ptr<Hessian> hessian_ = bench_.hessian(inputs_, kCols);
  std::vector<float> weights_ = normal(kRows * kCols, 3);
  std::vector<float> stream_then_ = normal(300 * kRows, 4), stream_now_ = drifted(stream_then_, kRows, 5);
};

TEST_P(InParts, ComesOutTheSame) {
  for (Target target : {Target::sequential, Target::gptaq, Target::exact}) {
    for (Order order : {Order::gar, Order::act}) {
      const SolverOptions options{.group_size = 32,
                                  .symmetric = Symmetric::no,
                                  .order = order,
                                  .range = RangeSearch::hessian,
                                  .target = target,
                                  .sweeps = 3,
                                  .refits = 1};
      const SolvedMatrix whole = solve(kRows, options, false), parts = solve(GetParam(), options, true);
      EXPECT_EQ(parts.result.q.codes, whole.result.q.codes);
      EXPECT_EQ(parts.result.q.scales, whole.result.q.scales);
      EXPECT_EQ(parts.result.q.zeros, whole.result.q.zeros);
      EXPECT_EQ(parts.result.q.group_of, whole.result.q.group_of);
      EXPECT_EQ(parts.result.q.rows, kRows);
      EXPECT_EQ(parts.result.damp, whole.result.damp);
      EXPECT_NEAR(parts.result.loss, whole.result.loss, 1e-9 * whole.result.loss);
      EXPECT_EQ(parts.energy, whole.energy);
    }
  }
}

TEST_P(InParts, NamesTheRowOfTheWholeMatrix) {
  weights_[131 * kCols + 7] = std::numeric_limits<float>::infinity();
  try {
    solve(GetParam(), {.group_size = 32}, false);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("row 131, column 7"), std::string::npos) << error.what();
  }
}

INSTANTIATE_TEST_SUITE_P(Rows, InParts, testing::Values(kRows, 149, 64, 16, 7));

}  // namespace
}  // namespace gptq::test
