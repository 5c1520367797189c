#include "cpu/outer_product.h"

#include <algorithm>

namespace gptq::cpu {
namespace {

int64_t pieces(int64_t n, int64_t size) { return (n + size - 1) / size; }

/// Rows that are packed at a time, and tiles and panels: a part of a matrix that stays in the cache meanwhile.
constexpr int64_t kBlockRows = 64, kBlockTiles = 32, kBlockPanels = 16;

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
    : workers_(workers),
      gemm_(workers.gemm),
      left_cols_(left_cols),
      right_cols_(right_cols),
      tiles_(pieces(left_cols, gemm_.rows)),
      panels_(pieces(right_cols, kTileCols)),
      left_(static_cast<size_t>(tiles_ * gemm_.left_floats(gemm_.inputs)) * sizeof(float)),
      right_(static_cast<size_t>(panels_ * gemm_.right_floats(gemm_.inputs)) * sizeof(float)) {}

void OuterProduct::pack(const float* a0, const float* a, const float* x, int64_t rows) {
  rows_ = rows;
  const int64_t blocks = pieces(rows, kBlockRows), lefts = pieces(tiles_, kBlockTiles);
  const int64_t parts = lefts + pieces(panels_, kBlockPanels);
  workers_.parallel_for(blocks * parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i / parts * kBlockRows, count = std::min(kBlockRows, rows - first);
      const int64_t part = i % parts, left = first * left_cols_;
      if (part < lefts) {
        pack_left(a0 != nullptr ? a0 + left : nullptr, a + left, first, count, part * kBlockTiles);
      } else {
        pack_right(x + first * right_cols_, first, count, (part - lefts) * kBlockPanels);
      }
    }
  });
}

void OuterProduct::pack_left(const float* a0, const float* a, int64_t first, int64_t rows, int64_t tile) {
  float strip[kBlockRows * kMaxTileRows];
  for (const int64_t end = std::min(tiles_, tile + kBlockTiles); tile < end; ++tile) {
    const int64_t col = tile * gemm_.rows;
    copy_strip(a0, a, rows, left_cols_, col, gemm_.rows, strip);
    gemm_.left_columns(strip, gemm_.rows, std::min(gemm_.rows, left_cols_ - col), rows,
                       left_.as<float>() + tile * gemm_.left_floats(rows_) + gemm_.left_floats(first));
  }
}

void OuterProduct::pack_right(const float* x, int64_t first, int64_t rows, int64_t panel) {
  float strip[kBlockRows * kTileCols];
  for (const int64_t end = std::min(panels_, panel + kBlockPanels); panel < end; ++panel) {
    float* out = right_.as<float>() + panel * gemm_.right_floats(rows_) + gemm_.right_floats(first);
    copy_strip(nullptr, x, rows, right_cols_, panel * kTileCols, kTileCols,
               gemm_.right != nullptr ? strip : out);
    if (gemm_.right != nullptr) gemm_.right(strip, rows, out);
  }
}

void OuterProduct::multiply(int64_t begin, int64_t end, int64_t col, const Place& to) const {
  const int64_t last = std::min(end, left_cols_);
  if (begin >= last) return;
  const int64_t left_floats = gemm_.left_floats(rows_);
  gemm_.multiply(rows_, left_.as<float>() + begin / gemm_.rows * left_floats, left_floats,
                 right_.as<float>() + col / kTileCols * gemm_.right_floats(rows_), to.data, to.stride,
                 last - begin, std::min(kTileCols, right_cols_ - col), true);
}

}  // namespace gptq::cpu
