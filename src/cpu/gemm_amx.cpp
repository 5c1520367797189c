// Matrix products on AMX tiles, three kinds of them. Sums are fp32.
//
//   split    a float is two bf16 halves, x = hi + lo + at most 2^-17 of it, a product three: hi*hi + hi*lo + lo*hi
//   bf16     likewise, where the right side is bf16 as it is: hi*b + lo*b, the same sums
//   rounded  both sides are rounded to bf16: one product
//
// Operands are packed in pairs of tiles, which are the halves of 32 inputs, or 64 rounded inputs:
//
//   left     [step / inputs of a pair] pairs of [16 rows][32 inputs]
//   right    [step / inputs of a pair] columns 0-15, pair of [16 pairs of inputs][16 columns][2]; columns 16-31
//
// with single tiles for the right side of bf16.
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
constexpr int64_t kTile = kRows * kRows;   // sums of one
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

/// What a side of a product is packed as: see above.
enum class Form : uint8_t { halves, whole, rounded };

constexpr int64_t depth_of(Form form) { return form == Form::rounded ? 2 * kDepth : kDepth; }

/// Inputs that take the place of a float.
constexpr int64_t per_float(Form form) { return form == Form::halves ? 1 : 2; }

/// bf16 values of a pair of tiles, or of the single one.
constexpr int64_t values_of(Form form) { return form == Form::whole ? kHalf : 2 * kHalf; }

__m512i rounded(__m512 first, __m512 second) {
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(second, first));
}

/// 32 inputs of row r of a left tile, and where it is split those of the tile behind it.
template <Form form>
void store_row(uint16_t* tile, int64_t r, __m512 x0, __m512 x1) {
  uint16_t* out = tile + r * kDepth;
  if constexpr (form == Form::rounded) {
    _mm512_storeu_si512(out, rounded(x0, x1));
  } else {
    const Halves a = split(x0), b = split(x1);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), a.high);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 16), b.high);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + kHalf), a.low);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + kHalf + 16), b.low);
  }
}

/// Where a tile of 32 inputs begins: those of a rounded pair follow each other.
template <Form form>
uint16_t* tile_at(float* out, int64_t input) {
  return reinterpret_cast<uint16_t*>(out) + input / kDepth * (form == Form::rounded ? kHalf : 2 * kHalf);
}

int64_t padded(Form form, int64_t k) { return (k + depth_of(form) - 1) / depth_of(form) * depth_of(form); }

template <Form form>
void left(const float* in, int64_t stride, int64_t rows, int64_t k, float* out) {
  for (int64_t i = 0; i < padded(form, k); i += kDepth) {
    for (int64_t r = 0; r < kRows; ++r) {
      const float* row = in + r * stride + i;
      const bool real = r < rows;
      store_row<form>(tile_at<form>(out, i), r,
                      real ? _mm512_maskz_loadu_ps(first(k - i), row) : _mm512_setzero_ps(),
                      real ? _mm512_maskz_loadu_ps(first(k - i - 16), row + 16) : _mm512_setzero_ps());
    }
  }
}

template <Form form>
void left_columns(const float* in, int64_t stride, int64_t cols, int64_t k, float* out) {
  float rows[kRows * kDepth];
  for (int64_t i = 0; i < padded(form, k); i += kDepth) {
    // the transpose: inputs of the tile are rows here
    const int64_t inputs = k - i < 0 ? 0 : k - i < kDepth ? k - i : kDepth;
    kernels_avx512().pack(Dense::f32, in + i * stride, stride, inputs, cols, rows, kDepth);
    for (int64_t r = 0; r < kRows; ++r) {
      const float* row = rows + r * kDepth;
      const bool real = r < cols;
      store_row<form>(tile_at<form>(out, i), r, real ? _mm512_loadu_ps(row) : _mm512_setzero_ps(),
                      real ? _mm512_loadu_ps(row + 16) : _mm512_setzero_ps());
    }
  }
}

/// Two inputs of 16 columns, values of both side by side.
__m512i side_by_side(__m256i even, __m256i odd) {
  return _mm512_or_si512(_mm512_cvtepu16_epi32(even), _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16));
}

template <Form form>
void store_pair(uint16_t* tile, int64_t pair, __m512 even, __m512 odd) {
  uint16_t* out = tile + pair * 2 * kRows;
  if constexpr (form == Form::halves) {
    const Halves a = split(even), b = split(odd);
    _mm512_storeu_si512(out, side_by_side(a.high, b.high));
    _mm512_storeu_si512(out + kHalf, side_by_side(a.low, b.low));
  } else {
    _mm512_storeu_si512(out, side_by_side(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(even)),
                                          reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(odd))));
  }
}

template <Form form>
void right(const float* in, int64_t k, float* out) {
  constexpr int64_t kPairs = kDepth / 2, kBlock = values_of(form);
  auto* block = reinterpret_cast<uint16_t*>(out);
  for (int64_t i = 0; i < k; i += depth_of(form), block += 2 * kBlock) {
    for (int64_t pair = 0; pair < depth_of(form) / 2; ++pair) {
      const int64_t even = i + 2 * pair;
      const float* row = in + even * kTileCols;
      for (int64_t half = 0; half < 2; ++half) {
        const float* x = row + half * kRows;
        store_pair<form>(block + half * kBlock + pair / kPairs * kHalf, pair % kPairs,
                         even < k ? _mm512_loadu_ps(x) : _mm512_setzero_ps(),
                         even + 1 < k ? _mm512_loadu_ps(x + kTileCols) : _mm512_setzero_ps());
      }
    }
  }
}

/// C (+)= sums [16][16], for the rows and columns that there are.
void add_tile(const float* sums, float* c, int64_t ldc, int64_t rows, int64_t cols, bool accumulate) {
  const __mmask16 mask = first(cols);
  for (int64_t r = 0; r < rows; ++r, c += ldc, sums += kRows) {
    __m512 sum = _mm512_load_ps(sums);
    if (accumulate) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, c));
    _mm512_mask_storeu_ps(c, mask, sum);
  }
}

// Registers: 0 and 1 sum the columns 0-15 and 16-31 of the first left tile, 2 and 3 those of the second; 4 and 5 hold left
// tiles, 6 and 7 right ones. Loads are what costs: each register loaded serves two products or more, and all four are
// loaded before the first of them is used.
#define GPTQ_LOAD_LEFT(offset)                      \
  _tile_loadd(4, left_tile + (offset), kTileBytes); \
  _tile_loadd(5, second_tile + (offset), kTileBytes)
#define GPTQ_LOAD_RIGHT(offset)                       \
  _tile_loadd(6, right_panel + (offset), kTileBytes); \
  _tile_loadd(7, right_panel + kBlock + (offset), kTileBytes)
#define GPTQ_MULTIPLY()    \
  _tile_dpbf16ps(0, 4, 6); \
  _tile_dpbf16ps(1, 4, 7); \
  _tile_dpbf16ps(2, 5, 6); \
  _tile_dpbf16ps(3, 5, 7)

/// Two left tiles, which may be the same.
template <Form form>
void multiply_tiles(int64_t blocks, const uint16_t* left_tile, const uint16_t* second_tile,
                    const uint16_t* right_panel, float* sums) {
  constexpr int64_t kBlock = values_of(form);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (; blocks > 0; --blocks, left_tile += 2 * kHalf, second_tile += 2 * kHalf, right_panel += 2 * kBlock) {
    GPTQ_LOAD_LEFT(0);
    GPTQ_LOAD_RIGHT(0);
    GPTQ_MULTIPLY();
    GPTQ_LOAD_LEFT(kHalf);
    if constexpr (form == Form::rounded) {
      GPTQ_LOAD_RIGHT(kHalf);
    }
    GPTQ_MULTIPLY();
    if constexpr (form == Form::halves) {
      GPTQ_LOAD_LEFT(0);
      GPTQ_LOAD_RIGHT(kHalf);
      GPTQ_MULTIPLY();
    }
  }
  _tile_stored(0, sums, kTileBytes);
  _tile_stored(1, sums + kTile, kTileBytes);
  _tile_stored(2, sums + 2 * kTile, kTileBytes);
  _tile_stored(3, sums + 3 * kTile, kTileBytes);
}
#undef GPTQ_LOAD_LEFT
#undef GPTQ_LOAD_RIGHT
#undef GPTQ_MULTIPLY

template <Form form>  // of the right side
void multiply(int64_t k, const float* left_tiles, int64_t left_stride, const float* right_panel, float* c,
              int64_t ldc, int64_t rows, int64_t cols, bool accumulate) {
  alignas(64) float sums[4 * kTile];
  _tile_loadconfig(&kConfig);
  for (int64_t r = 0; r < rows; r += 2 * kRows, left_tiles += 2 * left_stride) {
    const float* const second = left_tiles + (r + kRows < rows ? left_stride : 0);
    multiply_tiles<form>(padded(form, k) / depth_of(form), reinterpret_cast<const uint16_t*>(left_tiles),
                         reinterpret_cast<const uint16_t*>(second),
                         reinterpret_cast<const uint16_t*>(right_panel), sums);
    for (int64_t tile = 0; tile < 4; ++tile) {
      const int64_t row = r + tile / 2 * kRows, col = tile % 2 * kRows;
      const int64_t height = rows - row < kRows ? rows - row : kRows,
                    width = cols - col < kRows ? cols - col : kRows;
      add_tile(sums + tile * kTile, c + row * ldc + col, ldc, height, width, accumulate);
    }
  }
  _tile_release();
}

template <Form left_form, Form right_form>
constexpr Gemm kGemm{.rows = kRows,
                     .dot_rows = 16,
                     .depth = depth_of(right_form),
                     .inputs = right_form == Form::rounded ? 512 : 256,
                     .left_values = per_float(left_form),
                     .right_values = per_float(right_form),
                     .left = left<left_form>,
                     .left_columns = left_columns<left_form>,
                     .right = right<right_form>,
                     .multiply = multiply<right_form>};

}  // namespace

Gemms gemms_amx() {
  return {.usual = kGemm<Form::halves, Form::halves>,
          .bf16 = kGemm<Form::halves, Form::whole>,
          .rounded = kGemm<Form::rounded, Form::rounded>};
}

}  // namespace gptq::cpu

#endif
