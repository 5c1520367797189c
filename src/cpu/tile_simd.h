// The tile of Kernels, written once over Vec for each kind of element, as kernels_simd.h is, which comes first.
#pragma once

#include "cpu/unrolled.h"

namespace gptq::cpu {
namespace {

/// kRows x kVecs vectors of C, starting at column 0 of b and c; cols <= kVecs kW. Of what lies `ahead` bytes behind b a
/// line is fetched for each of b that is read: all at once they would be waited for.
template <class Element, int kRows, int kVecs>
[[gnu::flatten]] void tile_block(int64_t k, const float* a, const Element* b, int64_t ldb, float* c,
                                 int64_t ldc, int64_t cols, float sign, bool accumulate, int64_t ahead) {
  constexpr int64_t kLine = 64;  // bytes
  constexpr int64_t kBytes = kVecs * kW * static_cast<int64_t>(sizeof(Element));
  constexpr auto kLines = static_cast<int>((kBytes + kLine - 1) / kLine);
  Vec sums[kRows][kVecs];
  unrolled<kRows * kVecs>([&](auto i) { sums[i.value / kVecs][i.value % kVecs] = Vec::zero(); });
  for (int64_t i = 0; i < k; ++i, a += kTileRows, b += ldb) {
    if constexpr (sizeof(Element) < sizeof(float)) {
      const char* const later = reinterpret_cast<const char*>(b) + ahead;
      unrolled<kLines>([&](auto line) { __builtin_prefetch(later + line.value * kLine); });
    }
    Vec right[kVecs];
    unrolled<kVecs>([&](auto v) { right[v.value] = Vec::load(b + v.value * kW); });
    unrolled<kRows>([&](auto r) {
      const Vec x = Vec::set(a[r.value]);
      unrolled<kVecs>(
          [&](auto v) { sums[r.value][v.value] = fma(x, right[v.value], sums[r.value][v.value]); });
    });
  }
  const Vec by = Vec::set(sign);
  unrolled<kVecs>([&](auto v) {
    const int64_t n = least(cols - v.value * kW, kW);
    if (n <= 0) return;
    unrolled<kRows>([&](auto r) {
      float* const out = c + r.value * ldc + v.value * kW;
      const Vec before = accumulate ? Vec::load(out, n) : Vec::zero();
      fma(sums[r.value][v.value], by, before).store(out, n);
    });
  });
}

/// Few rows take more columns at once: as many chains of sums as hide the latency of their adds.
template <class Element, int kRows>
void tile_rows(int64_t k, const float* a, const Element* b, int64_t ldb, float* c, int64_t ldc, int64_t cols,
               float sign, bool accumulate, int64_t ahead) {
  constexpr int kVecs = kRows <= kTileRows / 3 ? 4 : 2;
  for (int64_t j = 0; j < cols;) {
    const int64_t left = cols - j;
    if (left > 2 * kW) {
      tile_block<Element, kRows, kVecs>(k, a, b + j, ldb, c + j, ldc, left, sign, accumulate, ahead);
      j += kVecs * kW;
    } else {
      tile_block<Element, kRows, 2>(k, a, b + j, ldb, c + j, ldc, left, sign, accumulate, ahead);
      j += 2 * kW;
    }
  }
}

template <class Element>
using TileRows = void (*)(int64_t, const float*, const Element*, int64_t, float*, int64_t, int64_t, float,
                          bool, int64_t);
template <class Element>
struct TileTable {
  TileRows<Element> rows[kTileRows];
};

template <class Element, int kRows = 1>
constexpr void fill(TileTable<Element>& table) {
  table.rows[kRows - 1] = tile_rows<Element, kRows>;
  if constexpr (kRows < kTileRows) fill<Element, kRows + 1>(table);
}
template <class Element>
constexpr TileTable<Element> make_tile_table() {
  TileTable<Element> table{};
  fill<Element>(table);
  return table;
}
template <class Element>
constexpr TileTable<Element> kTileTable = make_tile_table<Element>();

template <class Element>
void tile_as(int64_t k, const float* a, const Element* b, int64_t ldb, float* c, int64_t ldc, int64_t rows,
             int64_t cols, float sign, bool accumulate, int64_t ahead) {
  if (rows <= 0) return;
  kTileTable<Element>.rows[rows - 1](k, a, b, ldb, c, ldc, cols, sign, accumulate, ahead);
}

void tile(int64_t k, const float* a, const float* b, int64_t ldb, float* c, int64_t ldc, int64_t rows,
          int64_t cols, float sign, bool accumulate) {
  tile_as(k, a, b, ldb, c, ldc, rows, cols, sign, accumulate, 0);
}

void tile_f16(int64_t k, const float* a, const uint16_t* b, int64_t ldb, float* c, int64_t ldc, int64_t rows,
              int64_t cols, bool accumulate, int64_t ahead) {
  tile_as(k, a, b, ldb, c, ldc, rows, cols, 1.0f, accumulate, ahead);
}

void tile_i8(int64_t k, const float* a, const int8_t* b, int64_t ldb, float* c, int64_t ldc, int64_t rows,
             int64_t cols, bool accumulate, int64_t ahead) {
  tile_as(k, a, b, ldb, c, ldc, rows, cols, 1.0f, accumulate, ahead);
}

}  // namespace
}  // namespace gptq::cpu
