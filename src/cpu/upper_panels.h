// The upper triangle of a square matrix as panels of 32 columns, each a matrix of its own with the rows from 0 to the
// end of its part of the diagonal: half the memory, and each panel is an operand of Kernels::tile as it lies.
//
//   panel p: columns [32p, 32p + 32), rows [0, 32p + 32), row stride 32
//
// Columns and rows are padded to a multiple of 32. Elements below the diagonal, within the last 32 rows of a panel,
// mean nothing.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "cpu/aligned.h"
#include "cpu/kernels.h"

namespace gptq::cpu {

class UpperPanels {
 public:
  static constexpr int64_t kWidth = kTileCols;

  /// All zero.
  explicit UpperPanels(int64_t size)
      : size_(size), panels_((size + kWidth - 1) / kWidth), block_(floats() * sizeof(float)) {
    std::memset(block_.data(), 0, block_.bytes());
  }

  int64_t size() const { return size_; }
  int64_t padded_size() const { return panels_ * kWidth; }
  int64_t panels() const { return panels_; }

  float* panel(int64_t p) { return block_.as<float>() + kWidth * kWidth / 2 * p * (p + 1); }
  const float* panel(int64_t p) const { return const_cast<UpperPanels*>(this)->panel(p); }
  static int64_t panel_rows(int64_t p) { return (p + 1) * kWidth; }

  /// row <= col
  float& at(int64_t row, int64_t col) { return panel(col / kWidth)[row * kWidth + col % kWidth]; }
  float at(int64_t row, int64_t col) const { return const_cast<UpperPanels*>(this)->at(row, col); }
  /// The element of the symmetric matrix whose upper triangle this is.
  float symmetric(int64_t row, int64_t col) const { return at(std::min(row, col), std::max(row, col)); }

 private:
  /// A row of 32 may be read from any column of the last panel, hence the tail.
  size_t floats() const {
    return static_cast<size_t>(kWidth * kWidth / 2 * panels_ * (panels_ + 1) + kWidth);
  }

  int64_t size_, panels_;
  AlignedBlock block_;
};

}  // namespace gptq::cpu
