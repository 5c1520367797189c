// Vector kernels of packed quantized weights: as kernels_simd.h, which is included first.
#pragma once

#include "cpu/kernels_simd.h"

namespace gptq::cpu {
namespace {

/// Vectors that the columns of a panel take.
constexpr int kParts = static_cast<int>(kPanel / kW);

template <int kBits>
void unpack_bits(const QPanel& panel, int64_t begin, int64_t count, float* out, int64_t ldo) {
  constexpr int kPerWord = 32 / kBits;
  const Fields<kBits> fields;
  const uint32_t* words = panel.words + begin / kPerWord * kPanel;
  int64_t unit = begin / kUnit, group = 0;
  const int64_t last = (begin + count) / kUnit;
  while (unit < last) {
    while (panel.group_ends[group] <= unit) ++group;
    const int64_t group_end = least(last, panel.group_ends[group]);
    Vec scale[kParts], zero[kParts];
    unrolled<kParts>([&](auto h) {
      const int64_t at = group * kPanel + h.value * kW;
      scale[h.value] = Vec::load(panel.scales + at);
      zero[h.value] = panel.zeros != nullptr ? Vec::load(panel.zeros + at) : Vec::zero();
    });
    for (int64_t w = (group_end - unit) * (kUnit / kPerWord); w > 0;
         --w, words += kPanel, out += kPerWord * ldo) {
      unrolled<kParts>([&](auto h) {
        const Words word = Words::load(words + h.value * kW);
        unrolled<kPerWord>([&](auto j) {
          const Vec value = fields.template get<j.value>(word) - zero[h.value];
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
    case 4: return unpack_bits<4>(panel, begin, count, out, ldo);
    default: return unpack_bits<8>(panel, begin, count, out, ldo);
  }
}

/// kPanels panels at once: as many streams of weights, and chains of sums to hide the latency of their adds.
template <int kBits, int kPanels>
void qdot_panels(const QPanel& panel, const float* x, const float* group_sums, float* y) {
  constexpr int kPerWord = 32 / kBits;
  constexpr int64_t kPrefetch = 1024 / 4;  // words ahead
  const Fields<kBits> fields;
  const int64_t stride = panel_words(panel.units, panel.bits);
  const uint32_t* words = panel.words;
  Vec total[kPanels][kParts];
  unrolled<kPanels * kParts>([&](auto i) { total[i.value / kParts][i.value % kParts] = Vec::zero(); });
  int64_t unit = 0;
  for (int64_t g = 0; g < panel.groups; ++g) {
    Vec sums[kPanels][kParts];
    unrolled<kPanels * kParts>([&](auto i) { sums[i.value / kParts][i.value % kParts] = Vec::zero(); });
    for (int64_t w = (panel.group_ends[g] - unit) * (kUnit / kPerWord); w > 0;
         --w, words += kPanel, x += kPerWord) {
      unrolled<kPanels * kParts>([&](auto i) {
        constexpr int kP = i.value / kParts, kH = i.value % kParts;
        const uint32_t* p = words + kP * stride + kH * kW;
        if constexpr (kH == 0) _mm_prefetch(reinterpret_cast<const char*>(p + kPrefetch), _MM_HINT_T0);
        const Words word = Words::load(p);
        unrolled<kPerWord>([&](auto j) {
          sums[kP][kH] = fma(fields.template get<j.value>(word), Vec::set(x[j.value]), sums[kP][kH]);
        });
      });
    }
    unit = panel.group_ends[g];
    unrolled<kPanels * kParts>([&](auto i) {
      constexpr int kP = i.value / kParts, kH = i.value % kParts;
      const int64_t at = (kP * panel.groups + g) * kPanel + kH * kW;
      Vec sum = sums[kP][kH];
      if (panel.zeros != nullptr) sum = sum - Vec::load(panel.zeros + at) * Vec::set(group_sums[g]);
      total[kP][kH] = fma(sum, Vec::load(panel.scales + at), total[kP][kH]);
    });
  }
  unrolled<kPanels * kParts>(
      [&](auto i) { total[i.value / kParts][i.value % kParts].store(y + i.value * kW); });
}

template <int kBits>
void qdot_bits(QPanel panel, int64_t panels, const float* x, const float* group_sums, float* y) {
  const auto advance = [&](int64_t count) {
    panel.words += count * panel_words(panel.units, panel.bits);
    panel.scales += count * panel.groups * kPanel;
    if (panel.zeros != nullptr) panel.zeros += count * panel.groups * kPanel;
    y += count * kPanel;
    panels -= count;
  };
  for (; panels >= 4; advance(4)) qdot_panels<kBits, 4>(panel, x, group_sums, y);
  for (; panels > 0; advance(1)) qdot_panels<kBits, 1>(panel, x, group_sums, y);
}

void qdot(const QPanel& first, int64_t panels, const float* x, const float* group_sums, float* y) {
  switch (first.bits) {
    case 2: return qdot_bits<2>(first, panels, x, group_sums, y);
    case 4: return qdot_bits<4>(first, panels, x, group_sums, y);
    default: return qdot_bits<8>(first, panels, x, group_sums, y);
  }
}

constexpr Kernels make_kernels(const char* name) {
  return {.name = name,
          .tile_rows = kTileRows,
          .tile = tile,
          .pack = pack,
          .unpack = unpack,
          .qdot = qdot,
          .dot = dot,
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
          .axpy = axpy};
}

}  // namespace
}  // namespace gptq::cpu
