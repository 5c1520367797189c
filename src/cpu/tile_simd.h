// The tiles of Kernels, written once over Vec, as kernels_simd.h is, which comes first.
#pragma once

#include "cpu/unrolled.h"

namespace gptq::cpu {
namespace {

/// The left side of a tile, packed [k][kTileRows].
struct PackedLeft {
  const float* a;

  template <int kRow>
  float get() const {
    return a[kRow];
  }
  void next() { a += kTileRows; }
};

/// The left side as kRows rows. An address takes one or two strides by itself, so that every third row has a pointer.
template <int kRows>
struct LeftRows {
  static constexpr int kPointers = (kRows + 2) / 3;
  const float* rows[kPointers];
  int64_t stride;

  LeftRows(const float* a, int64_t lda) : stride(lda) {
    unrolled<kPointers>([&](auto i) { rows[i.value] = a + 3 * i.value * lda; });
  }
  template <int kRow>
  float get() const {
    return rows[kRow / 3][kRow % 3 * stride];
  }
  void next() {
    unrolled<kPointers>([&](auto i) { ++rows[i.value]; });
  }
};

/// The right side [k][columns], and what becomes of the product.
template <class Element>
struct TileRight {
  int64_t k;
  const Element* b;
  int64_t ldb;
  float* c;
  int64_t ldc;
  int64_t cols;  // that are written
  float sign;
  bool accumulate;
  int64_t ahead;  // bytes from b to what is to be fetched; 0: nothing
};

/// kRows x kVecs vectors of C. Of what lies ahead a line is fetched for each of b that is read: all at once they would be
/// waited for.
template <int kRows, int kVecs, class Left, class Element>
[[gnu::flatten]] void tile_block(Left left, const TileRight<Element>& right) {
  constexpr int64_t kLine = 64;  // bytes
  constexpr int64_t kBytes = kVecs * kW * static_cast<int64_t>(sizeof(Element));
  constexpr auto kLines = static_cast<int>((kBytes + kLine - 1) / kLine);
  const Element* b = right.b;
  Vec sums[kRows][kVecs];
  unrolled<kRows * kVecs>([&](auto i) { sums[i.value / kVecs][i.value % kVecs] = Vec::zero(); });
  for (int64_t i = right.k; i > 0; --i, left.next(), b += right.ldb) {
    if constexpr (!__is_same(Left, PackedLeft)) {
      const char* const later = reinterpret_cast<const char*>(b) + right.ahead;
      unrolled<kLines>([&](auto line) { __builtin_prefetch(later + line.value * kLine); });
    }
    Vec values[kVecs];
    unrolled<kVecs>([&](auto v) { values[v.value] = Vec::load(b + v.value * kW); });
    unrolled<kRows>([&](auto r) {
      const Vec x = Vec::set(left.template get<r.value>());
      unrolled<kVecs>(
          [&](auto v) { sums[r.value][v.value] = fma(x, values[v.value], sums[r.value][v.value]); });
    });
  }
  const Vec by = Vec::set(right.sign);
  unrolled<kVecs>([&](auto v) {
    const int64_t n = least(right.cols - v.value * kW, kW);
    if (n <= 0) return;
    unrolled<kRows>([&](auto r) {
      float* const out = right.c + r.value * right.ldc + v.value * kW;
      const Vec before = right.accumulate ? Vec::load(out, n) : Vec::zero();
      fma(sums[r.value][v.value], by, before).store(out, n);
    });
  });
}

/// Few rows take more columns at once: as many chains of sums as hide the latency of their adds.
template <int kRows, class Left, class Element>
void tile_rows(Left left, TileRight<Element> right) {
  constexpr int kVecs = kRows <= kTileRows / 3 ? 4 : 2;
  while (right.cols > 0) {
    const bool many = right.cols > 2 * kW;
    many ? tile_block<kRows, kVecs>(left, right) : tile_block<kRows, 2>(left, right);
    const int64_t done = (many ? kVecs : 2) * kW;
    right.b += done;
    right.c += done;
    right.cols -= done;
  }
}

template <int kRows>
void packed_tile(const float* a, const TileRight<float>& right) {
  tile_rows<kRows>(PackedLeft{a}, right);
}
template <int kRows, class Element>
void page_tile(const PageProduct& p) {
  tile_rows<kRows>(LeftRows<kRows>(p.a, p.lda),
                   TileRight<Element>{p.k, static_cast<const Element*>(p.b), p.ldb, p.c, p.ldc, p.cols, 1.0f,
                                      p.accumulate, p.ahead});
}

/// Of each number of rows.
struct TileTable {
  void (*packed[kTileRows])(const float*, const TileRight<float>&);
  void (*f32[kTileRows])(const PageProduct&);
  void (*f16[kTileRows])(const PageProduct&);
  void (*i8[kTileRows])(const PageProduct&);
};
template <int kRows = 1>
constexpr void fill(TileTable& table) {
  table.packed[kRows - 1] = packed_tile<kRows>;
  table.f32[kRows - 1] = page_tile<kRows, float>;
  table.f16[kRows - 1] = page_tile<kRows, uint16_t>;
  table.i8[kRows - 1] = page_tile<kRows, int8_t>;
  if constexpr (kRows < kTileRows) fill<kRows + 1>(table);
}
constexpr TileTable make_tile_table() {
  TileTable table{};
  fill(table);
  return table;
}
constexpr TileTable kTileTable = make_tile_table();

void tile(int64_t k, const float* a, const float* b, int64_t ldb, float* c, int64_t ldc, int64_t rows,
          int64_t cols, float sign, bool accumulate) {
  if (rows > 0) kTileTable.packed[rows - 1](a, {k, b, ldb, c, ldc, cols, sign, accumulate, 0});
}

using PageTiles = void (*const (&)[kTileRows])(const PageProduct&);
void page_product(PageTiles tiles, PageProduct p) {
  for (int64_t left = p.rows; left > 0; left -= p.rows, p.a += p.rows * p.lda, p.c += p.rows * p.ldc) {
    p.rows = least(left, kTileRows);
    tiles[p.rows - 1](p);
  }
}
void by_f32(const PageProduct& p) { page_product(kTileTable.f32, p); }
void by_f16(const PageProduct& p) { page_product(kTileTable.f16, p); }
void by_i8(const PageProduct& p) { page_product(kTileTable.i8, p); }

}  // namespace
}  // namespace gptq::cpu
