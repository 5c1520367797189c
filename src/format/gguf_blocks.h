// The blocks of GGUF's tensors <-> numbers. Blocks are consecutive inputs of one row:
//
//   Q4_0 [32]   f16 d, byte[16]: code i in the low half of byte i, code 16 + i in its high half; (code - 8) d
//   Q4_1 [32]   f16 d, f16 m, byte[16] as above;                                                   code d + m
//   Q8_0 [32]   f16 d, i8 code[32];                                                                code d
//   Q6_K [256]  low halves byte[128], upper bits byte[64], i8 scale[16], f16 d;                    (code - 32) scale d
//
// and F32, F16, BF16 by the element.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/qtensor.h"
#include "format/gguf.h"

namespace gptq {

inline constexpr int64_t kGgufBlock = 32;  // inputs of Q4_0, Q4_1 and Q8_0

/// A row of values from its blocks; all types that are known.
void unpack_gguf_row(GgufType type, std::span<const std::byte> row, std::span<float> out);

/// The nearest row that the type can hold, with scales by its own rule: Q4_0 d = (the largest, with its sign) / -8,
/// Q4_1 d = (max - min) / 15, Q8_0 d = |largest| / 127. Fault::numeric, naming `what`, for what f16 can't hold.
void pack_gguf_row(GgufType type, std::span<const float> row, std::span<std::byte> out,
                   std::string_view what);

/// Whether rows with this weight, which is finite, can be packed so.
bool can_hold(GgufType type, float weight);

/// What of a quantized matrix decides which blocks hold it.
struct GgufFit {
  bool whole_blocks = true;  // each block of 32 inputs is in one group
  int bits = 4;
  int lowest = 0, highest = 0;     // of code - zero point
  bool fits(GgufType type) const;  // its codes and groups do: Q4_0, Q4_1 or Q8_0
};
GgufFit fit_of(const QTensor& q);

/// Row `row` of a matrix that fits the type, with its own codes. Exact, but for scales that are not f16 and, in Q4_1,
/// for m = -zero * scale, which is rounded to f16.
void pack_gguf_row(GgufType type, const QTensor& q, int64_t row, std::span<std::byte> out,
                   std::string_view what);

}  // namespace gptq
