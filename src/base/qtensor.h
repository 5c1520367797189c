// The canonical quantized matrix: what every checkpoint format is read into and written from, and what a
// backend packs for its own kernels. dequantize_row() is its meaning.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/tensor.h"

namespace gptq {

/// W [rows, cols], as nn.Linear.weight: W[n][k] = scale(g, n) * (code(n, k) - zero(g, n)), g = group_of[k].
struct QTensor {
  int bits = 4;                     // one of kBitWidths
  int64_t rows = 0;                 // N, out_features
  int64_t cols = 0;                 // K, in_features
  int64_t groups = 0;               // G
  std::vector<uint8_t> codes{};     // [rows][cols], each 0 .. 2^bits - 1
  std::vector<float> scales{};      // [groups][rows], finite
  std::vector<uint16_t> zeros{};    // [groups][rows], each 0 .. 2^bits
  std::vector<int32_t> group_of{};  // [cols], each 0 .. groups - 1
};

/// The widths of codes that there are.
inline constexpr std::array<int, 4> kBitWidths{2, 3, 4, 8};
constexpr bool is_bit_width(int64_t bits) {
  for (int width : kBitWidths) {
    if (bits == width) return true;
  }
  return false;
}

/// The matrix [N, K] of f32, f16 or bf16 in groups of so many inputs, symmetric: scales are the largest magnitude of a group
/// by the largest code, values go to the nearest. NaN counts as 0, infinity as the largest number of fp32.
QTensor round_to_nearest(const Tensor& weight, int bits, int64_t group_size);

/// out[0..cols) = W[row]
void dequantize_row(const QTensor& q, int64_t row, float* out);

/// Rows [begin, end) as a matrix of its own.
QTensor slice_rows(const QTensor& q, int64_t begin, int64_t end);
/// Rows in the order of their numbers.
QTensor gather_rows(const QTensor& q, std::span<const int64_t> rows);

/// Throws Error(Fault::range or numeric) naming `what` unless sizes, codes, zeros, groups and scales are as
/// the comments above say. Backends rely on it.
void validate(const QTensor& q, std::string_view what);

}  // namespace gptq
