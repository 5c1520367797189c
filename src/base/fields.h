// Fields of a few bits side by side, and the same as bytes: eight at a time.
#pragma once

#include <cstdint>

namespace gptq {

/// The lowest kBits * kRun bits of each 8 kRun bits, kRun being 1, 2 or 4.
template <int kBits, int kRun>
inline constexpr uint64_t kFieldMask = UINT64_MAX / ((uint64_t{1} << 8 * kRun) - 1) *
                                       ((uint64_t{1} << kBits * kRun) - 1);

/// Fields 0 to 7 of kBits <= 4 bits, in the lowest 8 kBits bits of x, as bytes, lowest first.
template <int kBits>
constexpr uint64_t spread_fields(uint64_t x) {
  static_assert(kBits >= 1 && kBits <= 4);
  x = (x | x << 4 * (8 - kBits)) & kFieldMask<kBits, 4>;
  x = (x | x << 2 * (8 - kBits)) & kFieldMask<kBits, 2>;
  return (x | x << (8 - kBits)) & kFieldMask<kBits, 1>;
}

/// The reverse, for bytes below 2^kBits.
template <int kBits>
constexpr uint32_t gather_fields(uint64_t bytes) {
  static_assert(kBits >= 1 && kBits <= 4);
  bytes = (bytes | bytes >> (8 - kBits)) & kFieldMask<kBits, 2>;
  bytes = (bytes | bytes >> 2 * (8 - kBits)) & kFieldMask<kBits, 4>;
  return static_cast<uint32_t>((bytes | bytes >> 4 * (8 - kBits)) & ((uint64_t{1} << (8 * kBits)) - 1));
}

}  // namespace gptq
