// X^T Y of two sets of rows, packed for Gemm: sums over calibration inputs.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/aligned.h"
#include "cpu/workers.h"

namespace gptq::cpu {

class OuterProduct {
 public:
  /// Rows that are packed at once.
  static constexpr int64_t kMaxRows = 256;

  OuterProduct(const Workers& workers, int64_t cols);

  /// Where 32 columns of the sum are: rows up to `end` of them are wanted, the first of which is at `data`.
  struct Place {
    float* data;
    int64_t stride, end;
  };

  /// The sum += X^T Y for x0 and x [rows, cols], or x alone, of any number of rows; those of kMaxRows are summed apart.
  /// place(row, col) gives the columns from `col` on, from `row` on.
  template <class PlaceOf>
  void add(const float* x0, const float* x, int64_t rows, const PlaceOf& place) {
    const int64_t height = strip_rows(), row_strips = (cols_ + height - 1) / height;
    const int64_t col_strips = (cols_ + kStrip - 1) / kStrip;
    for (int64_t done = 0; done < rows; done += kMaxRows) {
      const int64_t skipped = done * cols_;
      pack(x0 != nullptr ? x0 + skipped : nullptr, x + skipped, std::min(rows - done, kMaxRows));
      workers_.parallel_for(row_strips * col_strips, 1, [&](int64_t begin, int64_t end) {
        for (int64_t task = begin; task < end; ++task) {
          const int64_t row = task % row_strips * height, first = task / row_strips * kStrip;
          for (int64_t col = first; col < std::min(cols_, first + kStrip); col += kTileCols) {
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

  /// X = x0 - x, or x where x0 is null, and Y = x, all [rows, cols] with at most kMaxRows rows.
  void pack(const float* x0, const float* x, int64_t rows);
  /// Rows [begin, end) of 32 columns, those beyond `cols` left out; begin is a multiple of the tile's rows.
  void multiply(int64_t begin, int64_t end, int64_t col, const Place& to) const;

  const Workers& workers_;
  const Gemm& gemm_;
  int64_t cols_, rows_ = 0;
  AlignedBlock left_, right_;
};

}  // namespace gptq::cpu
