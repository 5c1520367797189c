// Quantization on the device against the CPU backend: the same inputs in bf16, through sums, factor, targets, solution and
// refinement.
#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "cuda/solve.h"
#include "library_support.h"

namespace gptq::cuda {
namespace {

struct Shape {
  int64_t rows = 64, cols = 256, group_size = 64, tokens = 700;
};

struct Solution {
  std::vector<float> weights, scales;
  std::vector<uint8_t> codes;
  std::vector<uint16_t> zeros;
  std::vector<double> loss;
};

enum class Libraries : uint8_t { none, some };

class QuantizationTest : public BackendTest, public testing::WithParamInterface<Libraries> {
 protected:
  QuantizationTest() : BackendTest(GetParam() == Libraries::some ? test::some_libraries() : LibraryNames()) {}
  void TearDown() override {
    if (GetParam() == Libraries::some) expect_no_refusal(logged_);
  }

  /// What a backend has of the problem.
  struct Side {
    Stream& stream;
    std::unique_ptr<Hessian> hessian;
    std::unique_ptr<Factor> factor;
    Drifts drifts;
  };

  /// Inputs of a model: some directions are much stronger than others; columns in an order by their size.
  void make(const Shape& shape) {
    shape_ = shape;
    const int64_t n = shape.cols;
    const std::vector<float> mix = random_floats(random_, n * n, 0.3f);
    std::vector<float> x(static_cast<size_t>(shape.tokens * n)), hidden(static_cast<size_t>(n));
    for (int64_t t = 0; t < shape.tokens; ++t) {
      for (int64_t i = 0; i < n; ++i)
        hidden[static_cast<size_t>(i)] = static_cast<float>(normal() / (1.0 + 0.05 * static_cast<double>(i)));
      for (int64_t j = 0; j < n; ++j) {
        float sum = hidden[static_cast<size_t>(j)];
        for (int64_t i = 0; i < n; i += 8)
          sum += mix[static_cast<size_t>(j * n + i)] * hidden[static_cast<size_t>(i)];
        x[static_cast<size_t>(t * n + j)] = sum;
      }
    }
    inputs_ = pair_of(std::move(x), shape.tokens, n);
    std::vector<float> original = inputs_.cpu_values;
    for (float& v : original) v += 0.05f * static_cast<float>(normal());
    original_ = pair_of(std::move(original), shape.tokens, n);
    stream_now_ = pair_of(random_floats(random_, shape.tokens * shape.rows), shape.tokens, shape.rows);
    std::vector<float> before = stream_now_.cpu_values;
    for (float& v : before) v += 0.05f * static_cast<float>(normal());
    stream_before_ = pair_of(std::move(before), shape.tokens, shape.rows);
    weights_.clear();
    for (int64_t i = 0; i < shape.rows * n; ++i) weights_.push_back(0.05f * static_cast<float>(normal()));
    order_.resize(static_cast<size_t>(n));
    std::iota(order_.begin(), order_.end(), 0);
    for (size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[random_.below(i)]);
    group_of_.clear();
    for (int64_t j = 0; j < n; ++j) group_of_.push_back(static_cast<int32_t>(j / shape.group_size));
    groups_ = group_of_.back() + 1;
    sum_up(cpu_side_, &Pair::cpu);
    sum_up(gpu_side_, &Pair::gpu);
    const std::vector<float> diagonal = reference_->hessian_diagonal(*cpu_side_.hessian);
    const float mean = std::accumulate(diagonal.begin(), diagonal.end(), 0.0f) / static_cast<float>(n);
    damping_.assign(order_.size(), 0.05f * mean);
    for (Side* side : {&cpu_side_, &gpu_side_})
      side->factor = side->stream.factor(*side->hessian, order_, damping_);
    ASSERT_NE(cpu_side_.factor, nullptr);
    ASSERT_NE(gpu_side_.factor, nullptr);
  }

  /// Of variance 1.
  double normal() {
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += random_.uniform();
    return sum;
  }

  Pair pair_of(std::vector<float> values, int64_t rows, int64_t cols) {
    Pair pair = make_pair(rows, cols);
    for (size_t i = 0; i < values.size(); ++i) pair.cpu_values[i] = bf16_to_float(float_to_bf16(values[i]));
    stream_->upload(pair.cpu_values.data(), pair.gpu);
    return pair;
  }
  Pair make_pair(int64_t rows, int64_t cols) { return BackendTest::make(rows, cols); }

  /// In two batches, the second of which does not begin at a multiple of 16 bytes where rows are no multiple of 8.
  void sum_up(Side& side, Matrix Pair::*on) const {
    const int64_t first = shape_.tokens / 3;
    side.hessian = side.stream.create_hessian(shape_.cols);
    side.drifts.inputs = side.stream.create_drift(shape_.cols, shape_.cols);
    side.drifts.residual = side.stream.create_drift(shape_.rows, shape_.cols);
    for (const auto& [begin, end] : {std::array{int64_t{0}, first}, std::array{first, shape_.tokens}}) {
      const auto part = [&, begin = begin, end = end](const Pair& pair) {
        Matrix m = pair.*on;
        m.data += static_cast<size_t>(begin * m.cols) * side.stream.element_bytes();
        m.rows = end - begin;
        return m;
      };
      side.stream.hessian_add(part(inputs_), *side.hessian);
      side.stream.drift_add(part(original_), part(inputs_), part(inputs_), *side.drifts.inputs);
      side.stream.drift_add(part(stream_before_), part(stream_now_), part(inputs_), *side.drifts.residual);
    }
    EXPECT_EQ(side.hessian->rows_seen(), shape_.tokens);
  }

  Solution solve(const Side& side, const SolveParams& params, bool with_factor = true) const {
    Solution s{.weights = weights_,
               .scales = std::vector<float>(static_cast<size_t>(groups_ * shape_.rows)),
               .codes = std::vector<uint8_t>(weights_.size()),
               .zeros = {},
               .loss = std::vector<double>(static_cast<size_t>(shape_.rows))};
    s.zeros.resize(s.scales.size());
    SolveProblem problem{.rows = shape_.rows,
                         .cols = shape_.cols,
                         .groups = groups_,
                         .weights = s.weights.data(),
                         .group_of = group_of_.data(),
                         .codes = s.codes.data(),
                         .scales = s.scales.data(),
                         .zeros = s.zeros.data(),
                         .row_loss = s.loss.data()};
    side.stream.solve(with_factor ? side.factor.get() : nullptr, params, problem);
    return s;
  }

  void refine(const Side& side, const RefineParams& params, Solution& s) const {
    std::vector<int32_t> stored(order_.size());
    std::iota(stored.begin(), stored.end(), 0);
    RefineProblem problem{.rows = shape_.rows,
                          .cols = shape_.cols,
                          .target = weights_.data(),
                          .group_of = group_of_.data(),
                          .stored = stored.data(),
                          .codes = s.codes.data(),
                          .scales = s.scales.data(),
                          .zeros = s.zeros.data(),
                          .row_loss = s.loss.data()};
    side.stream.refine(*side.hessian, order_, damping_, params, problem);
  }

  /// At least 99.9 % of the codes.
  static void expect_same(const Solution& got, const Solution& want, const std::string& what) {
    size_t equal = 0;
    for (size_t i = 0; i < got.codes.size(); ++i) equal += got.codes[i] == want.codes[i] ? 1 : 0;
    EXPECT_GE(static_cast<double>(equal), 0.999 * static_cast<double>(got.codes.size())) << what;
    const double loss = std::accumulate(got.loss.begin(), got.loss.end(), 0.0),
                 wanted = std::accumulate(want.loss.begin(), want.loss.end(), 0.0);
    EXPECT_NEAR(loss, wanted, 1e-3 * wanted) << what;
    EXPECT_GT(wanted, 0) << what;
  }

  Logged logged_;
  Shape shape_;
  Pair inputs_, original_, stream_now_, stream_before_;
  std::vector<float> weights_, damping_;
  std::vector<int32_t> order_, group_of_;
  int64_t groups_ = 0;
  Side cpu_side_{.stream = *reference_, .hessian = {}, .factor = {}, .drifts = {}},
      gpu_side_{.stream = *stream_, .hessian = {}, .factor = {}, .drifts = {}};
};

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
  };
  state_.limit = used + 5000;
  each_fails(Status::out_of_memory);
  state_.limit = SIZE_MAX;
  cancel_ = true;
  each_fails(Status::cancelled);
  cancel_ = false;
  EXPECT_EQ(solve(gpu_side_, {}).codes, want.codes);
}

/// Set while an op is under way, the flag ends it before the next block of columns; what the op was given stays whole.
TEST_P(QuantizationTest, IsCancelledBetweenLaunches) {
  make({.rows = 40, .cols = 700, .group_size = 128, .tokens = 60});
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
  constexpr int kBlocks = (700 + kMostSolvedColumns - 1) / kMostSolvedColumns,
                kFactorBlocks = (700 + 63) / 64;
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
        stream_->retarget(*gpu_side_.factor, gpu_side_.drifts, {1, 1}, order_, 0, 40, weights.data());
      },
      3, "retarget");
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
