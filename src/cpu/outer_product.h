// X^T Y of two sets of rows, packed for Gemm: sums over calibration inputs.
#pragma once

#include <cstdint>

#include "cpu/aligned.h"
#include "cpu/workers.h"

namespace gptq::cpu {

class OuterProduct {
 public:
  /// Rows that are packed at once.
  static constexpr int64_t kMaxRows = 256;

  OuterProduct(const Workers& workers, int64_t cols);

  /// X = x0 - x, or x where x0 is null, and Y = x, all [rows, cols] with at most kMaxRows rows.
  void pack(const float* x0, const float* x, int64_t rows);

  /// Rows of one left tile of the result: first rows given to add() are multiples of it.
  int64_t tile_rows() const { return gemm_.rows; }
  /// C += X^T Y for its rows [begin, end) and columns [col, col + 32), those beyond `cols` left out; c points to row
  /// `begin`, column `col`, and has row stride ldc. col is a multiple of 32.
  void add(int64_t begin, int64_t end, int64_t col, float* c, int64_t ldc) const;

 private:
  const Workers& workers_;
  const Gemm& gemm_;
  int64_t cols_, rows_ = 0;
  AlignedBlock left_, right_;
};

}  // namespace gptq::cpu
