// Sums of products on AVX-512 BF16: both sides are rounded to bf16, sums are fp32. Twice as fast as fp32. Operands are packed
// in pairs of inputs:
//
//   left     [step / 2][12 rows][2 inputs]
//   right    [step / 2][32 columns][2 inputs]
#if defined(__x86_64__)

#if defined(__GNUC__) && !defined(__clang__)
// gcc 12 takes the undefined vectors inside its own intrinsics for mistakes (GCC bug 105593)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include "cpu/kernels.h"

namespace gptq::cpu {
namespace {

constexpr int64_t kRows = 12;              // of a tile: 24 sums, two vectors of the right side
constexpr int64_t kWidth = 16;             // sums of a vector
constexpr int64_t kChunk = 32;             // inputs that are transposed at a time
constexpr int64_t kRightPair = kTileCols;  // packed pairs of two inputs

__mmask16 first(int64_t n) { return static_cast<__mmask16>(n >= kWidth ? 0xFFFFu : (1u << n) - 1u); }

/// Pairs of two inputs of 16 rows or columns.
__m512i pairs(__m512 even, __m512 odd) {
  const __m512i low = _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(even)));
  const __m512i high = _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(odd)));
  return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

/// Row i of in [k][stride], its first elements; zeros behind the last row.
__m512 load(const float* in, int64_t stride, int64_t i, int64_t k, __mmask16 mask) {
  return i < k ? _mm512_maskz_loadu_ps(mask, in + i * stride) : _mm512_setzero_ps();
}

void left_columns(const float* in, int64_t stride, int64_t cols, int64_t k, float* out) {
  const __mmask16 mask = first(cols < kRows ? cols : kRows), all = first(kRows);
  for (int64_t i = 0; i < k; i += 2, out += kRows)
    _mm512_mask_storeu_epi32(out, all, pairs(load(in, stride, i, k, mask), load(in, stride, i + 1, k, mask)));
}

void left(const float* in, int64_t stride, int64_t rows, int64_t k, float* out) {
  float columns[kChunk * kRows];
  for (int64_t i = 0; i < k; i += kChunk, out += kChunk / 2 * kRows) {
    const int64_t count = k - i < kChunk ? k - i : kChunk;
    kernels_avx512().pack(Dense::f32, in + i, stride, rows, count, columns, kRows);
    left_columns(columns, kRows, kRows, count, out);
  }
}

void right(const float* in, int64_t k, float* out) {
  const __mmask16 all = first(kWidth);
  for (int64_t i = 0; i < k; i += 2, out += kRightPair) {
    for (int64_t half = 0; half < kTileCols; half += kWidth) {
      _mm512_storeu_si512(out + half, pairs(load(in + half, kTileCols, i, k, all),
                                            load(in + half, kTileCols, i + 1, k, all)));
    }
  }
}

__m512bh as_pairs(__m512 x) { return reinterpret_cast<__m512bh>(x); }

/// C (+)= sum, for the columns that there are.
void add(__m512 sum, float* c, __mmask16 mask, bool accumulate) {
  if (accumulate) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, c));
  _mm512_mask_storeu_ps(c, mask, sum);
}

void multiply_tile(int64_t steps, const float* left_tile, const float* right_panel, float* c, int64_t ldc,
                   int64_t rows, int64_t cols, bool accumulate) {
  __m512 sums[kRows][2];
#pragma GCC unroll 12
  for (int64_t r = 0; r < kRows; ++r) sums[r][0] = sums[r][1] = _mm512_setzero_ps();
  for (; steps > 0; --steps, left_tile += kRows, right_panel += kRightPair) {
    const __m512bh w0 = as_pairs(_mm512_loadu_ps(right_panel)),
                   w1 = as_pairs(_mm512_loadu_ps(right_panel + kWidth));
#pragma GCC unroll 12
    for (int64_t r = 0; r < kRows; ++r) {
      const __m512bh x = as_pairs(_mm512_set1_ps(left_tile[r]));
      sums[r][0] = _mm512_dpbf16_ps(sums[r][0], x, w0);
      sums[r][1] = _mm512_dpbf16_ps(sums[r][1], x, w1);
    }
  }
  const __mmask16 mask0 = first(cols), mask1 = first(cols < kWidth ? 0 : cols - kWidth);
#pragma GCC unroll 12
  for (int64_t r = 0; r < kRows; ++r) {
    if (r >= rows) break;
    add(sums[r][0], c + r * ldc, mask0, accumulate);
    add(sums[r][1], c + r * ldc + kWidth, mask1, accumulate);
  }
}

void multiply(int64_t k, const float* left_tiles, int64_t left_stride, const float* right_panel, float* c,
              int64_t ldc, int64_t rows, int64_t cols, bool accumulate) {
  for (int64_t r = 0; r < rows; r += kRows, left_tiles += left_stride) {
    const int64_t height = rows - r < kRows ? rows - r : kRows;
    multiply_tile((k + 1) / 2, left_tiles, right_panel, c + r * ldc, ldc, height, cols, accumulate);
  }
}

constexpr Gemm kRounded{.rows = kRows,
                        .dot_rows = 32,
                        .depth = 2,
                        .inputs = 512,
                        .left_values = 2,
                        .right_values = 2,
                        .left = left,
                        .left_columns = left_columns,
                        .right = right,
                        .multiply = multiply};

}  // namespace

Gemms gemms_avx512_bf16() {
  const Gemm& plain = kernels_avx512().gemm;
  return {.usual = plain, .bf16 = plain, .rounded = kRounded};
}

}  // namespace gptq::cpu

#endif
