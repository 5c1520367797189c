// Gemm on tile() and pack(), for instruction sets without a matrix unit. Included by their files behind those, with
// kTileRows.
#pragma once

#include "cpu/kernels.h"

namespace gptq::cpu {
namespace {

void gemm_left(const float* in, int64_t stride, int64_t rows, int64_t k, float* out) {
  pack(Dense::f32, in, stride, rows, k, out, kTileRows);
}

void gemm_left_columns(const float* in, int64_t stride, int64_t cols, int64_t k, float* out) {
  for (int64_t i = 0; i < k; ++i, in += stride, out += kTileRows) {
    for (int64_t c = 0; c < kTileRows; ++c) out[c] = c < cols ? in[c] : 0.0f;
  }
}

void gemm_multiply(int64_t k, const float* left, int64_t left_stride, const float* right, float* c,
                   int64_t ldc, int64_t rows, int64_t cols, bool accumulate) {
  for (int64_t r = 0; r < rows; r += kTileRows, left += left_stride) {
    const int64_t height = rows - r < kTileRows ? rows - r : kTileRows;
    tile(k, left, right, kTileCols, c + r * ldc, ldc, height, cols, 1.0f, accumulate);
  }
}

constexpr Gemm kPlainGemm{.rows = kTileRows,
                          .dot_rows = kMostDotRows,
                          .depth = 1,
                          .inputs = 256,
                          .left_values = 1,
                          .right_values = 1,
                          .left = gemm_left,
                          .left_columns = gemm_left_columns,
                          .right = nullptr,
                          .multiply = gemm_multiply};

}  // namespace
}  // namespace gptq::cpu
