// Packed weights as kernels read them: single ones, and a lane's part of a slab as fragments for the tensor cores.
//
// What goes into a product are the integers code - zero, which fp16 and bf16 hold exactly; the scale of a piece multiplies
// its sums in fp32. So quantized weights lose nothing on the way, and a scale costs four multiplications for each eight
// rows of activations instead of one for each pair of weights.
#pragma once

#include "cuda/device.cuh"
#include "cuda/kernels.h"

namespace gptq::cuda {

/// Scale and zero point of a row and a piece.
GPTQ_DEVICE float scale_at(const Weights& w, int64_t parameter) {
  return w.scales_f16 != nullptr ? to_float(Half{w.scales_f16[parameter]}) : w.scales_f32[parameter];
}
GPTQ_DEVICE uint32_t zero_at(const Weights& w, int64_t parameter) {
  return w.zeros != nullptr ? w.zeros[parameter] : 1u << (w.shape.bits - 1);
}

/// Steps in sequence that have the same scale, as far as they are in one slab.
struct Units {
  int shift;       // log2 of their number
  uint32_t slabs;  // of a piece, at least 1

  GPTQ_DEVICE explicit Units(const Packing& s)
      : shift(s.piece >= kSlabInputs       ? 2
              : s.piece == 2 * kStepInputs ? 1
                                           : 0),
        slabs(s.piece >= kSlabInputs ? static_cast<uint32_t>(s.piece / kSlabInputs) : 1) {}

  GPTQ_DEVICE bool begins(int step) const { return (step & ((1 << shift) - 1)) == 0; }
  GPTQ_DEVICE bool ends(int step) const { return begins(step + 1); }
  GPTQ_DEVICE int of_step(int step) const { return step >> shift; }
  /// Of a step of a slab.
  GPTQ_DEVICE int64_t piece_of(int64_t slab, int step) const {
    if (shift == 2) return static_cast<uint32_t>(slab) / slabs;
    return slab * (kSlabSteps >> shift) + of_step(step);
  }
};

/// Of a row and a packed input.
template <class T>
GPTQ_DEVICE T weight_at(const Weights& w, int64_t row, int64_t input) {
  const Packing& s = w.shape;
  const uint32_t* const slab = w.words + s.first_word(row / kStripRows, input / kSlabInputs);
  const uint32_t field =
      get_field(slab, s.bits, static_cast<int>(row % kStripRows), static_cast<int>(input % kSlabInputs));
  if (s.bits == 16) return T{static_cast<uint16_t>(field)};
  const int64_t parameter = s.parameter(row, input / s.piece);
  return from_float<T>(scale_at(w, parameter) *
                       static_cast<float>(static_cast<int>(field) - static_cast<int>(zero_at(w, parameter))));
}

/// How a lane's words are read.
struct FromGlobal {
  GPTQ_DEVICE static Words4 four(const uint32_t* p) { return load16_once(p); }
  GPTQ_DEVICE static Words2 two(const uint32_t* p) { return load8_once(p); }
  GPTQ_DEVICE static uint32_t one(const uint32_t* p) { return load4_once(p); }
};
struct FromShared {
  GPTQ_DEVICE static Words4 four(const uint32_t* p) { return load_shared16(p); }
  GPTQ_DEVICE static Words2 two(const uint32_t* p) { return load_shared8(p); }
  GPTQ_DEVICE static uint32_t one(const uint32_t* p) { return *p; }
};

/// A lane's words of `steps` steps of a slab, from step `first` on; all four of them for less than 8 bits.
template <int bits, int steps, class From>
GPTQ_DEVICE void load_lane(const uint32_t* slab, int lane, int first, uint32_t (&words)[bits * steps / 4]) {
  static_assert(steps == kSlabSteps || bits >= 8);
  if constexpr (bits == 2 || bits == 3) {
    const Words2 low = From::two(slab + lane * 2);
    words[0] = low.x;
    words[1] = low.y;
    if constexpr (bits == 3) words[2] = From::one(slab + slab_words(2) + lane);
  } else {
#pragma unroll
    for (int i = 0; i < bits * steps / 16; ++i) {
      const Words4 four = From::four(slab + (first * bits / 16 + i) * 4 * kWarp + lane * 4);
      words[4 * i] = four.x;
      words[4 * i + 1] = four.y;
      words[4 * i + 2] = four.z;
      words[4 * i + 3] = four.w;
    }
  }
}

/// The two fields of number `field`, each in a half.
template <int bits, int count>
GPTQ_DEVICE uint32_t fields_of(const uint32_t (&words)[count], int field) {
  constexpr uint32_t mask = 0x00010001u * ((1u << (bits == 3 ? 2 : bits)) - 1);
  if constexpr (bits == 3) {
    const uint32_t low = words[field / 8] >> field % 8 * 2 & mask;
    return low | (words[2] >> field & 0x00010001u) << 2;
  } else {
    constexpr int in_half = 16 / bits;
    return words[field / in_half] >> field % in_half * bits & mask;
  }
}

/// Whether fields become numbers by way of fp32: bf16 has no room for 8 bits beside an exponent that counts in ones.
template <class T, int bits>
constexpr bool kByFloat = sizeof(T) == 2 && bits == 8;
template <int bits>
constexpr bool kByFloat<Half, bits> = false;

/// Numbers that count in ones: 1024 for fp16, 128 for bf16; a field put into its lowest bits is added.
template <class T>
constexpr uint32_t kOnes = 0x43004300u;
template <>
inline constexpr uint32_t kOnes<Half> = 0x64006400u;
constexpr uint32_t kFloatOnes = 0x4B000000u;  // 2^23

/// What is to be subtracted from such numbers.
template <class T, int bits>
GPTQ_DEVICE uint32_t prepare_zero(uint32_t zero) {
  if constexpr (kByFloat<T, bits>) return as_bits(as_float(kFloatOnes) + static_cast<float>(zero));
  return kOnes<T> + (zero | zero << 16);
}

/// The fragment of a step, which is number `step` of those that were loaded: codes less the zero points of rows
/// lane / 4 and lane / 4 + 8, prepared; numbers of 16 bits as they are.
template <class T, int bits, int count>
GPTQ_DEVICE void fragment_of(const uint32_t (&words)[count], int step, const uint32_t (&zeros)[2],
                             uint32_t (&a)[4]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int field = step * 4 + i;
    if constexpr (bits == 16) {
      a[i] = words[field];
    } else if constexpr (kByFloat<T, bits>) {
      const uint32_t both = fields_of<bits>(words, field);
      const float zero = as_float(zeros[i % 2]);
      a[i] =
          pack2<T>(as_float(kFloatOnes | (both & 0xFFFF)) - zero, as_float(kFloatOnes | both >> 16) - zero);
    } else {
      a[i] = sub2<T>(fields_of<bits>(words, field) | kOnes<T>, zeros[i % 2]);
    }
  }
}

/// Calls f with an integral constant, .value of which is the width.
template <int bits>
struct Bits {
  static constexpr int value = bits;
};
template <class F>
void with_bits(int bits, F f) {
  switch (bits) {
    case 2: return f(Bits<2>{});
    case 3: return f(Bits<3>{});
    case 4: return f(Bits<4>{});
    case 8: return f(Bits<8>{});
    default: return f(Bits<16>{});
  }
}

}  // namespace gptq::cuda
