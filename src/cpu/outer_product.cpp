#include "cpu/outer_product.h"

#include <algorithm>

namespace gptq::cpu {
namespace {

int64_t pieces(int64_t n, int64_t size) { return (n + size - 1) / size; }

/// Columns [begin, begin + width) of x0 - x, or of x where x0 is null, [rows, cols] each, zeros beyond cols.
void copy_strip(const float* x0, const float* x, int64_t rows, int64_t cols, int64_t begin, int64_t width,
                float* out) {
  const int64_t inside = std::min(cols - begin, width);
  for (int64_t i = 0; i < rows; ++i, out += width) {
    const float* from = x + i * cols + begin;
    const float* original = x0 != nullptr ? x0 + i * cols + begin : nullptr;
    for (int64_t j = 0; j < inside; ++j) out[j] = original != nullptr ? original[j] - from[j] : from[j];
    std::fill(out + inside, out + width, 0.0f);
  }
}

}  // namespace

OuterProduct::OuterProduct(const Workers& workers, int64_t left_cols, int64_t right_cols)
    : workers_(workers), gemm_(workers.gemm), left_cols_(left_cols), right_cols_(right_cols) {
  const int64_t step = gemm_.step(kMaxRows);
  left_ =
      AlignedBlock(static_cast<size_t>(pieces(left_cols, gemm_.rows) * gemm_.rows * step) * sizeof(float));
  right_ =
      AlignedBlock(static_cast<size_t>(pieces(right_cols, kTileCols) * kTileCols * step) * sizeof(float));
}

void OuterProduct::pack(const float* a0, const float* a, const float* x, int64_t rows) {
  rows_ = rows;
  const int64_t step = gemm_.step(rows), tiles = pieces(left_cols_, gemm_.rows);
  workers_.parallel_for(tiles + pieces(right_cols_, kTileCols), 8, [&](int64_t begin, int64_t end) {
    float strip[kMaxRows * kTileCols];
    for (int64_t i = begin; i < end; ++i) {
      if (i < tiles) {
        const int64_t col = i * gemm_.rows;
        copy_strip(a0, a, rows, left_cols_, col, gemm_.rows, strip);
        gemm_.left_columns(strip, gemm_.rows, std::min(gemm_.rows, left_cols_ - col), rows,
                           left_.as<float>() + i * gemm_.rows * step);
        continue;
      }
      const int64_t panel = i - tiles;
      float* out = right_.as<float>() + panel * kTileCols * step;
      copy_strip(nullptr, x, rows, right_cols_, panel * kTileCols, kTileCols,
                 gemm_.right != nullptr ? strip : out);
      if (gemm_.right != nullptr) gemm_.right(strip, rows, out);
    }
  });
}

void OuterProduct::multiply(int64_t begin, int64_t end, int64_t col, const Place& to) const {
  const int64_t step = gemm_.step(rows_), last = std::min(end, left_cols_);
  if (begin >= last) return;
  gemm_.multiply(rows_, left_.as<float>() + begin * step, gemm_.rows * step, right_.as<float>() + col * step,
                 to.data, to.stride, last - begin, std::min(kTileCols, right_cols_ - col), true);
}

}  // namespace gptq::cpu
