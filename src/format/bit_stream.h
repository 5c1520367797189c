// Small integers packed into 32-bit words, as all layouts of integer codes do it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace gptq {

/// Words that hold `values` of `bits` bits.
constexpr int64_t word_count(int64_t values, int bits) { return (values * bits + 31) / 32; }

/// Value i at bits [bits*i, bits*i + bits) of a little-endian stream of 32-bit words; ceil(n*bits/32) words.
std::vector<uint32_t> pack_bits(std::span<const uint8_t> values, int bits);
std::vector<uint8_t> unpack_bits(std::span<const uint32_t> words, int64_t count, int bits);

}  // namespace gptq
