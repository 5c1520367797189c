// Arithmetic on numbers that come out of a file: never wraps, says so instead.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace gptq {

inline std::optional<uint64_t> checked_add(uint64_t a, uint64_t b) {
  uint64_t r;
  if (__builtin_add_overflow(a, b, &r)) return std::nullopt;
  return r;
}

inline std::optional<uint64_t> checked_mul(uint64_t a, uint64_t b) {
  uint64_t r;
  if (__builtin_mul_overflow(a, b, &r)) return std::nullopt;
  return r;
}

/// Product of all dimensions; empty if any prefix of it wraps, whatever a later zero would make of it.
inline std::optional<uint64_t> checked_product(std::span<const int64_t> shape) {
  uint64_t product = 1;
  uint64_t nonzero = 1;
  for (int64_t d : shape) {
    if (d < 0) return std::nullopt;
    const auto next = checked_mul(nonzero, d == 0 ? 1 : static_cast<uint64_t>(d));
    if (!next) return std::nullopt;
    nonzero = *next;
    product = d == 0 ? 0 : product * static_cast<uint64_t>(d);
  }
  return product;
}

}  // namespace gptq
