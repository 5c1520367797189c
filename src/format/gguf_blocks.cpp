#include "format/gguf_blocks.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/half.h"
#include "base/text.h"

namespace gptq {
namespace {

constexpr size_t kBlock = static_cast<size_t>(kGgufBlock), kHalf = kBlock / 2;

uint16_t load16(const std::byte* at) {
  return static_cast<uint16_t>(std::to_integer<unsigned>(at[0]) | std::to_integer<unsigned>(at[1]) << 8);
}

void store16(std::byte* at, uint16_t value) {
  at[0] = std::byte(value & 0xFF);
  at[1] = std::byte(value >> 8);
}

float load_f16(const std::byte* at) { return fp16_to_float(load16(at)); }

/// What f16 makes of it, which is finite.
float store_f16(std::byte* at, float value, std::string_view what) {
  const uint16_t half = float_to_fp16(value);
  if ((half & 0x7C00u) == 0x7C00u) {
    throw Error(Fault::numeric, cat(what, ": ", value, " is not a number that F16 holds"));
  }
  store16(at, half);
  return fp16_to_float(half);
}

void unpack_halves(const std::byte* bytes, float* out) {
  for (size_t i = 0; i < kHalf; ++i) {
    out[i] = static_cast<float>(std::to_integer<int>(bytes[i]) & 15);
    out[kHalf + i] = static_cast<float>(std::to_integer<int>(bytes[i]) >> 4);
  }
}

void pack_halves(const int* codes, std::byte* out) {
  for (size_t i = 0; i < kHalf; ++i) out[i] = std::byte(codes[i] | codes[kHalf + i] << 4);
}

/// 256 codes in two halves of 128; in each, the low bits of codes 0 .. 63 and 64 .. 127 share bytes, and the upper two
/// bits of codes i, 32 + i, 64 + i and 96 + i. A scale for each 16.
void unpack_q6_k(const std::byte* block, float* out) {
  const std::byte *low = block, *high = block + 128, *scales = block + 192;
  const float d = load_f16(block + 208);
  for (size_t i = 0; i < 256; ++i) {
    const size_t half = i / 128, in_half = i % 128, quarter = in_half / 32, lane = in_half % 32;
    const int nibbles = std::to_integer<int>(low[half * 64 + in_half % 64]);
    const int four = in_half < 64 ? nibbles & 15 : nibbles >> 4;
    const int two = std::to_integer<int>(high[half * 32 + lane]) >> (2 * quarter) & 3;
    const float scale = static_cast<float>(static_cast<int8_t>(scales[i / 16]));
    out[i] = d * scale * static_cast<float>((four | two << 4) - 32);
  }
}

void unpack_block(GgufType type, const std::byte* block, float* out) {
  switch (type) {
    case GgufType::f32: std::memcpy(out, block, sizeof *out); break;
    case GgufType::f16: *out = load_f16(block); break;
    case GgufType::bf16: *out = bf16_to_float(load16(block)); break;
    case GgufType::q4_0: {
      const float d = load_f16(block);
      unpack_halves(block + 2, out);
      for (size_t i = 0; i < kBlock; ++i) out[i] = (out[i] - 8) * d;
      break;
    }
    case GgufType::q4_1: {
      const float d = load_f16(block), m = load_f16(block + 2);
      unpack_halves(block + 4, out);
      for (size_t i = 0; i < kBlock; ++i) out[i] = out[i] * d + m;
      break;
    }
    case GgufType::q8_0: {
      const float d = load_f16(block);
      for (size_t i = 0; i < kBlock; ++i) out[i] = static_cast<float>(static_cast<int8_t>(block[2 + i])) * d;
      break;
    }
    case GgufType::q6_k: unpack_q6_k(block, out); break;
  }
}

/// round(value / d), within [low, high]; what d = 0 stands for is 0.
int nearest_code(float value, float d, int low, int high) {
  return d == 0 ? 0 : static_cast<int>(std::lrint(std::clamp(value / d, float(low), float(high))));
}

void pack_block(GgufType type, const float* in, std::byte* block, std::string_view what) {
  int codes[kBlock];
  const auto [low, high] = std::minmax_element(in, in + kBlock);
  const float largest = -*low > *high ? *low : *high;
  if (type == GgufType::q4_0) {
    const float d = store_f16(block, largest / -8, what);
    for (size_t i = 0; i < kBlock; ++i) codes[i] = nearest_code(in[i], d, -8, 7) + 8;
    pack_halves(codes, block + 2);
  } else if (type == GgufType::q4_1) {
    const float d = store_f16(block, (*high - *low) / 15, what);
    const float m = store_f16(block + 2, *low, what);
    for (size_t i = 0; i < kBlock; ++i) codes[i] = nearest_code(in[i] - m, d, 0, 15);
    pack_halves(codes, block + 4);
  } else {
    const float d = store_f16(block, std::fabs(largest) / 127, what);
    for (size_t i = 0; i < kBlock; ++i) block[2 + i] = std::byte(nearest_code(in[i], d, -127, 127));
  }
}

void check_finite(std::span<const float> row, std::string_view what) {
  if (!std::all_of(row.begin(), row.end(), [](float value) { return std::isfinite(value); })) {
    throw Error(Fault::numeric, cat(what, ": a weight is not finite"));
  }
}

}  // namespace

void unpack_gguf_row(GgufType type, std::span<const std::byte> row, std::span<float> out) {
  const GgufBlock block = block_of(type);
  const auto step = static_cast<size_t>(block.elements);
  for (size_t i = 0, at = 0; i < out.size(); i += step, at += block.bytes)
    unpack_block(type, row.data() + at, out.data() + i);
}

void pack_gguf_row(GgufType type, std::span<const float> row, std::span<std::byte> out,
                   std::string_view what) {
  check_finite(row, what);
  std::byte* at = out.data();
  switch (type) {
    case GgufType::f32: std::memcpy(at, row.data(), row.size_bytes()); return;
    case GgufType::f16:
      for (size_t i = 0; i < row.size(); ++i) store_f16(at + 2 * i, row[i], what);
      return;
    case GgufType::bf16:
      for (size_t i = 0; i < row.size(); ++i) store16(at + 2 * i, float_to_bf16(row[i]));
      return;
    case GgufType::q6_k: throw Error(Status::internal, "Q6_K is read and not written");
    default: break;
  }
  const GgufBlock block = block_of(type);
  for (size_t i = 0; i < row.size(); i += kBlock, at += block.bytes)
    pack_block(type, row.data() + i, at, what);
}

bool can_hold(GgufType type, float weight) {
  const auto in_f16 = [](float value) { return std::isfinite(fp16_to_float(float_to_fp16(value))); };
  switch (type) {
    case GgufType::f16:
    case GgufType::q4_1: return in_f16(weight);  // whose m may be the weight itself
    case GgufType::q4_0: return in_f16(weight / 8);
    case GgufType::q8_0: return in_f16(weight / 127);
    case GgufType::bf16: return std::isfinite(bf16_to_float(float_to_bf16(weight)));
    case GgufType::f32: return true;
    case GgufType::q6_k: return false;  // is not written
  }
  return false;
}

bool GgufFit::fits(GgufType type) const {
  if (!whole_blocks) return false;
  switch (type) {
    case GgufType::q4_0: return lowest >= -8 && highest <= 7;
    case GgufType::q4_1: return bits <= 4;
    case GgufType::q8_0: return lowest >= -128 && highest <= 127;
    default: return false;
  }
}

GgufFit fit_of(const QTensor& q) {
  GgufFit fit{.bits = q.bits};
  fit.whole_blocks = q.cols % kGgufBlock == 0;
  for (size_t k = 0; k < q.group_of.size() && fit.whole_blocks; ++k)
    fit.whole_blocks = q.group_of[k] == q.group_of[k / kBlock * kBlock];
  const auto rows = static_cast<size_t>(q.rows), cols = static_cast<size_t>(q.cols);
  for (size_t n = 0; n < rows; ++n) {
    for (size_t k = 0; k < cols; ++k) {
      const int level =
          int{q.codes[n * cols + k]} - int{q.zeros[static_cast<size_t>(q.group_of[k]) * rows + n]};
      fit.lowest = std::min(fit.lowest, level);
      fit.highest = std::max(fit.highest, level);
    }
  }
  return fit;
}

void pack_gguf_row(GgufType type, const QTensor& q, int64_t row, std::span<std::byte> out,
                   std::string_view what) {
  const auto rows = static_cast<size_t>(q.rows), cols = static_cast<size_t>(q.cols),
             n = static_cast<size_t>(row);
  std::byte* block = out.data();
  for (size_t k = 0; k < cols; k += kBlock, block += block_of(type).bytes) {
    const size_t group = static_cast<size_t>(q.group_of[k]) * rows + n;
    const float scale = q.scales[group];
    const int zero = q.zeros[group];
    int codes[kBlock];
    for (size_t i = 0; i < kBlock; ++i) codes[i] = q.codes[n * cols + k + i];
    store_f16(block, scale, what);
    if (type == GgufType::q8_0) {
      for (size_t i = 0; i < kBlock; ++i) block[2 + i] = std::byte(codes[i] - zero);
    } else if (type == GgufType::q4_0) {
      for (int& code : codes) code += 8 - zero;
      pack_halves(codes, block + 2);
    } else {
      store_f16(block + 2, static_cast<float>(-zero) * scale, what);
      pack_halves(codes, block + 4);
    }
  }
}

}  // namespace gptq
