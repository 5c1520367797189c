// C -= Y^T Y for C in upper panels, on Kernels::tile.
#pragma once

#include <cstdint>

#include "cpu/upper_panels.h"
#include "cpu/workers.h"

namespace gptq::cpu {

/// Y [k, cols] packed as both operands of Y^T Y, padded with zero columns.
class PackedPair {
 public:
  PackedPair(const Kernels& kernels, int64_t max_k, int64_t max_cols)
      : tile_rows_(kernels.tile_rows),
        max_k_(max_k),
        left_(bytes(max_cols, tile_rows_)),
        right_(bytes(max_cols, kTileCols)) {}

  int64_t max_k() const { return max_k_; }
  int64_t tile_rows() const { return tile_rows_; }
  /// [k][tile_rows]: columns from tile * tile_rows
  float* left(int64_t tile) const { return left_.as<float>() + tile * max_k_ * tile_rows_; }
  /// [k][32]: columns from 32 * panel
  float* right(int64_t panel) const { return right_.as<float>() + panel * max_k_ * kTileCols; }

 private:
  size_t bytes(int64_t cols, int64_t width) const {
    return static_cast<size_t>((cols + width - 1) / width * width * max_k_) * sizeof(float);
  }

  int64_t tile_rows_, max_k_;
  AlignedBlock left_, right_;
};

/// Panels that `cols` columns touch.
inline int64_t panels_for(int64_t cols) { return (cols + kTileCols - 1) / kTileCols; }

/// C -= Y^T Y for the upper triangle of the first `cols` rows and columns of C. Y has k rows.
void subtract_gram(const Workers& workers, const PackedPair& y, int64_t k, int64_t cols, UpperPanels& c);

}  // namespace gptq::cpu
