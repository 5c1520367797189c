// Damping, order and fallbacks around Stream::factor() and Stream::solve().
#include "quant/solver.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <utility>

#include "base/error.h"
#include "base/text.h"

namespace gptq {
namespace {

/// Times that a floor below the diagonal is tried, each ten times the one before, when damping alone fails.
constexpr int kFloors = 6;

/// Damping while a solution is refined, of the mean diagonal: only so much that no direction is free.
constexpr double kRefineDamp = 1e-4;

void check(const SolverOptions& options) {
  const auto refuse = [](std::string_view name, auto found, std::string_view wanted) {
    throw Error(Status::invalid_argument, cat(name, " is ", found, ", wanted ", wanted));
  };
  if (!is_bit_width(options.bits)) {
    refuse("bits", options.bits, "2, 3, 4 or 8");
  }
  if (options.group_size != -1 && options.group_size < 1)
    refuse("group_size", options.group_size, "-1 or at least 1");
  if (!(options.damp_percent >= 0 && options.damp_percent < 1)) {
    refuse("damp_percent", options.damp_percent, "at least 0 and below 1");
  }
  if (!(options.damp_auto_increment >= 0 && options.damp_auto_increment < 1)) {
    refuse("damp_auto_increment", options.damp_auto_increment, "at least 0 and below 1");
  }
  if (!(options.mse_norm > 0 && options.mse_norm <= 16)) {
    refuse("mse_norm", options.mse_norm, "above 0, at most 16");
  }
  if (!(options.target_alpha >= 0 && options.target_alpha <= 1)) {
    refuse("target_alpha", options.target_alpha, "0 to 1");
  }
  if (!(options.residual_alpha >= 0 && options.residual_alpha <= 1)) {
    refuse("residual_alpha", options.residual_alpha, "0 to 1");
  }
  if (options.sweeps < 0) refuse("sweeps", options.sweeps, "at least 0");
  if (options.refits < 0 || options.refits > options.sweeps) {
    refuse("refit", options.refits, cat("0 to the number of sweeps, ", options.sweeps));
  }
}

double mean(std::span<const float> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

bool is_zero(float x) { return x == 0.0f; }
bool is_finite(float x) { return std::isfinite(x); }

}  // namespace

Solver::Solver(Stream& stream, const Hessian& hessian, const Drifts* drifts, const SolverOptions& options,
               int64_t least_tokens)
    : stream_(stream),
      hessian_(hessian),
      drifts_(options.target == Target::sequential ? nullptr : drifts),
      options_(options),
      params_{.bits = options.bits,
              .symmetric = options.symmetric,
              .static_groups = options.static_groups,
              .range = options.range,
              .mse_norm = options.mse_norm,
              .compat = options.compat,
              .scale_type = options.scale_type,
              .least_zero = options.least_zero},
      cols_(hessian.size()),
      tokens_(hessian.rows_seen()) {
  check(options);
  group_size_ = options.group_size == -1 ? cols_ : std::min(options.group_size, cols_);
  groups_ = (cols_ + group_size_ - 1) / group_size_;
  measured_ = stream.hessian_diagonal(hessian);
  if (!std::all_of(measured_.begin(), measured_.end(), is_finite)) {
    round_instead("rounded to nearest: the inputs were not finite");
  } else if (std::all_of(measured_.begin(), measured_.end(), is_zero)) {
    round_instead(tokens_ == 0 ? "rounded to nearest: no token came by"
                               : "rounded to nearest: all inputs were zero");
  } else if (tokens_ < least_tokens) {
    round_instead(cat("rounded to nearest: ", tokens_, tokens_ == 1 ? " token" : " tokens",
                      " came by, wanted at least ", least_tokens));
  } else {
    fix_dead_columns();
    find_factor();
    if (factor_ != nullptr && drifts_ != nullptr && drifts_->inputs && options_.target == Target::gptaq) {
      stream_.spread_drift(*factor_, *drifts_->inputs, order_, options_.target_alpha);
    }
    if (factor_ != nullptr && options_.sweeps > 0) prepare_refining();
  }
  solves_ = factor_ != nullptr;
  if (solves_ && params_.compat == Compat::gptqmodel) {
    for (float sum : measured_) dropped_.push_back(is_zero(sum) ? 1 : 0);
  }
}

void Solver::end_with_next(Drifts drifts) {
  last_ = true;
  last_drifts_ = std::move(drifts);
  drifts_ = &last_drifts_;
}

void Solver::round_instead(std::string_view why) {
  factor_ = nullptr;
  damp_ = 0;
  note_ = why;
  order_ = processing_order(Order::none, measured_, group_size_);
  group_of_ = groups_in_sequence(cols_, group_size_);
}

void Solver::fix_dead_columns() {
  diagonal_ = measured_;
  const auto dead = std::count_if(measured_.begin(), measured_.end(), is_zero);
  if (dead == 0) return;
  // The reference puts 1 into 2/T X^T X.
  const double live_mean = mean(measured_) * static_cast<double>(cols_) / static_cast<double>(cols_ - dead);
  const double value = params_.compat == Compat::none ? live_mean : static_cast<double>(tokens_) / 2;
  std::replace_if(diagonal_.begin(), diagonal_.end(), is_zero, static_cast<float>(value));
  note_ = cat(dead, " of ", cols_, " inputs were always zero");
}

void Solver::find_factor() {
  order_ =
      processing_order(options_.order, params_.compat == Compat::none ? measured_ : diagonal_, group_size_);
  group_of_ = groups_in_sequence(cols_, group_size_);
  if (options_.order != Order::act || options_.static_groups == StaticGroups::yes) {
    std::transform(order_.begin(), order_.end(), group_of_.begin(),
                   [&](int32_t column) { return static_cast<int32_t>(column / group_size_); });
  }
  const double largest = *std::max_element(diagonal_.begin(), diagonal_.end());
  if (try_damping(0)) return;
  double floor = largest * 1e-6;
  for (int i = 0; i < kFloors; ++i, floor *= 10) {
    if (!try_damping(floor)) continue;
    note_ += cat(note_.empty() ? "" : "; ", "the Hessian's diagonal was raised by ", floor / largest,
                 " of its largest");
    return;
  }
  round_instead("rounded to nearest: no damping made the Hessian positive definite");
}

bool Solver::try_damping(double floor) {
  const double average = mean(diagonal_) + floor;
  std::vector<float> add(static_cast<size_t>(cols_));
  for (int step = 0;; ++step) {
    damp_ = options_.damp_percent + step * options_.damp_auto_increment;
    if (damp_ >= 1 || (step > 0 && options_.damp_auto_increment == 0)) return false;
    for (size_t i = 0; i < add.size(); ++i) {
      const auto column = static_cast<size_t>(order_[i]);
      add[i] = static_cast<float>(double{diagonal_[column]} - measured_[column] + floor + damp_ * average);
    }
    factor_ = stream_.factor(hessian_, order_, add);
    if (factor_ != nullptr) return true;
  }
}

void Solver::prepare_refining() {
  refine_order_ = order_;
  refine_group_of_ = group_of_;
  if (options_.order != Order::act || options_.static_groups == StaticGroups::yes) {
    std::sort(refine_order_.begin(), refine_order_.end());
    refine_group_of_ = groups_in_sequence(cols_, group_size_);
  }
  refine_diagonal_add_.resize(refine_order_.size());
  for (size_t i = 0; i < refine_order_.size(); ++i) {
    const auto column = static_cast<size_t>(refine_order_[i]);
    refine_diagonal_add_[i] =
        static_cast<float>(double{diagonal_[column]} - measured_[column] + kRefineDamp * mean(diagonal_));
  }
}

double Solver::per_token(const std::vector<double>& row_loss) const {
  // H = X^T X, without the customary 2/T
  return 2 * std::accumulate(row_loss.begin(), row_loss.end(), 0.0) /
         static_cast<double>(std::max<int64_t>(tokens_, 1));
}

double Solver::loss_of_rounding(const Tensor& weight, const QTensor& q) const {
  if (tokens_ == 0) return 0;
  std::vector<float> rounded(static_cast<size_t>(cols_)), row(rounded.size());
  double loss = 0;
  for (int64_t r = 0; r < q.rows; ++r) {
    dequantize_row(q, r, rounded.data());
    to_float(weight, r * cols_, cols_, row.data());
    for (int64_t i = 0; i < cols_; ++i) {
      const auto column = static_cast<size_t>(i);
      const double error = double{row[column]} - rounded[column];
      loss += error * error * measured_[column];
    }
  }
  loss /= static_cast<double>(tokens_);
  return std::isfinite(loss) ? loss : 0;
}

void Solver::quantize_rows(const Factor* factor, const RowsProblem& problem, std::string_view name) {
  const std::optional<int64_t> bad = stream_.quantize_rows(hessian_, factor, problem);
  if (!bad) return;
  float value = 0;
  to_float(problem.weights, *bad, 1, &value);
  throw Error(Fault::numeric, cat(name, ": the weight in row ", problem.first_row + *bad / cols_, ", column ",
                                  *bad % cols_, " is ", value));
}

SolveResult Solver::quantize(const float* weight, int64_t rows, std::string_view name, int64_t first_row) {
  Tensor tensor{.shape = {rows, cols_}, .data = reinterpret_cast<const std::byte*>(weight)};
  tensor.bytes = static_cast<size_t>(tensor.elements()) * sizeof(float);
  return quantize(tensor, name, first_row);
}

SolveResult Solver::quantize(const Tensor& weight, std::string_view name, int64_t first_row) {
  if (solves_ && factor_ == nullptr) throw Error(Status::internal, "the solver's last matrix was solved");
  const int64_t rows = weight.shape[0];
  const auto size = static_cast<size_t>(rows * cols_), ranges = static_cast<size_t>(groups_ * rows);
  SolveResult result{.q = {.bits = options_.bits, .rows = rows, .cols = cols_, .groups = groups_},
                     .damp = damp_,
                     .note = note_};
  result.q.codes.resize(size);
  result.q.scales.resize(ranges);
  result.q.zeros.resize(ranges);
  result.q.group_of.resize(static_cast<size_t>(cols_));
  for (size_t i = 0; i < order_.size(); ++i) result.q.group_of[static_cast<size_t>(order_[i])] = group_of_[i];
  std::vector<double> row_loss(static_cast<size_t>(rows));
  RowsProblem problem{.rows = rows,
                      .cols = cols_,
                      .groups = groups_,
                      .weights = weight,
                      .first_row = first_row,
                      .order = order_,
                      .group_of = group_of_,
                      .dropped = dropped_,
                      .solve = params_,
                      .refine_order = refine_order_,
                      .refine_group_of = refine_group_of_,
                      .refine_diagonal_add = refine_diagonal_add_,
                      .codes = result.q.codes.data(),
                      .scales = result.q.scales.data(),
                      .zeros = result.q.zeros.data(),
                      .row_loss = row_loss.data()};
  const RowsProblem rounding = problem;
  if (factor_ != nullptr && drifts_ != nullptr && options_.target == Target::exact) {
    problem.drifts = drifts_;
    problem.parts = {.inputs = options_.target_alpha,
                     .residual = options_.residual_alpha / drifts_->output_scale};
  }
  if (solves_) {
    problem.refine = {.bits = options_.bits,
                      .sweeps = options_.sweeps,
                      .refits = options_.refits,
                      .scale_type = options_.scale_type};
  }
  if (last_) {
    problem.moved = [this] { last_drifts_ = {}; };
    problem.solved = [this] { factor_.reset(); };
  }
  quantize_rows(factor_.get(), problem, name);
  result.loss = per_token(row_loss);
  if (!solves_) {
    result.method = SolveResult::Method::rounded;
  } else if (!std::isfinite(result.loss)) {
    result.method = SolveResult::Method::rounded;
    result.note = "rounded to nearest: error feedback overflowed";
    quantize_rows(nullptr, rounding, name);
  }
  if (result.method == SolveResult::Method::rounded) {
    result.damp = 0;
    result.loss = loss_of_rounding(weight, result.q);
  }
  return result;
}

}  // namespace gptq
