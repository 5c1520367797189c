// Vectors of 8 floats, two registers, in the NEON that every arm64 machine has. Only for kernels_neon.cpp. Two, since that
// makes tiles that load less for each product, and sums in the order of vec_avx2.h.
#pragma once

#include <arm_neon.h>

#include "cpu/kernels.h"

namespace gptq::cpu {
namespace {

struct Vec {
  static constexpr int64_t kWidth = 8;
  float32x4_t low, high;

  static Vec load(const float* p) { return {vld1q_f32(p), vld1q_f32(p + 4)}; }
  static Vec set(float x) { return {vdupq_n_f32(x), vdupq_n_f32(x)}; }
  static Vec zero() { return set(0.0f); }
  void store(float* p) const {
    vst1q_f32(p, low);
    vst1q_f32(p + 4, high);
  }
  /// The first n of kWidth elements; the others read as zero and are not written.
  static Vec load(const float* p, int64_t n) {
    if (n == kWidth) return load(p);
    float all[kWidth] = {};
    for (int64_t i = 0; i < n; ++i) all[i] = p[i];
    return load(all);
  }
  void store(float* p, int64_t n) const {
    if (n == kWidth) return store(p);
    float all[kWidth];
    store(all);
    for (int64_t i = 0; i < n; ++i) p[i] = all[i];
  }
  void store_half(uint16_t* p, int64_t n) const {
    const uint16x8_t halves =
        vcombine_u16(vreinterpret_u16_f16(vcvt_f16_f32(low)), vreinterpret_u16_f16(vcvt_f16_f32(high)));
    if (n == kWidth) return vst1q_u16(p, halves);
    uint16_t all[kWidth];
    vst1q_u16(all, halves);
    for (int64_t i = 0; i < n; ++i) p[i] = all[i];
  }
  /// The nearest whole numbers, for elements of at most 127.5.
  void store_whole(int8_t* p, int64_t n) const {
    const int8x8_t bytes =
        vqmovn_s16(vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(low)), vqmovn_s32(vcvtnq_s32_f32(high))));
    if (n == kWidth) return vst1_s8(p, bytes);
    int8_t all[kWidth];
    vst1_s8(all, bytes);
    for (int64_t i = 0; i < n; ++i) p[i] = all[i];
  }

  static Vec load(Dense type, const void* p) {
    return type == Dense::f32 ? load_raw(p) : widen(type, vld1q_u8(static_cast<const uint8_t*>(p)));
  }
  static Vec load(Dense type, const void* p, int64_t n) {
    if (type == Dense::f32) return load_raw(p, 4 * n);
    uint8_t bytes[2 * kWidth] = {};
    for (int64_t i = 0; i < 2 * n; ++i) bytes[i] = static_cast<const uint8_t*>(p)[i];
    return widen(type, vld1q_u8(bytes));
  }
  static Vec load(const uint16_t* p) { return load(Dense::f16, p); }
  static Vec load(const int8_t* p) {
    const int16x8_t words = vmovl_s8(vld1_s8(p));
    return {vcvtq_f32_s32(vmovl_s16(vget_low_s16(words))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(words)))};
  }
  static Vec widen(Dense type, uint8x16_t bytes) {
    const uint16x8_t h = vreinterpretq_u16_u8(bytes);
    if (type == Dense::f16) return widen_halves(vget_low_u16(h), vget_high_u16(h));
    return {vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(h), 16)),
            vreinterpretq_f32_u32(vshll_n_u16(vget_high_u16(h), 16))};
  }
  static Vec widen_halves(uint16x4_t first, uint16x4_t second) {
    return {vcvt_f32_f16(vreinterpret_f16_u16(first)), vcvt_f32_f16(vreinterpret_f16_u16(second))};
  }

  /// Bits of 8 floats or of 8 pairs of 16-bit elements, the first `bytes` of them, at any address.
  static Vec load_raw(const void* p) {
    const auto* bytes = static_cast<const uint8_t*>(p);
    return {vreinterpretq_f32_u8(vld1q_u8(bytes)), vreinterpretq_f32_u8(vld1q_u8(bytes + 16))};
  }
  static Vec load_raw(const void* p, int64_t bytes) {
    uint8_t copy[4 * kWidth] = {};
    for (int64_t i = 0; i < bytes; ++i) copy[i] = static_cast<const uint8_t*>(p)[i];
    return load_raw(copy);
  }
  /// The first or second element of each pair.
  template <Dense kType, int kSecond>
  Vec half() const {
    const uint32x4_t a = vreinterpretq_u32_f32(low), b = vreinterpretq_u32_f32(high);
    if constexpr (kType == Dense::f16) {
      if constexpr (kSecond) return widen_halves(vshrn_n_u32(a, 16), vshrn_n_u32(b, 16));
      return widen_halves(vmovn_u32(a), vmovn_u32(b));
    } else if constexpr (kSecond) {
      const uint32x4_t mask = vdupq_n_u32(0xFFFF0000u);
      return {vreinterpretq_f32_u32(vandq_u32(a, mask)), vreinterpretq_f32_u32(vandq_u32(b, mask))};
    } else {
      return {vreinterpretq_f32_u32(vshlq_n_u32(a, 16)), vreinterpretq_f32_u32(vshlq_n_u32(b, 16))};
    }
  }

  Vec operator+(Vec b) const { return {vaddq_f32(low, b.low), vaddq_f32(high, b.high)}; }
  Vec operator-(Vec b) const { return {vsubq_f32(low, b.low), vsubq_f32(high, b.high)}; }
  Vec operator*(Vec b) const { return {vmulq_f32(low, b.low), vmulq_f32(high, b.high)}; }
  Vec operator/(Vec b) const { return {vdivq_f32(low, b.low), vdivq_f32(high, b.high)}; }
  float sum() const {
    const float32x4_t a = vaddq_f32(low, high);
    const float32x2_t b = vadd_f32(vget_low_f32(a), vget_high_f32(a));
    return vget_lane_f32(b, 0) + vget_lane_f32(b, 1);
  }
  float max() const { return vmaxvq_f32(vmaxq_f32(low, high)); }
  /// a where x < 0 (not for NaN), else b.
  static Vec if_negative(Vec x, Vec a, Vec b) {
    return {vbslq_f32(vcltzq_f32(x.low), a.low, b.low), vbslq_f32(vcltzq_f32(x.high), a.high, b.high)};
  }
};

Vec fma(Vec a, Vec b, Vec c) { return {vfmaq_f32(c.low, a.low, b.low), vfmaq_f32(c.high, a.high, b.high)}; }
/// Of a NaN and a number: b, also if that is the NaN.
Vec max(Vec a, Vec b) {
  return {vbslq_f32(vcgtq_f32(a.low, b.low), a.low, b.low),
          vbslq_f32(vcgtq_f32(a.high, b.high), a.high, b.high)};
}
Vec min(Vec a, Vec b) {
  return {vbslq_f32(vcltq_f32(a.low, b.low), a.low, b.low),
          vbslq_f32(vcltq_f32(a.high, b.high), a.high, b.high)};
}
Vec abs(Vec a) { return {vabsq_f32(a.low), vabsq_f32(a.high)}; }
Vec round(Vec a) { return {vrndnq_f32(a.low), vrndnq_f32(a.high)}; }

float32x4_t power(int32x4_t n) {
  return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, vdupq_n_s32(127)), 23));
}
float32x4_t scale_by_power(float32x4_t a, float32x4_t n) {
  const int32x4_t whole = vcvtnq_s32_f32(n), half = vshrq_n_s32(whole, 1);
  return vmulq_f32(vmulq_f32(a, power(half)), power(vsubq_s32(whole, half)));
}
/// a * 2^n for whole n of magnitude below 250, in two steps: overflow to infinity and gradual underflow.
Vec scale_by_power(Vec a, Vec n) { return {scale_by_power(a.low, n.low), scale_by_power(a.high, n.high)}; }

/// Words of 8 columns.
struct Words {
  uint32x4_t low, high;
  static Words load(const uint32_t* p) { return {vld1q_u32(p), vld1q_u32(p + 4)}; }
  Words operator|(Words b) const { return {vorrq_u32(low, b.low), vorrq_u32(high, b.high)}; }
  /// (this >> shift) & mask
  template <int kShift>
  Words bits(uint32_t mask) const {
    return {vandq_u32(vshrq_n_u32(low, kShift), vdupq_n_u32(mask)),
            vandq_u32(vshrq_n_u32(high, kShift), vdupq_n_u32(mask))};
  }
};

/// Turns fields of words, by their lowest bit, into floats, less what stands for 0: with their highest bits flipped they are
/// signed.
template <int kBits>
struct Fields {
  static constexpr uint32_t kHighest = highest_of_fields(kBits);
  template <int kBit>
  static float32x4_t get(uint32x4_t words) {
    const int32x4_t fields = vreinterpretq_s32_u32(veorq_u32(words, vdupq_n_u32(kHighest)));
    return vcvtq_f32_s32(vshrq_n_s32(vshlq_n_s32(fields, 32 - kBits - kBit), 32 - kBits));
  }
  template <int kBit>
  Vec get(Words w) const {
    return {get<kBit>(w.low), get<kBit>(w.high)};
  }
};

/// Rows become columns.
void transpose(float32x4_t& a, float32x4_t& b, float32x4_t& c, float32x4_t& d) {
  const float64x2_t ab_even = vreinterpretq_f64_f32(vtrn1q_f32(a, b)),
                    ab_odd = vreinterpretq_f64_f32(vtrn2q_f32(a, b)),
                    cd_even = vreinterpretq_f64_f32(vtrn1q_f32(c, d)),
                    cd_odd = vreinterpretq_f64_f32(vtrn2q_f32(c, d));
  a = vreinterpretq_f32_f64(vtrn1q_f64(ab_even, cd_even));
  b = vreinterpretq_f32_f64(vtrn1q_f64(ab_odd, cd_odd));
  c = vreinterpretq_f32_f64(vtrn2q_f64(ab_even, cd_even));
  d = vreinterpretq_f32_f64(vtrn2q_f64(ab_odd, cd_odd));
}
void transpose(Vec (&r)[8]) {
  transpose(r[0].low, r[1].low, r[2].low, r[3].low);
  transpose(r[0].high, r[1].high, r[2].high, r[3].high);
  transpose(r[4].low, r[5].low, r[6].low, r[7].low);
  transpose(r[4].high, r[5].high, r[6].high, r[7].high);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const float32x4_t corner = r[i].high;
    r[i].high = r[i + 4].low;
    r[i + 4].low = corner;
  }
}

}  // namespace
}  // namespace gptq::cpu
