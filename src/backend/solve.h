// What a backend is asked when weights are quantized: sums over calibration inputs, and problems to solve with them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "base/tensor.h"

namespace gptq {

/// X^T X summed over rows, fp32.
class Hessian {
 public:
  virtual ~Hessian() = default;
  virtual int64_t size() const = 0;
  virtual int64_t rows_seen() const = 0;
};

/// (A0 - A)^T X summed over tokens, fp32 [rows, cols]: how far A, which the quantized part of a model produced, is from
/// A0 of the unquantized model, as far as the inputs X of a Linear tell it.
class Drift {
 public:
  virtual ~Drift() = default;
  virtual int64_t rows() const = 0;  // features of A
  virtual int64_t cols() const = 0;  // features of X
};

/// What better targets for weights [rows, cols] are found from; null where there is no drift.
struct Drifts {
  std::unique_ptr<Drift> inputs;    // A is X [cols, cols]
  std::unique_ptr<Drift> residual;  // A is the residual stream, which the outputs are added to [rows, cols]
  double output_scale = 1.0;        // what the outputs are multiplied with before
};
/// How much of each is made up for.
struct DriftParts {
  double inputs = 0, residual = 0;
};

/// U, upper triangular, with H'^-1 = U^T U for a permuted and damped Hessian H'.
class Factor {
 public:
  virtual ~Factor() = default;
  virtual int64_t size() const = 0;
};

enum class Symmetric : uint8_t { no, yes };
/// Whether a group's range is that of the original weights, or of the weights as error feedback has left them when
/// the group's first column is reached.
enum class StaticGroups : uint8_t { no, yes };
/// How the scale (and the zero point) of a group are found, w its weights in a row and q what they become:
/// minmax: the range covers all of w. mse: of ranges between all and a fifth of it, that of least sum |w - q|^p.
/// hessian: of ranges between 1.05 and 0.4 of it, and zero points one up and one down, that of least
/// sum (w - q)^2 / U_jj^2, the loss that GPTQ minimizes; where ranges come from current weights and the group fits in a
/// block, the eight best of them are tried again with each column's error fed back to the group's later columns.
enum class RangeSearch : uint8_t { minmax, mse, hessian };
/// Faults of the reference implementation that solve() reproduces on request, for comparison.
enum class Compat : uint8_t {
  none,
  gptqmodel,  // group ranges from weights that lack the current block's updates; a symmetric range is halved
              // when a row of the group has no negative weight
};
/// Whether scales are rounded to fp16 before use, so that error feedback sees what the file will hold.
enum class ScaleType : uint8_t { f32, f16 };

struct SolveParams {
  int bits = 4;
  Symmetric symmetric = Symmetric::yes;
  StaticGroups static_groups = StaticGroups::no;
  RangeSearch range = RangeSearch::minmax;
  double mse_norm = 2.4;  // p of RangeSearch::mse
  Compat compat = Compat::none;
  ScaleType scale_type = ScaleType::f16;
  int least_zero = 0;   // of asymmetric zero points: 1 where the file's format can't hold 0
  int64_t block = 128;  // columns solved before their error is pushed to the rest

  bool operator==(const SolveParams&) const = default;
};

/// One weight matrix for solve(), host memory, columns in processing order.
struct SolveProblem {
  int64_t rows = 0, cols = 0, groups = 0;
  float* weights = nullptr;           // [rows, cols]; overwritten with the dequantized result
  const int32_t* group_of = nullptr;  // [cols] group of each column; in sequence unless ranges are static
  uint8_t* codes = nullptr;           // [rows, cols] out
  float* scales = nullptr;            // [groups, rows] out
  uint16_t* zeros = nullptr;          // [groups, rows] out
  double* row_loss = nullptr;         // [rows] out: sum over columns of ((w - q) / U_jj)^2 / 2
};

/// Coordinate descent from a solution: sweeps over the columns, each of which moves every code to the best one while
/// the others stay. In the last `refits` of them each group's scale is then fitted by least squares, while the codes
/// stay, if that is between half and twice the old one.
struct RefineParams {
  int bits = 4;
  int sweeps = 0, refits = 0;
  ScaleType scale_type = ScaleType::f16;

  bool operator==(const RefineParams&) const = default;
};

/// What refine() has in memory besides its operands: at most the Hessian as a square; of so many rows at a time the residual,
/// and of so many columns its product and the changes.
inline constexpr int64_t kRefinedColumns = 1024;
constexpr int64_t refined_rows(int64_t rows, int threads) {
  const int64_t band = threads > 8 ? int64_t{64} * threads : 512;
  return rows < band ? rows : band;
}

/// One weight matrix for refine(), host memory, columns in an order that keeps groups together.
struct RefineProblem {
  int64_t rows = 0, cols = 0;
  const float* target = nullptr;      // [rows, cols] W
  const int32_t* group_of = nullptr;  // [cols]
  const int32_t* stored = nullptr;    // [cols] where rows of target and codes have the column
  uint8_t* codes = nullptr;           // [rows, cols] in and out
  float* scales = nullptr;            // [groups, rows] in and out
  const uint16_t* zeros = nullptr;    // [groups, rows]
  /// [rows] out: (W - Q) H' (W - Q)^T / 2, products rounded as those of a Hessian may be
  double* row_loss = nullptr;
};

/// Rows of a weight matrix on their whole way, for quantize_rows(); host memory. Weights and codes have the matrix's own
/// columns, of which order[i] is the i-th to be processed.
struct RowsProblem {
  int64_t rows = 0, cols = 0, groups = 0;
  Tensor weights;                         // [rows, cols] f32, f16 or bf16
  int64_t first_row = 0;                  // of the matrix
  std::span<const int32_t> order;         // [cols]
  std::span<const int32_t> group_of;      // [cols] of the column that is i-th, as SolveProblem has it
  std::span<const uint8_t> dropped = {};  // [cols] weights of these columns count as 0; empty: none
  const Drifts* drifts = nullptr;         // retarget(); null: weights stay what they are
  DriftParts parts = {};                  // of them
  SolveParams solve = {};                 // solve()
  RefineParams refine = {};               // refine(), unless it has no sweeps
  std::span<const int32_t> refine_order = {}, refine_group_of = {};  // [cols]
  std::span<const float> refine_diagonal_add = {};                   // [cols]
  // out
  uint8_t* codes = nullptr;   // [rows, cols]
  float* scales = nullptr;    // [groups, rows]
  uint16_t* zeros = nullptr;  // [groups, rows]
  double* row_loss =
      nullptr;  // [rows] of refine(), else of solve(); where the sum of the latter is not finite, nothing is refined
  /// Called when drifts, and when the factor are not needed any more: they may go then.
  std::function<void()> moved = [] {}, solved = [] {};
};

}  // namespace gptq
