// The matrix product on AMX tiles. A float is split into two bf16 halves, x = hi + lo + at most 2^-17 of it, and a
// product into three: hi*hi + hi*lo + lo*hi, each exact, summed in fp32. So packed operands are as large as they were.
//
//   left tile    [step / 32] blocks of hi [16 rows][32 inputs], lo likewise
//   right panel  [step / 32] blocks of columns 0-15: hi [16 pairs of inputs][16 columns][2], lo likewise; columns 16-31
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

constexpr int64_t kRows = 16;              // of a tile, and columns of its right side
constexpr int64_t kDepth = 32;             // inputs of a block
constexpr int64_t kHalf = kRows * kDepth;  // bf16 values of one tile register
constexpr int64_t kTileBytes = 64;         // row of a tile register

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
const TileConfig kConfig;

struct Halves {
  __m256i high, low;  // 16 bf16 each
};

Halves split(__m512 x) {
  const auto high = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x));
  const __m512 rounded = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
  return {high, reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_sub_ps(x, rounded)))};
}

__mmask16 first(int64_t n) {
  return n >= 16  ? static_cast<__mmask16>(0xFFFF)
         : n <= 0 ? __mmask16{0}
                  : static_cast<__mmask16>((1u << n) - 1u);
}

/// 32 inputs of row r of a block of a left tile.
void store_row(uint16_t* block, int64_t r, __m512 x0, __m512 x1) {
  const Halves a = split(x0), b = split(x1);
  uint16_t* out = block + r * kDepth;
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), a.high);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 16), b.high);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + kHalf), a.low);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + kHalf + 16), b.low);
}

void left(const float* in, int64_t stride, int64_t rows, int64_t k, float* out) {
  auto* block = reinterpret_cast<uint16_t*>(out);
  for (int64_t i = 0; i < k; i += kDepth, block += 2 * kHalf) {
    for (int64_t r = 0; r < kRows; ++r) {
      const float* row = in + r * stride + i;
      const bool real = r < rows;
      store_row(block, r, real ? _mm512_maskz_loadu_ps(first(k - i), row) : _mm512_setzero_ps(),
                real ? _mm512_maskz_loadu_ps(first(k - i - 16), row + 16) : _mm512_setzero_ps());
    }
  }
}

void left_columns(const float* in, int64_t stride, int64_t cols, int64_t k, float* out) {
  float rows[kRows * kDepth];
  auto* block = reinterpret_cast<uint16_t*>(out);
  for (int64_t i = 0; i < k; i += kDepth, block += 2 * kHalf) {
    // the transpose: inputs of the block are rows here
    const int64_t inputs = k - i < kDepth ? k - i : kDepth;
    kernels_avx512().pack(Dense::f32, in + i * stride, stride, inputs, cols, rows, kDepth);
    for (int64_t r = 0; r < kRows; ++r) {
      const float* row = rows + r * kDepth;
      const bool real = r < cols;
      store_row(block, r, real ? _mm512_loadu_ps(row) : _mm512_setzero_ps(),
                real ? _mm512_loadu_ps(row + 16) : _mm512_setzero_ps());
    }
  }
}

/// Two inputs of 16 columns: bf16 pairs.
void store_pair(uint16_t* block, int64_t pair, __m512 even, __m512 odd) {
  const Halves a = split(even), b = split(odd);
  const auto join = [](__m256i low, __m256i high) {
    return _mm512_or_si512(_mm512_cvtepu16_epi32(low), _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
  };
  uint16_t* out = block + pair * 2 * kRows;
  _mm512_storeu_si512(out, join(a.high, b.high));
  _mm512_storeu_si512(out + kHalf, join(a.low, b.low));
}

void right(const float* in, int64_t k, float* out) {
  auto* block = reinterpret_cast<uint16_t*>(out);
  for (int64_t i = 0; i < k; i += kDepth, block += 4 * kHalf) {
    for (int64_t pair = 0; pair < kDepth / 2; ++pair) {
      const int64_t even = i + 2 * pair;
      const float* row = in + even * kTileCols;
      for (int64_t half = 0; half < 2; ++half) {
        const float* x = row + half * kRows;
        store_pair(block + half * 2 * kHalf, pair, even < k ? _mm512_loadu_ps(x) : _mm512_setzero_ps(),
                   even + 1 < k ? _mm512_loadu_ps(x + kTileCols) : _mm512_setzero_ps());
      }
    }
  }
}

/// C of 16 columns (+)= large + small, both [16][16].
void add_tile(const float* large, const float* small, float* c, int64_t ldc, int64_t rows, int64_t cols,
              bool accumulate) {
  const __mmask16 mask = first(cols);
  for (int64_t r = 0; r < rows; ++r, c += ldc) {
    __m512 sum = _mm512_add_ps(_mm512_load_ps(large + r * kRows), _mm512_load_ps(small + r * kRows));
    if (accumulate) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, c));
    _mm512_mask_storeu_ps(c, mask, sum);
  }
}

// Registers: sums of columns 0-15 and 16-31, of the products of high halves and of the others apart so that they don't
// wait for each other; then the halves of the left tile, and of the columns at hand.
#define GPTQ_STEP(large, small, right)         \
  _tile_loadd(6, right, kTileBytes);           \
  _tile_loadd(7, (right) + kHalf, kTileBytes); \
  _tile_dpbf16ps(large, 4, 6);                 \
  _tile_dpbf16ps(small, 4, 7);                 \
  _tile_dpbf16ps(small, 5, 6)

void multiply_tile(int64_t blocks, const uint16_t* left_tile, const uint16_t* right_panel, float* c,
                   int64_t ldc, int64_t rows, int64_t cols, bool accumulate) {
  alignas(64) float sums[4][kRows * kRows];
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t i = 0; i < blocks; ++i, left_tile += 2 * kHalf, right_panel += 4 * kHalf) {
    _tile_loadd(4, left_tile, kTileBytes);
    _tile_loadd(5, left_tile + kHalf, kTileBytes);
    GPTQ_STEP(0, 1, right_panel);
    GPTQ_STEP(2, 3, right_panel + 2 * kHalf);
  }
  _tile_stored(0, sums[0], kTileBytes);
  _tile_stored(1, sums[1], kTileBytes);
  _tile_stored(2, sums[2], kTileBytes);
  _tile_stored(3, sums[3], kTileBytes);
  add_tile(sums[0], sums[1], c, ldc, rows, cols < kRows ? cols : kRows, accumulate);
  if (cols > kRows) add_tile(sums[2], sums[3], c + kRows, ldc, rows, cols - kRows, accumulate);
}
#undef GPTQ_STEP

void multiply(int64_t k, const float* left_tiles, int64_t left_stride, const float* right_panel, float* c,
              int64_t ldc, int64_t rows, int64_t cols, bool accumulate) {
  _tile_loadconfig(&kConfig);
  const auto* panel = reinterpret_cast<const uint16_t*>(right_panel);
  for (int64_t r = 0; r < rows; r += kRows, left_tiles += left_stride) {
    multiply_tile((k + kDepth - 1) / kDepth, reinterpret_cast<const uint16_t*>(left_tiles), panel,
                  c + r * ldc, ldc, rows - r < kRows ? rows - r : kRows, cols, accumulate);
  }
  _tile_release();
}

constexpr Gemm kGemm{.rows = kRows,
                     .depth = kDepth,
                     .left = left,
                     .left_columns = left_columns,
                     .right = right,
                     .multiply = multiply};

}  // namespace

const Gemm& gemm_amx() { return kGemm; }

}  // namespace gptq::cpu

#endif
