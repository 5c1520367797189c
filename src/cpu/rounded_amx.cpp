// Products with rounded inputs on AMX tiles. Blocks whose inputs don't fill tiles go the way of AVX-512 VNNI.
#if defined(__x86_64__)

#if defined(__GNUC__) && !defined(__clang__)
// gcc 12 takes the undefined vectors inside its own intrinsics for mistakes (GCC bug 105593)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include "cpu/ints_avx512.h"

namespace gptq::cpu {
namespace {

constexpr int64_t kRows = 16;                 // of a tile, and columns of its right side
constexpr int64_t kDepth = 64;                // inputs of a tile
constexpr int64_t kTile = kRows * kRows;      // sums of one
constexpr int64_t kFieldRow = 4 * kTileCols;  // bytes of four inputs of all columns

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
const TileConfig kConfig;

bool fills_tiles(const RoundedStep& step) {
  for (int64_t b = step.begin; b < step.end; ++b) {
    if ((step.blocks.ends[b] - block_begin(step.blocks, b)) * kUnit % kDepth != 0) return false;
  }
  return true;
}

/// Registers: 0 and 1 sum the columns 0-15 and 16-31 of the first 16 rows, 2 and 3 those of the second; 4 and 5 hold the
/// rows, 6 and 7 the fields. sums [4][16][16]
void multiply_block(int64_t inputs, const int8_t* first, const int8_t* second, int64_t ldq,
                    const uint8_t* fields, int32_t* sums) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t i = 0; i < inputs; i += kDepth, fields += kDepth / 4 * kFieldRow) {
    _tile_loadd(4, first + i, ldq);
    _tile_loadd(6, fields, kFieldRow);
    _tile_loadd(7, fields + kFieldRow / 2, kFieldRow);
    _tile_loadd(5, second + i, ldq);
    _tile_dpbsud(0, 4, 6);
    _tile_dpbsud(1, 4, 7);
    _tile_dpbsud(2, 5, 6);
    _tile_dpbsud(3, 5, 7);
  }
  _tile_stored(0, sums, kRows * 4);
  _tile_stored(1, sums + kTile, kRows * 4);
  _tile_stored(2, sums + 2 * kTile, kRows * 4);
  _tile_stored(3, sums + 3 * kTile, kRows * 4);
}

__mmask16 first_of(int64_t n) {
  return n >= 16 ? static_cast<__mmask16>(0xFFFF) : static_cast<__mmask16>((1u << n) - 1u);
}

/// y, 16 columns of it, with what a block adds to some rows.
void add_block(const RoundedStep& step, int64_t block, int64_t panel, const int32_t* dots,
               const RoundedRows& rows, int64_t cols, bool accumulate) {
  const QPanel& first = step.first;
  const int64_t count = step.blocks.count, at = (panel * first.groups + step.blocks.groups[block]) * kPanel;
  const bool has_zeros = are_there(first.zeros);
  const __m512 scale = load<Floats>(first.scales, at).v;
  const __m512 zero = has_zeros ? load<Floats>(first.zeros, at).v : _mm512_setzero_ps();
  const __mmask16 mask = first_of(cols);
  for (int64_t r = 0; r < rows.rows; ++r) {
    const int32_t of_inputs = rows.sums[r * count + block];
    const __m512i middle = _mm512_set1_epi32(field_middle(first.bits) * of_inputs);
    __m512 dot = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_loadu_si512(dots + r * kRows), middle));
    if (has_zeros) dot = _mm512_fnmadd_ps(zero, _mm512_set1_ps(static_cast<float>(of_inputs)), dot);
    float* const y = rows.y + r * rows.ldy;
    const __m512 before = accumulate ? _mm512_maskz_loadu_ps(mask, y) : _mm512_setzero_ps();
    const __m512 by = _mm512_mul_ps(scale, _mm512_set1_ps(rows.scales[r * count + block]));
    _mm512_mask_storeu_ps(y, mask, _mm512_fmadd_ps(dot, by, before));
  }
}

RoundedRows part_of(const RoundedStep& step, const RoundedRows& rows, int64_t first, int64_t col) {
  const int64_t left = rows.rows - first, parameters = first * step.blocks.count;
  return {left < kRows ? left : kRows, rows.q + first * rows.ldq,       rows.ldq, rows.scales + parameters,
          rows.sums + parameters,      rows.y + first * rows.ldy + col, rows.ldy};
}

void multiply(const RoundedStep& step, const RoundedRows& rows, int64_t cols, bool accumulate) {
  if (!fills_tiles(step)) return kRoundedAvx512Vnni.multiply(step, rows, cols, accumulate);
  alignas(64) int32_t sums[4 * kTile];
  _tile_loadconfig(&kConfig);
  const int64_t start = block_begin(step.blocks, step.begin);
  for (int64_t r = 0; r < rows.rows; r += 2 * kRows) {
    const int64_t second = r + kRows < rows.rows ? r + kRows : r;
    for (int64_t b = step.begin; b < step.end; ++b) {
      const int64_t unit = block_begin(step.blocks, b), inputs = (step.blocks.ends[b] - unit) * kUnit;
      multiply_block(inputs, rows.q + r * rows.ldq + unit * kUnit, rows.q + second * rows.ldq + unit * kUnit,
                     rows.ldq, step.fields + (unit - start) * kUnit / 4 * kFieldRow, sums);
      for (int64_t tile = 0; tile < 4; ++tile) {
        const int64_t row = r + tile / 2 * kRows, panel = tile % 2, col = panel * kPanel;
        if (row >= rows.rows || col >= cols) continue;
        add_block(step, b, panel, sums + tile * kTile, part_of(step, rows, row, col), cols - col,
                  accumulate || b > step.begin);
      }
    }
  }
  _tile_release();
}

}  // namespace

RoundedKernels rounded_amx() {
  RoundedKernels kernels = kRoundedAvx512Vnni;
  kernels.multiply = multiply;
  kernels.dot_rows = 8;
  return kernels;
}

}  // namespace gptq::cpu

#endif
