// RoundedKernels, written once over Floats, Ints and Unit (ints_avx2.h, ints_avx512.h, ints_neon.h), which are included first,
// as are kTileRows, the rows that multiply() takes at once, and kMostDotRows (RoundedKernels::dot_rows). Only for the kernel
// files of instruction sets: see kernels.h.
//
//   dot                up to kMostDotRows rows: fields are taken out of their words as they are multiplied
//   unpack, multiply   for more: once for all rows, as bytes (RoundedStep)
#pragma once

#include "cpu/unrolled.h"

namespace gptq::cpu {
namespace {

constexpr int64_t kW = Floats::kWidth;
/// Words that are fetched ahead, also beyond the end.
constexpr int64_t kPrefetch = 1024 / 4;
/// Vectors that the columns of a panel take.
constexpr int kParts = static_cast<int>(kPanel / kW);

void round(const float* x, const Blocks& blocks, int bits, int8_t* q, float* scales, int32_t* sums) {
  const Order order = Unit::order(bits == 2 ? kQuadOrder2 : kQuadOrder4);
  for (int64_t b = 0; b < blocks.count; ++b) {
    const int64_t begin = block_begin(blocks, b) * kUnit, end = blocks.ends[b] * kUnit;
    Ints bits_of_most = Ints::set(0), total = Ints::set(0);
    for (int64_t i = begin; i < end; i += kUnit) bits_of_most = Unit::larger(bits_of_most, Unit::load(x + i));
    const int32_t largest = Unit::largest(bits_of_most);
    float most;
    __builtin_memcpy(&most, &largest, sizeof most);
    if (!(most >= kLeastRounded && most <= __FLT_MAX__)) {
      scales[b] = most < kLeastRounded ? 0.0f : __builtin_nanf("");
      sums[b] = 0;
      for (int64_t i = begin; i < end; ++i) q[i] = 0;
      continue;
    }
    scales[b] = most / 127.0f;
    const Floats factor = Floats::set(127.0f / most);
    for (int64_t i = begin; i < end; i += kUnit) Unit::round(Unit::load(x + i), factor, order, q + i, total);
    sums[b] = Unit::total(total);
  }
}

/// kPanels panels and kX rows at once: as many streams of weights, fields taken out of their words once.
template <int kBits, int kPanels, int kX>
[[gnu::flatten]] void dot_block(const QPanel& panel, const Blocks& blocks, const RoundedRows& rows) {
  constexpr int kWords = kUnit * kBits / 32, kColumns = kPanels * kParts;  // of a unit; vectors
  // sums of their own for both halves of a unit, where there are registers: a product waits for the one before it
  constexpr int kChains = kParts == 1 ? 2 : 1;
  const Ints mask = Ints::set(static_cast<int32_t>(UINT32_MAX / 255 * ((1u << kBits) - 1)));
  const int64_t stride = panel_words(panel.units, kBits);
  const uint32_t* words = panel.words;
  const uint32_t* const turn = words + stride - kPrefetch;  // from where on the next panels are fetched
  const int8_t* q = rows.q;
  alignas(64) float totals[kX][kColumns * kW] = {};  // in memory: the inner loop wants the registers
  for (int64_t b = 0; b < blocks.count; ++b) {
    Ints sums[kChains][kX][kColumns];
    unrolled<kX>([&](auto m) {
      const Ints start = Ints::set(-field_middle(kBits) * rows.sums[m.value * blocks.count + b]);
      unrolled<kColumns>([&](auto c) {
        sums[0][m.value][c.value] = start;
        if constexpr (kChains > 1) sums[1][m.value][c.value] = Ints::set(0);
      });
    });
    for (int64_t units = blocks.ends[b] - block_begin(blocks, b); units > 0;
         --units, words += kWords * kPanel, q += kUnit) {
      const int64_t ahead = kPrefetch + (words < turn ? 0 : (kPanels - 1) * stride);
      unrolled<2>([&](auto half) {  // eight inputs
        constexpr int kWord = half.value * kWords / 2, kField = half.value * 2 % (32 / 4 / kBits);
        unrolled<kColumns>([&](auto c) {
          const uint32_t* p = words + kWord * kPanel + c.value / kParts * stride + c.value % kParts * kW;
          if constexpr (c.value % kParts == 0 && kField == 0) __builtin_prefetch(p + ahead);
          const Ints word = Ints::load(p);
          const Ints even = word.fields<kField * kBits>(mask), odd = word.fields<(kField + 1) * kBits>(mask);
          unrolled<kX>([&](auto m) {
            const int8_t* x = q + m.value * rows.ldq + half.value * 8;
            Ints& sum = sums[half.value % kChains][m.value][c.value];
            sum = sum.plus(even, Ints::repeat(x), odd, Ints::repeat(x + 4));
          });
        });
      });
    }
    const int64_t g = blocks.groups[b];
    unrolled<kX * kColumns>([&](auto i) {
      constexpr int kM = i.value / kColumns, kC = i.value % kColumns;
      const int64_t at = (kC / kParts * panel.groups + g) * kPanel + kC % kParts * kW;
      Ints whole = sums[0][kM][kC];
      if constexpr (kChains > 1) whole = whole + sums[1][kM][kC];
      Floats sum = whole.floats();
      if (panel.zeros != nullptr) {
        const auto of_inputs = static_cast<float>(rows.sums[kM * blocks.count + b]);
        sum = sum.less(Floats::load(panel.zeros + at), Floats::set(of_inputs));
      }
      const Floats scale = Floats::load(panel.scales + at) * Floats::set(rows.scales[kM * blocks.count + b]);
      float* const total = totals[kM] + kC * kW;
      Floats::load(total).plus(sum, scale).store(total);
    });
  }
  unrolled<kX * kColumns>([&](auto i) {
    constexpr int kM = i.value / kColumns, kC = i.value % kColumns;
    Floats::load(totals[kM] + kC * kW).store(rows.y + kM * rows.ldy + kC * kW);
  });
}

template <int kBits, int kPanels, int kX>
void dot_panels(QPanel panel, const Blocks& blocks, int64_t panels, RoundedRows rows) {
  const auto advance = [&](int64_t count) {
    panel.words += count * panel_words(panel.units, kBits);
    panel.scales += count * panel.groups * kPanel;
    if (panel.zeros != nullptr) panel.zeros += count * panel.groups * kPanel;
    rows.y += count * kPanel;
  };
  for (; panels >= kPanels; panels -= kPanels, advance(kPanels))
    dot_block<kBits, kPanels, kX>(panel, blocks, rows);
  for (; panels > 0; --panels, advance(1)) dot_block<kBits, 1, kX>(panel, blocks, rows);
}

template <int kBits>
void dot_bits(const QPanel& panel, const Blocks& blocks, int64_t panels, RoundedRows rows) {
  const auto advance = [&](int64_t count) {
    rows.q += count * rows.ldq;
    rows.scales += count * blocks.count;
    rows.sums += count * blocks.count;
    rows.y += count * rows.ldy;
    rows.rows -= count;
  };
  constexpr bool kWide = kParts == 1;
  for (; rows.rows >= 4; advance(4)) dot_panels<kBits, kWide ? 2 : 1, 4>(panel, blocks, panels, rows);
  for (; rows.rows >= 2; advance(2)) dot_panels<kBits, kWide ? 4 : 2, 2>(panel, blocks, panels, rows);
  for (; rows.rows >= 1; advance(1)) dot_panels<kBits, kWide ? 4 : 2, 1>(panel, blocks, panels, rows);
}

void dot(const QPanel& first, const Blocks& blocks, int64_t panels, const RoundedRows& rows) {
  first.bits == 2 ? dot_bits<2>(first, blocks, panels, rows) : dot_bits<4>(first, blocks, panels, rows);
}

template <int kBits>
[[gnu::flatten]] void unpack_panel(const uint32_t* words, int64_t count, uint8_t* out) {
  constexpr int kQuads = 8 / kBits;  // of a word
  constexpr int64_t kBytes = 4 * kW;
  const Ints mask = Ints::set(static_cast<int32_t>(UINT32_MAX / 255 * ((1u << kBits) - 1)));
  for (; count > 0; --count, words += kPanel, out += kQuads * kTileCols * 4) {
    unrolled<kParts>([&](auto h) {
      const Ints word = Ints::load(words + h.value * kW);
      __builtin_prefetch(words + kPrefetch);
      unrolled<kQuads>([&](auto j) {
        word.fields<j.value * kBits>(mask).store(out + j.value * kTileCols * 4 + h.value * kBytes);
      });
    });
  }
}

void unpack(const QPanel& first, int64_t panels, int64_t begin, int64_t end, uint8_t* fields) {
  for (int64_t p = 0; p < panels; ++p) {
    const uint32_t* words =
        first.words + p * panel_words(first.units, first.bits) + panel_words(begin, first.bits);
    const int64_t count = panel_words(end - begin, first.bits) / kPanel;
    uint8_t* out = fields + p * kPanel * 4;
    first.bits == 2 ? unpack_panel<2>(words, count, out) : unpack_panel<4>(words, count, out);
  }
}

/// Vectors of columns that a pass over some rows has.
constexpr int kPassVecs = 2;
constexpr int64_t kPassCols = kPassVecs * kW;

/// kRows rows, columns [col, col + kPassCols).
template <int kRows>
[[gnu::flatten]] void multiply_rows(const RoundedStep& step, const RoundedRows& rows, int64_t col,
                                    int64_t cols, bool accumulate) {
  alignas(64) float sums[kRows][kPassCols] = {};
  const bool whole = cols >= kPassCols;
  for (int64_t r = 0; accumulate && r < kRows; ++r) {
    const float* y = rows.y + r * rows.ldy;
    if (whole)
      unrolled<kPassVecs>([&](auto v) { Floats::load(y + v.value * kW).store(sums[r] + v.value * kW); });
    for (int64_t c = 0; !whole && c < cols; ++c) sums[r][c] = y[c];
  }
  const int64_t middle = field_middle(step.first.bits), count = step.blocks.count;
  const uint8_t* fields = step.fields + 4 * col;
  for (int64_t b = step.begin; b < step.end; ++b) {
    Ints dots[kRows][kPassVecs];
    unrolled<kRows>([&](auto r) {
      const Ints start = Ints::set(static_cast<int32_t>(-middle * rows.sums[r.value * count + b]));
      unrolled<kPassVecs>([&](auto v) { dots[r.value][v.value] = start; });
    });
    const int8_t* q = rows.q + block_begin(step.blocks, b) * kUnit;
    for (int64_t i = (step.blocks.ends[b] - block_begin(step.blocks, b)) * kUnit / 8; i > 0;
         --i, q += 8, fields += 2 * 4 * kTileCols) {
      Ints even[kPassVecs], odd[kPassVecs];
      unrolled<kPassVecs>([&](auto v) {
        even[v.value] = Ints::load(fields + v.value * 4 * kW);
        odd[v.value] = Ints::load(fields + 4 * kTileCols + v.value * 4 * kW);
      });
      unrolled<kRows>([&](auto r) {
        const Ints x = Ints::repeat(q + r.value * rows.ldq), y = Ints::repeat(q + r.value * rows.ldq + 4);
        unrolled<kPassVecs>([&](auto v) {
          dots[r.value][v.value] = dots[r.value][v.value].plus(even[v.value], x, odd[v.value], y);
        });
      });
    }
    const int64_t g = step.blocks.groups[b];
    unrolled<kPassVecs>([&](auto v) {
      // a second panel that is not there reads what the first has
      const int64_t at_col = col + v.value * kW, panel = step.panels > 1 ? at_col / kPanel : 0;
      const int64_t at = (panel * step.first.groups + g) * kPanel + at_col % kPanel;
      const Floats scale = Floats::load(step.first.scales + at);
      unrolled<kRows>([&](auto r) {
        Floats dot = dots[r.value][v.value].floats();
        if (step.first.zeros != nullptr) {
          const auto of_inputs = static_cast<float>(rows.sums[r.value * count + b]);
          dot = dot.less(Floats::load(step.first.zeros + at), Floats::set(of_inputs));
        }
        float* const sum = sums[r.value] + v.value * kW;
        Floats::load(sum).plus(dot, scale * Floats::set(rows.scales[r.value * count + b])).store(sum);
      });
    });
  }
  for (int64_t r = 0; r < kRows; ++r) {
    float* y = rows.y + r * rows.ldy;
    if (whole)
      unrolled<kPassVecs>([&](auto v) { Floats::load(sums[r] + v.value * kW).store(y + v.value * kW); });
    for (int64_t c = 0; !whole && c < cols; ++c) y[c] = sums[r][c];
  }
}

using MultiplyRows = void (*)(const RoundedStep&, const RoundedRows&, int64_t, int64_t, bool);
struct MultiplyTable {
  MultiplyRows rows[kTileRows];
};
template <int kRows = 1>
constexpr void fill(MultiplyTable& table) {
  table.rows[kRows - 1] = multiply_rows<kRows>;
  if constexpr (kRows < kTileRows) fill<kRows + 1>(table);
}
constexpr MultiplyTable make_multiply_table() {
  MultiplyTable table{};
  fill(table);
  return table;
}
constexpr MultiplyTable kMultiplyTable = make_multiply_table();

void multiply(const RoundedStep& step, const RoundedRows& rows, int64_t cols, bool accumulate) {
  RoundedRows part = rows;
  const int64_t tiles = (rows.rows + kTileRows - 1) / kTileRows;
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t height = rows.rows * (t + 1) / tiles - rows.rows * t / tiles;  // as even as they go
    for (int64_t col = 0; col < cols; col += kPassCols) {
      kMultiplyTable.rows[height - 1](step, part, col, cols - col, accumulate);
      part.y += kPassCols;
    }
    part.y += height * rows.ldy - (cols + kPassCols - 1) / kPassCols * kPassCols;
    part.q += height * rows.ldq;
    part.scales += height * step.blocks.count;
    part.sums += height * step.blocks.count;
  }
}

constexpr RoundedKernels kTable{
    .round = round, .dot = dot, .dot_rows = kMostDotRows, .unpack = unpack, .multiply = multiply};

}  // namespace
}  // namespace gptq::cpu
