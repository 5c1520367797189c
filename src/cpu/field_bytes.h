// Fields of packed weights as bytes, eight inputs at a time, over the Ints of an instruction set (ints_avx2.h, ints_avx512.h,
// ints_neon.h), which is included first. Only for the kernel files of instruction sets: see kernels.h.
#pragma once

#include "cpu/unrolled.h"

namespace gptq::cpu {
namespace {

constexpr int64_t kW = Floats::kWidth;
/// Words that are fetched ahead, also beyond the end.
constexpr int64_t kPrefetch = 2048 / 4;
/// Vectors that the columns of a panel take.
constexpr int kParts = static_cast<int>(kPanel / kW);

/// Units that are taken at once, and their words of a column and pairs of four inputs.
template <int kBits>
struct ByteRun {
  static constexpr int kUnits = static_cast<int>(run_units(kBits));
  static constexpr int kWords = kUnits * kUnit * kBits / 32, kPairs = 2 * kUnits;
};

/// A mask of the lowest bits of each byte.
constexpr int32_t low_bits(int bits) { return static_cast<int32_t>(UINT32_MAX / 255 * ((1u << bits) - 1)); }

/// What the set has for 0 in the bytes of fields.
constexpr int byte_middle(int bits) { return bits == 8 && Ints::kSignedBytes ? 0 : field_middle(bits); }

/// Eight inputs of each column, as two times four bytes: of those of a run's units, whose first word is at `words`, number kPair.
template <int kBits, int kPair>
void read_pair(const uint32_t* words, Ints& even, Ints& odd) {
  const Ints mask = Ints::set(low_bits(kBits));
  if constexpr (kBits == 8) {
    even = Ints::load(words + 2 * kPair * kPanel).bytes();
    odd = Ints::load(words + (2 * kPair + 1) * kPanel).bytes();
  } else if constexpr (kBits == 3 && kPair == 3) {
    const Ints all = Ints::load(words).fields<6>(Ints::set(low_bits(2))) |
                     Ints::load(words + kPanel).fields<4>(Ints::set(low_bits(2) << 2)) |
                     Ints::load(words + 2 * kPanel).fields<2>(Ints::set(low_bits(2) << 4));
    even = all.fields<0>(mask);
    odd = all.fields<3>(mask);
  } else {
    const Ints word = Ints::load(words + (kBits == 2 ? 0 : kPair) * kPanel);
    constexpr int kFirst = kBits == 2 ? 4 * kPair : 0;
    even = word.fields<kFirst>(mask);
    odd = word.fields<kFirst + kBits>(mask);
  }
}

/// Fetches what pair kPair has of a run's words, each a line.
template <int kBits, int kPair>
void fetch_pair(const uint32_t* words) {
  using R = ByteRun<kBits>;
  constexpr int kFirst = (R::kWords * kPair + R::kPairs - 1) / R::kPairs,
                kEnd = (R::kWords * (kPair + 1) + R::kPairs - 1) / R::kPairs;
  unrolled<kEnd - kFirst>([&](auto i) { __builtin_prefetch(words + (kFirst + i.value) * kPanel); });
}

}  // namespace
}  // namespace gptq::cpu
