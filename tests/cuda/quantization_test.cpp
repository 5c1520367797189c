// Quantization on the device against the CPU backend: the same inputs in bf16, through sums, factor, targets, solution and
// refinement.
#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "cuda/solve.h"
#include "quantization_support.h"

namespace gptq::cuda {
namespace {

TEST_P(QuantizationTest, SumsUp) {
  for (int64_t cols : {256, 77}) {
    make({.rows = 20, .cols = cols, .tokens = 300});
    expect_near(stream_->hessian_diagonal(*gpu_side_.hessian),
                reference_->hessian_diagonal(*cpu_side_.hessian), 1e-5f, 0, "diagonal");
  }
}

/// So many rows that one weight which tips, and the later ones of its row with it, does not count.
TEST_P(QuantizationTest, SolvesAsTheCpu) {
  make({.rows = 512});
  for (int bits : {2, 4}) {
    for (Symmetric symmetric : {Symmetric::yes, Symmetric::no}) {
      const SolveParams params{.bits = bits, .symmetric = symmetric};
      expect_same(solve(gpu_side_, params), solve(cpu_side_, params), std::to_string(bits) + " bits");
    }
  }
  const SolveParams searched{.static_groups = StaticGroups::yes, .range = RangeSearch::mse};
  expect_same(solve(gpu_side_, searched), solve(cpu_side_, searched), "static groups");
  const SolveParams by_loss{.range = RangeSearch::hessian};
  expect_same(solve(gpu_side_, by_loss), solve(cpu_side_, by_loss), "ranges of least loss");
  expect_same(solve(gpu_side_, {}, false), solve(cpu_side_, {}, false), "without a factor");
}

TEST_P(QuantizationTest, SolvesOtherShapes) {
  for (const Shape& shape : {Shape{5, 77, 77, 200}, Shape{1, 8, 8, 20}, Shape{33, 130, 32, 300}}) {
    make(shape);
    expect_same(solve(gpu_side_, {}), solve(cpu_side_, {}), std::to_string(shape.cols) + " columns");
  }
}

TEST_P(QuantizationTest, Refines) {
  for (int64_t group_size : {64, 256}) {
    make({.rows = 32, .group_size = group_size, .tokens = 400});
    Solution want = solve(cpu_side_, {.bits = 3}), got = want;
    const double before = std::accumulate(want.loss.begin(), want.loss.end(), 0.0);
    const RefineParams params{.bits = 3, .sweeps = 3, .refits = 2};
    refine(cpu_side_, params, want);
    refine(gpu_side_, params, got);
    expect_same(got, want, "refined");
    EXPECT_LT(std::accumulate(got.loss.begin(), got.loss.end(), 0.0), before);
  }
}

TEST_P(QuantizationTest, MovesTargets) {
  make({.rows = 40, .cols = 130, .group_size = 32, .tokens = 400});
  const auto retargeted = [&](const Side& side, const DriftParts& parts) {
    std::vector<float> weights = weights_;  // in two parts, as large matrices go
    side.stream.retarget(*side.factor, side.drifts, parts, order_, 0, 11, weights.data());
    side.stream.retarget(*side.factor, side.drifts, parts, order_, 11, 29, weights.data() + 11 * shape_.cols);
    return weights;
  };
  for (const DriftParts& parts : {DriftParts{0.75, 0.5}, DriftParts{0.75, 0}, DriftParts{0, 0.5}}) {
    const std::vector<float> want = retargeted(cpu_side_, parts), got = retargeted(gpu_side_, parts);
    float most = 0;
    for (size_t i = 0; i < want.size(); ++i) most = std::max(most, std::abs(want[i] - weights_[i]));
    EXPECT_GT(most, 1e-3f);
    expect_near(got, want, 1e-3f, most, "targets");
  }
  EXPECT_EQ(retargeted(gpu_side_, {0, 0}), weights_);
}

TEST_P(QuantizationTest, SpreadsDrift) {
  make({.rows = 32});
  const Solution before = solve(gpu_side_, {});
  for (const Side* side : {&cpu_side_, &gpu_side_})
    side->stream.spread_drift(*side->factor, *side->drifts.inputs, order_, 0.75);
  const Solution want = solve(cpu_side_, {}), got = solve(gpu_side_, {});
  expect_same(got, want, "GPTAQ");
  EXPECT_NE(got.codes, before.codes);
}

TEST_P(QuantizationTest, SaysWhereThereIsNoFactor) {
  make({.rows = 2, .cols = 70, .tokens = 100});
  damping_[33] = -1e6f;
  EXPECT_EQ(reference_->factor(*cpu_side_.hessian, order_, damping_), nullptr);
  EXPECT_EQ(stream_->factor(*gpu_side_.hessian, order_, damping_), nullptr);
}

TEST_P(QuantizationTest, RefusesWhatDoesNotFit) {
  make({.rows = 4, .cols = 16, .group_size = 16, .tokens = 40});
  const auto expect_status = [](Status status, auto op) {
    try {
      op();
      FAIL() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), status) << error.what();
    }
  };
  expect_status(Status::internal, [&] { stream_->hessian_add(stream_now_.gpu, *gpu_side_.hessian); });
  expect_status(Status::internal, [&] {
    stream_->drift_add(stream_now_.gpu, inputs_.gpu, inputs_.gpu, *gpu_side_.drifts.inputs);
  });
  expect_status(Status::internal,
                [&] { stream_->factor(*gpu_side_.hessian, std::span(order_).first(3), damping_); });
  expect_status(Status::internal, [&] {
    stream_->retarget(*gpu_side_.factor, gpu_side_.drifts, {0, 1}, order_, 1, 4, weights_.data());
  });
  expect_status(Status::unsupported, [&] { solve(gpu_side_, {.block = 129}); });
  expect_status(Status::unsupported, [&] { (void)stream_->create_hessian(kMostFactor + 1); });
}

TEST_P(QuantizationTest, SurvivesWantOfMemoryAndCancelling) {
  make({.rows = 16, .cols = 128, .tokens = 200});
  const Solution want = solve(gpu_side_, {});
  state_.limit = state_.used + 5000;
  try {  // what libraries have is given back for the first
    (void)stream_->create_hessian(128);
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::out_of_memory) << error.what();
  }
  const size_t used = state_.used;
  const auto fails = [&](Status status, const auto& op) {
    try {
      op();
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), status) << error.what();
    }
    EXPECT_EQ(state_.used, used);
    EXPECT_EQ(state_.turns, 0);
  };
  const auto each_fails = [&](Status status) {
    fails(status, [&] { (void)stream_->create_hessian(128); });
    fails(status, [&] { (void)stream_->create_drift(128, 128); });
    fails(status, [&] { (void)stream_->factor(*gpu_side_.hessian, order_, damping_); });
    fails(status, [&] { (void)solve(gpu_side_, {}); });
    fails(status, [&] {
      Solution s = want;
      refine(gpu_side_, {.sweeps = 1}, s);
    });
    fails(status, [&] {
      stream_->retarget(*gpu_side_.factor, gpu_side_.drifts, {1, 1}, order_, 0, 16, weights_.data());
    });
    fails(status, [&] { stream_->spread_drift(*gpu_side_.factor, *gpu_side_.drifts.inputs, order_, 1); });
    fails(status, [&] {
      Rows rows(whole_way());
      (void)stream_->quantize_rows(*gpu_side_.hessian, gpu_side_.factor.get(), rows.problem);
    });
  };
  state_.limit = used + 5000;
  each_fails(Status::out_of_memory);
  // wherever on its way it ends
  for (size_t more = 10'000; state_.limit != SIZE_MAX; more += 10'000) {
    state_.limit = used + more;
    Rows rows(whole_way());
    try {
      (void)stream_->quantize_rows(*gpu_side_.hessian, gpu_side_.factor.get(), rows.problem);
      EXPECT_GT(more, 50'000u);
      state_.limit = SIZE_MAX;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::out_of_memory) << error.what();
    }
    EXPECT_EQ(state_.used, used);
    EXPECT_EQ(state_.turns, 0);
  }
  state_.limit = SIZE_MAX;
  cancel_ = true;
  each_fails(Status::cancelled);
  cancel_ = false;
  EXPECT_EQ(solve(gpu_side_, {}).codes, want.codes);
}

/// Set while an op is under way, the flag ends it before the next block of columns; what the op was given stays whole.
TEST_P(QuantizationTest, IsCancelledBetweenLaunches) {
  make({.rows = 20, .cols = 400, .group_size = 128, .tokens = 60});
  const Solution want = solve(gpu_side_, {});
  const size_t used = state_.used;
  const auto looks = [&](const auto& op,
                         int last) {  // how often an op looks about, ending at the last of them
    int count = 0;
    state_.at_pace = [&] { cancel_ = ++count == last; };
    Status status = Status::ok;
    try {
      op();
    } catch (const Error& error) {
      status = error.status();
    }
    state_.at_pace = [] {};
    cancel_ = false;
    EXPECT_EQ(status, count == last ? Status::cancelled : Status::ok);
    EXPECT_EQ(state_.used, used);
    EXPECT_EQ(state_.turns, 0);
    return count;
  };
  const auto expect_looks = [&](const auto& op, int least, const char* what) {
    SCOPED_TRACE(what);
    EXPECT_GE(looks(op, 0), least);
    for (int last : {1, least / 2, least - 1}) EXPECT_EQ(looks(op, last), last);
  };
  constexpr int kBlocks = (400 + kMostSolvedColumns - 1) / kMostSolvedColumns,
                kFactorBlocks = (400 + 63) / 64;
  expect_looks([&] { (void)stream_->factor(*gpu_side_.hessian, order_, damping_); }, kFactorBlocks, "factor");
  expect_looks([&] { (void)solve(gpu_side_, {}); }, kBlocks, "solve");
  expect_looks(
      [&] {
        Solution s = want;
        refine(gpu_side_, {.sweeps = 1}, s);
      },
      kBlocks, "refine");
  expect_looks(
      [&] {
        std::vector<float> weights = weights_;
        stream_->retarget(*gpu_side_.factor, gpu_side_.drifts, {1, 1}, order_, 0, 20, weights.data());
      },
      3, "retarget");
  expect_looks(
      [&] {
        Rows rows(whole_way());
        (void)stream_->quantize_rows(*gpu_side_.hessian, gpu_side_.factor.get(), rows.problem);
      },
      3 + 2 * kBlocks, "rows");
  EXPECT_EQ(solve(gpu_side_, {}).codes, want.codes);
  int count = 0;
  state_.at_pace = [&] { cancel_ = ++count == 1; };
  EXPECT_THROW(stream_->spread_drift(*gpu_side_.factor, *gpu_side_.drifts.inputs, order_, 1), Error);
  state_.at_pace = [] {};
  cancel_ = false;
  EXPECT_EQ(count, 1);
  EXPECT_EQ(solve(gpu_side_, {}).codes, want.codes);
}

INSTANTIATE_TEST_SUITE_P(Cuda, QuantizationTest, testing::Values(Libraries::none, Libraries::some));

}  // namespace
}  // namespace gptq::cuda
