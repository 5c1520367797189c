// A^T X of two sets of rows, packed for Gemm: sums over calibration inputs.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/aligned.h"
#include "cpu/workers.h"

namespace gptq::cpu {

class OuterProduct {
 public:
  OuterProduct(const Workers& workers, int64_t left_cols, int64_t right_cols);

  /// Where 32 columns of the sum are: rows up to `end` of them are wanted, the first of which is at `data`.
  struct Place {
    float* data;
    int64_t stride, end;
  };

  /// The sum += (A0 - A)^T X, or A^T X where a0 is null, for a0 and a [rows, left_cols] and x [rows, right_cols], of any
  /// number of rows; those of Gemm::inputs are summed apart. place(row, col) gives the columns from `col` on, from `row` on.
  template <class PlaceOf>
  void add(const float* a0, const float* a, const float* x, int64_t rows, const PlaceOf& place) {
    const int64_t height = strip_rows(), row_strips = (left_cols_ + height - 1) / height;
    const int64_t col_strips = (right_cols_ + kStrip - 1) / kStrip;
    for (int64_t done = 0; done < rows; done += gemm_.inputs) {
      const int64_t skipped = done * left_cols_;
      pack(a0 != nullptr ? a0 + skipped : nullptr, a + skipped, x + done * right_cols_,
           std::min(rows - done, gemm_.inputs));
      workers_.parallel_for(row_strips * col_strips, 1, [&](int64_t begin, int64_t end) {
        for (int64_t task = begin; task < end; ++task) {
          const int64_t row = task % row_strips * height, first = task / row_strips * kStrip;
          for (int64_t col = first; col < std::min(right_cols_, first + kStrip); col += kTileCols) {
            const Place to = place(row, col);
            multiply(row, std::min(row + height, to.end), col, to);
          }
        }
      });
    }
  }

 private:
  /// Rows and columns of the result that a thread does at a time, about.
  static constexpr int64_t kStrip = 128;
  int64_t strip_rows() const { return std::max<int64_t>(1, kStrip / gemm_.rows) * gemm_.rows; }

  /// At most Gemm::inputs rows.
  void pack(const float* a0, const float* a, const float* x, int64_t rows);
  /// Some rows from `first` on, of some tiles or panels.
  void pack_left(const float* a0, const float* a, int64_t first, int64_t rows, int64_t tile);
  void pack_right(const float* x, int64_t first, int64_t rows, int64_t panel);
  /// Rows [begin, end) of 32 columns, those beyond the last left out; begin is a multiple of the tile's rows.
  void multiply(int64_t begin, int64_t end, int64_t col, const Place& to) const;

  const Workers& workers_;
  const Gemm& gemm_;
  int64_t left_cols_, right_cols_, tiles_, panels_, rows_ = 0;
  AlignedBlock left_, right_;
};

}  // namespace gptq::cpu
