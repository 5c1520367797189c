// Vector kernels of packed quantized weights: as kernels_simd.h, which is included first.
#pragma once

#include "cpu/kernels_simd.h"
#include "cpu/tile_simd.h"

#include "cpu/gemm_plain.h"

namespace gptq::cpu {
namespace {

/// Vectors that the columns of a panel take.
constexpr int kParts = static_cast<int>(kPanel / kW);
constexpr bool kWide = kParts == 1;

/// The words of a run (QPanel) as they lie; of 3 bits those of the last two inputs of a byte behind them, put together.
template <int kBits>
struct WordRun {
  static constexpr int kWords = run_words(kBits), kInputs = 32 * kWords / kBits;
  Words words[kBits == 3 ? 4 : 1];

  static WordRun load(const uint32_t* p) {
    if constexpr (kBits == 3) {
      const Words a = Words::load(p), b = Words::load(p + kPanel), c = Words::load(p + 2 * kPanel);
      return {{a, b, c,
               a.template bits<6>(0x03030303u) | b.template bits<4>(0x0C0C0C0Cu) |
                   c.template bits<2>(0x30303030u)}};
    } else {
      return {{Words::load(p)}};
    }
  }
  template <int kInput>
  Vec get(const Fields<kBits>& fields) const {
    constexpr bool kThree = kBits == 3;
    constexpr int kBit = kThree ? kInput % 4 * 8 + kInput / 4 % 2 * 3 : kBits * kInput;
    return fields.template get<kBit>(words[kThree ? kInput / 8 : 0]);
  }
};

template <int kBits>
[[gnu::flatten]] void unpack_bits(const QPanel& panel, int64_t begin, int64_t count, float* out,
                                  int64_t ldo) {
  using R = WordRun<kBits>;
  const Fields<kBits> fields;
  const uint32_t* words = panel.words + panel_words(begin / kUnit, kBits);
  int64_t unit = begin / kUnit, group = 0;
  const int64_t last = (begin + count) / kUnit;
  while (unit < last) {
    while (panel.group_ends[group] <= unit) ++group;
    const int64_t group_end = least(last, panel.group_ends[group]);
    Vec scale[kParts], zero[kParts];
    unrolled<kParts>([&](auto h) {
      const int64_t at = group * kPanel + h.value * kW;
      scale[h.value] = load<Vec>(panel.scales, at);
      zero[h.value] = are_there(panel.zeros) ? load<Vec>(panel.zeros, at) : Vec::zero();
    });
    for (int64_t inputs = (group_end - unit) * kUnit; inputs > 0;
         inputs -= R::kInputs, words += R::kWords * kPanel, out += R::kInputs * ldo) {
      unrolled<kParts>([&](auto h) {
        const R run = R::load(words + h.value * kW);
        unrolled<R::kInputs>([&](auto j) {
          const Vec value = run.template get<j.value>(fields) - zero[h.value];
          (value * scale[h.value]).store(out + j.value * ldo + h.value * kW);
        });
      });
    }
    unit = group_end;
  }
}

void unpack(const QPanel& panel, int64_t begin, int64_t count, float* out, int64_t ldo) {
  switch (panel.bits) {
    case 2: return unpack_bits<2>(panel, begin, count, out, ldo);
    case 3: return unpack_bits<3>(panel, begin, count, out, ldo);
    case 4: return unpack_bits<4>(panel, begin, count, out, ldo);
    default: return unpack_bits<8>(panel, begin, count, out, ldo);
  }
}

/// kPanels panels and kX rows at once: as many streams of weights, each field decoded once, and as many chains of sums
/// as hide the latency of their adds. The next panels are fetched by the way, in the order of memory.
template <int kBits, int kPanels, int kX>
[[gnu::flatten]] void qdot_block(const QPanel& panel, const QRows& rows) {
  using R = WordRun<kBits>;
  constexpr int kColumns = kPanels * kParts;  // vectors
  const Fields<kBits> fields;
  const int64_t stride = panel_words(panel.units, panel.bits);
  const uint32_t *words = panel.words, *next = words + kPanels * stride;
  const float* x = rows.x;
  Vec total[kX][kColumns];
  unrolled<kX * kColumns>([&](auto i) { total[i.value / kColumns][i.value % kColumns] = Vec::zero(); });
  int64_t unit = 0;
  for (int64_t g = 0; g < panel.groups; ++g) {
    Vec sums[kX][kColumns];
    unrolled<kX * kColumns>([&](auto i) { sums[i.value / kColumns][i.value % kColumns] = Vec::zero(); });
    for (int64_t inputs = (panel.group_ends[g] - unit) * kUnit; inputs > 0;
         inputs -= R::kInputs, words += R::kWords * kPanel, x += R::kInputs) {
      unrolled<kPanels * R::kWords>([&](auto line) { __builtin_prefetch(next + line.value * kPanel); });
      next += kPanels * R::kWords * kPanel;
      unrolled<kColumns>([&](auto c) {
        const uint32_t* p = words + c.value / kParts * stride + c.value % kParts * kW;
        const R run = R::load(p);
        unrolled<R::kInputs>([&](auto j) {
          const Vec weights = run.template get<j.value>(fields);
          unrolled<kX>([&](auto m) {
            Vec& sum = sums[m.value][c.value];
            sum = fma(weights, Vec::set(x[m.value * rows.ldx + j.value]), sum);
          });
        });
      });
    }
    unit = panel.group_ends[g];
    unrolled<kX * kColumns>([&](auto i) {
      constexpr int kM = i.value / kColumns, kC = i.value % kColumns;
      const int64_t at = (kC / kParts * panel.groups + g) * kPanel + kC % kParts * kW;
      Vec sum = sums[kM][kC];
      if (are_there(panel.zeros)) {
        sum = sum - load<Vec>(panel.zeros, at) * Vec::set(rows.group_sums[kM * panel.groups + g]);
      }
      total[kM][kC] = fma(sum, load<Vec>(panel.scales, at), total[kM][kC]);
    });
  }
  unrolled<kX * kColumns>([&](auto i) {
    total[i.value / kColumns][i.value % kColumns].store(rows.y + i.value / kColumns * rows.ldy +
                                                        i.value % kColumns * kW);
  });
}

template <int kBits, int kPanels, int kX>
void qdot_panels(QPanel panel, int64_t panels, QRows rows) {
  const auto advance = [&](int64_t count) {
    panel = panel_at(panel, count);
    rows.y += count * kPanel;
  };
  for (; panels >= kPanels; panels -= kPanels, advance(kPanels)) qdot_block<kBits, kPanels, kX>(panel, rows);
  for (; panels > 0; --panels, advance(1)) qdot_block<kBits, 1, kX>(panel, rows);
}

template <int kBits>
void qdot_bits(const QPanel& panel, int64_t panels, QRows rows) {
  const auto advance = [&](int64_t count) {
    rows.x += count * rows.ldx;
    rows.group_sums += count * panel.groups;
    rows.y += count * rows.ldy;
    rows.rows -= count;
  };
  for (; rows.rows >= 4; advance(4)) qdot_panels<kBits, kWide ? 2 : 1, 4>(panel, panels, rows);
  for (; rows.rows >= 2; advance(2)) qdot_panels<kBits, kWide ? 4 : 2, 2>(panel, panels, rows);
  for (; rows.rows >= 1; advance(1)) qdot_panels<kBits, 4, 1>(panel, panels, rows);
}

void qdot(const QPanel& first, int64_t panels, const QRows& rows) {
  switch (first.bits) {
    case 2: return qdot_bits<2>(first, panels, rows);
    case 3: return qdot_bits<3>(first, panels, rows);
    case 4: return qdot_bits<4>(first, panels, rows);
    default: return qdot_bits<8>(first, panels, rows);
  }
}

constexpr Kernels make_kernels(const char* name, const RoundedKernels* rounded) {
  return {.name = name,
          .tile_rows = kTileRows,
          .tile = tile,
          .by_f32 = by_f32,
          .by_f16 = by_f16,
          .by_i8 = by_i8,
          .gemm = kPlainGemm,
          .fast = {kPlainGemm, kPlainGemm, kPlainGemm},
          .pack = pack,
          .unpack = unpack,
          .qdot = qdot,
          .rounded = rounded,
          .dot = dot,
          .halve = halve,
          .round_row = round_row,
          .widen = widen,
          .rms_norm = rms_norm,
          .layer_norm = layer_norm,
          .sum = sum,
          .max = max,
          .exp_shift = exp_shift,
          .silu = activate<Silu>,
          .gelu = activate<Gelu>,
          .gelu_tanh = activate<GeluTanh>,
          .relu = activate<Relu>,
          .add = add,
          .scale = scale,
          .scale_columns = scale_columns,
          .axpy = axpy,
          .subtract_outer = subtract_outer,
          .delta_step = delta_step};
}

}  // namespace
}  // namespace gptq::cpu
