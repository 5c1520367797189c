// RoundedKernels, written once over Floats, Ints and Unit (ints_avx2.h, ints_avx512.h, ints_neon.h), which are included first,
// as are kTileRows, the rows that multiply() takes at once, and kMostDotRows (RoundedKernels::dot_rows). Only for the kernel
// files of instruction sets: see kernels.h.
//
//   dot                up to kMostDotRows rows: fields are taken out of their words as they are multiplied
//   unpack, multiply   for more: once for all rows, as bytes (RoundedStep)
#pragma once

#include "cpu/field_bytes.h"

namespace gptq::cpu {
namespace {

void round(const float* x, const Blocks& blocks, int bits, int8_t* q, float* scales, int32_t* sums) {
  const Order order = Unit::order(quad_order(bits));
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

/// kPanels panels and kX rows at once, fields taken out of their words once.
template <int kBits, int kPanels, int kX>
[[gnu::flatten]] void dot_block(const QPanel& panel, const Blocks& blocks, const RoundedRows& rows) {
  using R = ByteRun<kBits>;
  constexpr int kColumns = kPanels * kParts;  // vectors
  // sums of their own for every other pair, where there are registers: a product waits for the one before it
  constexpr int kChains = kParts == 1 ? 2 : 1;
  const int64_t stride = panel_words(panel.units, kBits);
  const uint32_t* words = panel.words;
  const int8_t* q = rows.q;
  alignas(64) float totals[kX][kColumns * kW] = {};  // in memory: the inner loop wants the registers
  for (int64_t b = 0; b < blocks.count; ++b) {
    Ints sums[kChains][kX][kColumns];
    unrolled<kX>([&](auto m) {
      const Ints start = Ints::set(-byte_middle(kBits) * rows.sums[m.value * blocks.count + b]);
      unrolled<kColumns>([&](auto c) {
        sums[0][m.value][c.value] = start;
        if constexpr (kChains > 1) sums[1][m.value][c.value] = Ints::set(0);
      });
    });
    for (int64_t units = blocks.ends[b] - block_begin(blocks, b); units > 0;
         units -= R::kUnits, words += R::kWords * kPanel, q += R::kUnits * kUnit) {
      unrolled<R::kPairs>([&](auto pair) {
        unrolled<kColumns>([&](auto c) {
          const uint32_t* p = words + c.value / kParts * stride + c.value % kParts * kW;
          if constexpr (c.value % kParts == 0) fetch_pair<kBits, pair.value>(p + kPrefetch);
          Ints even, odd;
          read_pair<kBits, pair.value>(p, even, odd);
          unrolled<kX>([&](auto m) {
            const int8_t* x = q + m.value * rows.ldq + pair.value * 8;
            Ints& sum = sums[pair.value % kChains][m.value][c.value];
            sum = sum.template plus<kBits == 8>(even, Ints::repeat(x), odd, Ints::repeat(x + 4));
          });
        });
      });
    }
    const int64_t g = blocks.groups[b];
    unrolled<kColumns>([&](auto c) {
      const int64_t at = (c.value / kParts * panel.groups + g) * kPanel + c.value % kParts * kW;
      const Floats scale = load<Floats>(panel.scales, at);
      const bool has_zeros = are_there(panel.zeros);
      const Floats zero = has_zeros ? load<Floats>(panel.zeros, at) : Floats::set(0.0f);
      unrolled<kX>([&](auto m) {
        const int64_t input = m.value * blocks.count + b;
        Ints whole = sums[0][m.value][c.value];
        if constexpr (kChains > 1) whole = whole + sums[1][m.value][c.value];
        Floats sum = whole.floats();
        if (has_zeros) sum = sum.less(zero, Floats::set(static_cast<float>(rows.sums[input])));
        float* const total = totals[m.value] + c.value * kW;
        Floats::load(total).plus(sum, scale * Floats::set(rows.scales[input])).store(total);
      });
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
    panel = panel_at(panel, count);
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
  // few rows wait for memory, which is read fastest in its order; for more the arithmetic counts
  if (rows.rows >= 4 && rows.rows < 8) {
    dot_panels<kBits, 1, 4>(panel, blocks, panels, rows);
    advance(4);
  }
  for (; rows.rows >= 4; advance(4)) dot_panels<kBits, kParts == 1 ? 2 : 1, 4>(panel, blocks, panels, rows);
  for (; rows.rows >= 2; advance(2)) dot_panels<kBits, 1, 2>(panel, blocks, panels, rows);
  for (; rows.rows >= 1; advance(1)) dot_panels<kBits, 1, 1>(panel, blocks, panels, rows);
}

void dot(const QPanel& first, const Blocks& blocks, int64_t panels, const RoundedRows& rows) {
  switch (first.bits) {
    case 2: return dot_bits<2>(first, blocks, panels, rows);
    case 3: return dot_bits<3>(first, blocks, panels, rows);
    case 4: return dot_bits<4>(first, blocks, panels, rows);
    default: return dot_bits<8>(first, blocks, panels, rows);
  }
}

template <int kBits>
[[gnu::flatten]] void unpack_panel(const uint32_t* words, int64_t units, uint8_t* out) {
  using R = ByteRun<kBits>;
  constexpr int64_t kQuad = 4 * kTileCols;  // bytes of four inputs of all columns
  for (; units > 0; units -= R::kUnits, words += R::kWords * kPanel, out += 2 * R::kPairs * kQuad) {
    unrolled<R::kPairs>([&](auto pair) {
      fetch_pair<kBits, pair.value>(words + kPrefetch);
      unrolled<kParts>([&](auto h) {
        Ints even, odd;
        read_pair<kBits, pair.value>(words + h.value * kW, even, odd);
        even.store(out + 2 * pair.value * kQuad + h.value * 4 * kW);
        odd.store(out + (2 * pair.value + 1) * kQuad + h.value * 4 * kW);
      });
    });
  }
}

void unpack(const QPanel& first, int64_t panels, int64_t begin, int64_t end, uint8_t* fields) {
  for (int64_t p = 0; p < panels; ++p) {
    const uint32_t* words = panel_at(first, p).words + panel_words(begin, first.bits);
    uint8_t* out = fields + p * kPanel * 4;
    switch (first.bits) {
      case 2: unpack_panel<2>(words, end - begin, out); break;
      case 3: unpack_panel<3>(words, end - begin, out); break;
      case 4: unpack_panel<4>(words, end - begin, out); break;
      default: unpack_panel<8>(words, end - begin, out); break;
    }
  }
}

/// Vectors of columns that a pass over some rows has.
constexpr int kPassVecs = 2;
constexpr int64_t kPassCols = kPassVecs * kW;

/// kRows rows, columns [col, col + kPassCols). kSigned: the bytes of fields have a sign.
template <int kRows, bool kSigned>
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
  const int64_t middle = byte_middle(step.first.bits), count = step.blocks.count;
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
          dots[r.value][v.value] =
              dots[r.value][v.value].template plus<kSigned>(even[v.value], x, odd[v.value], y);
        });
      });
    }
    const int64_t g = step.blocks.groups[b];
    unrolled<kPassVecs>([&](auto v) {
      // a second panel that is not there reads what the first has
      const int64_t at_col = col + v.value * kW, panel = step.panels > 1 ? at_col / kPanel : 0;
      const int64_t at = (panel * step.first.groups + g) * kPanel + at_col % kPanel;
      const Floats scale = load<Floats>(step.first.scales, at);
      const bool has_zeros = are_there(step.first.zeros);
      const Floats zero = has_zeros ? load<Floats>(step.first.zeros, at) : Floats::set(0.0f);
      unrolled<kRows>([&](auto r) {
        Floats dot = dots[r.value][v.value].floats();
        if (has_zeros) dot = dot.less(zero, Floats::set(static_cast<float>(rows.sums[r.value * count + b])));
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
  MultiplyRows fields[kTileRows], bytes[kTileRows];  // of up to 4 bits, and of 8
};
template <int kRows = 1>
constexpr void fill(MultiplyTable& table) {
  table.fields[kRows - 1] = multiply_rows<kRows, false>;
  table.bytes[kRows - 1] = multiply_rows<kRows, Ints::kSignedBytes>;
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
  const MultiplyRows* const of_rows = step.first.bits == 8 ? kMultiplyTable.bytes : kMultiplyTable.fields;
  const int64_t tiles = (rows.rows + kTileRows - 1) / kTileRows;
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t height = rows.rows * (t + 1) / tiles - rows.rows * t / tiles;  // as even as they go
    for (int64_t col = 0; col < cols; col += kPassCols) {
      of_rows[height - 1](step, part, col, cols - col, accumulate);
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
