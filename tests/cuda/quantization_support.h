// Problems of quantization on both backends: the same inputs in bf16, sums of them, factors.
#pragma once

#include <algorithm>
#include <array>
#include <numeric>

#include "library_support.h"

namespace gptq::cuda {

struct Shape {
  int64_t rows = 64, cols = 256, group_size = 64, tokens = 700;
};

struct Solution {
  std::vector<float> weights, scales;
  std::vector<uint8_t> codes;
  std::vector<uint16_t> zeros;
  std::vector<double> loss;
};

/// What quantize_rows() is asked of, and what comes out.
struct Rows {
  RowsProblem problem;
  std::vector<uint8_t> codes;
  std::vector<float> scales;
  std::vector<uint16_t> zeros;
  std::vector<double> loss;

  explicit Rows(const RowsProblem& given) : problem(given) {
    codes.assign(static_cast<size_t>(given.rows * given.cols), 0xEE);
    scales.assign(static_cast<size_t>(given.rows * given.groups), NAN);
    zeros.assign(scales.size(), 0xEEEE);
    loss.assign(static_cast<size_t>(given.rows), NAN);
    problem.codes = codes.data();
    problem.scales = scales.data();
    problem.zeros = zeros.data();
    problem.row_loss = loss.data();
  }
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

  /// Targets, solution, sweeps.
  RowsProblem whole_way() const {
    return {.rows = shape_.rows,
            .cols = shape_.cols,
            .groups = groups_,
            .weights = {.shape = {shape_.rows, shape_.cols},
                        .data = reinterpret_cast<const std::byte*>(weights_.data()),
                        .bytes = weights_.size() * sizeof(float)},
            .order = order_,
            .group_of = group_of_,
            .drifts = &gpu_side_.drifts,
            .parts = {0.75, 0.5},
            .refine = {.sweeps = 2, .refits = 1},
            .refine_order = order_,
            .refine_group_of = group_of_,
            .refine_diagonal_add = damping_};
  }

  /// At least 99.9 % of the codes.
  static void expect_same(const Solution& got, const Solution& want, const std::string& what) {
    EXPECT_GE(part_of_equal(got.codes, want.codes), 0.999) << what;
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

}  // namespace gptq::cuda
