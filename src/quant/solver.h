// GPTQ (arXiv 2210.17323) for the weight matrices that read one input: damping, column order, groups, fallbacks.
// The arithmetic is the Stream's.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "base/qtensor.h"
#include "quant/order.h"

namespace gptq {

/// What a matrix is to reproduce. sequential: its own outputs for the inputs X that the quantized modules before it give.
/// exact: the outputs that the unquantized model has for its inputs X0, by weights that are moved before they are
/// quantized (arXiv 2504.09629); outputs that are added to the residual stream make up for what it lacks, too. gptaq: as
/// the first half of exact, approximated column by column (arXiv 2504.02692).
enum class Target : uint8_t { sequential, gptaq, exact };

struct SolverOptions {
  int bits = 4;              // 2, 3, 4 or 8
  int64_t group_size = 128;  // inputs that share a scale; -1, or more than there are: all of them
  Symmetric symmetric = Symmetric::yes;
  Order order = Order::gar;
  StaticGroups static_groups = StaticGroups::no;
  double damp_percent = 0.05;         // of the mean diagonal of the Hessian, added to the diagonal
  double damp_auto_increment = 0.01;  // added to damp_percent until the Hessian factors; 0: one attempt
  Compat compat = Compat::none;
  ScaleType scale_type = ScaleType::f16;
  int least_zero = 0;  // SolveParams::least_zero
  RangeSearch range = RangeSearch::minmax;
  double mse_norm = 2.4;  // SolveParams::mse_norm
  Target target = Target::sequential;
  double target_alpha = 0.75;   // of Target::exact and gptaq; 0: the inputs stay as they are, 1: all the way
  double residual_alpha = 0.5;  // of Target::exact: part of the residual stream's drift that is made up for
  int sweeps = 0, refits = 0;   // RefineParams

  bool operator==(const SolverOptions&) const = default;
};

struct SolveResult {
  enum class Method : uint8_t {
    gptq,
    rounded,  // to nearest, without error feedback: there was no usable Hessian; `note` says why
  };

  QTensor q;  // in the weight's own column order
  /// The squared output error per token, |x (W - Q)^T|^2 summed over outputs, averaged over the tokens seen, damping
  /// included; W as the target has moved it. For Method::rounded as if inputs were uncorrelated, and 0 without a finite
  /// Hessian.
  double loss = 0;
  double damp = 0;  // the damp_percent that was used; 0 for Method::rounded
  Method method = Method::gptq;
  std::string note;  // empty, or what a user should know
};

class Solver {
 public:
  /// Orders and factors the Hessian, once for all matrices. A Hessian that is all zero, not finite, or that no
  /// damping makes positive definite is no error: quantize() rounds then. Status::invalid_argument for options out
  /// of range. Columns whose input was always zero keep their weights (Compat::gptqmodel zeroes them).
  /// `drifts`, of the same tokens, are read for targets other than sequential; null: there are none.
  /// Nor is a Hessian of fewer than `least_tokens`: too few to say how the inputs of an expert depend on each other.
  /// `stream`, `hessian` and `drifts` are used as long as the Solver lives.
  Solver(Stream& stream, const Hessian& hessian, const Drifts* drifts, const SolverOptions& options,
         int64_t least_tokens = 0);
  Solver(const Solver&) = delete;
  Solver& operator=(const Solver&) = delete;

  /// `weight` is [rows, hessian.size()], of f32, f16 or bf16. Fault::numeric naming `name`, row and column for NaN and
  /// infinity, where the first row is number `first_row`. Rows do not depend on each other: parts of a matrix come out as in
  /// the whole.
  SolveResult quantize(const Tensor& weight, std::string_view name, int64_t first_row = 0);
  SolveResult quantize(const float* weight, int64_t rows, std::string_view name, int64_t first_row = 0);

  /// The next quantize() is the last: the factor, and the drifts that the solver was made with, go as soon as they have
  /// done their part in it.
  void end_with_next(Drifts drifts);

 private:
  void fix_dead_columns();
  void find_factor();
  bool try_damping(double floor);
  void prepare_refining();
  void round_instead(std::string_view why);
  void quantize_rows(const Factor* factor, const RowsProblem& problem, std::string_view name);
  double per_token(const std::vector<double>& row_loss) const;
  double loss_of_rounding(const Tensor& weight, const QTensor& q) const;

  Stream& stream_;
  const Hessian& hessian_;
  const Drifts* drifts_;
  SolverOptions options_;
  SolveParams params_;
  int64_t cols_, group_size_, groups_, tokens_;
  // natural order
  std::vector<float> measured_;   // diagonal of the Hessian
  std::vector<float> diagonal_;   // without zeros
  std::vector<uint8_t> dropped_;  // RowsProblem::dropped
  // by processing index
  std::vector<int32_t> order_;  // the column solved as i-th
  std::vector<int32_t> group_of_;
  std::unique_ptr<Factor> factor_;
  bool solves_ = false;  // there is a factor, or was one
  bool last_ = false;    // see end_with_next()
  Drifts last_drifts_;
  // for refining: an order that keeps groups together
  std::vector<int32_t> refine_order_, refine_group_of_;
  std::vector<float> refine_diagonal_add_;
  double damp_ = 0;
  std::string note_;
};

}  // namespace gptq
