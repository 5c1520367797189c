// 32-bit integers and bytes in NEON, 8 lanes in two registers, for rounded_simd.h. With the dot product of bytes (FEAT_DotProd)
// where the file is compiled for it.
#pragma once

#include <arm_neon.h>

#include "cpu/kernels.h"

namespace gptq::cpu {
namespace {

struct Floats {
  static constexpr int64_t kWidth = 8;
  float32x4_t low, high;

  static Floats load(const float* p) { return {vld1q_f32(p), vld1q_f32(p + 4)}; }
  /// Of fp16.
  static Floats load(const uint16_t* p) {
    const float16x8_t h = vreinterpretq_f16_u16(vld1q_u16(p));
    return {vcvt_f32_f16(vget_low_f16(h)), vcvt_high_f32_f16(h)};
  }
  static Floats set(float x) { return {vdupq_n_f32(x), vdupq_n_f32(x)}; }
  void store(float* p) const {
    vst1q_f32(p, low);
    vst1q_f32(p + 4, high);
  }
  Floats operator*(Floats b) const { return {vmulq_f32(low, b.low), vmulq_f32(high, b.high)}; }
  /// this + a b, this - a b
  Floats plus(Floats a, Floats b) const {
    return {vfmaq_f32(low, a.low, b.low), vfmaq_f32(high, a.high, b.high)};
  }
  Floats less(Floats a, Floats b) const {
    return {vfmsq_f32(low, a.low, b.low), vfmsq_f32(high, a.high, b.high)};
  }
};

struct Ints {
  int32x4_t low, high;

  static constexpr bool kSignedBytes = true;

  static Ints load(const void* p) {
    const auto* bytes = static_cast<const uint8_t*>(p);
    return {vreinterpretq_s32_u8(vld1q_u8(bytes)), vreinterpretq_s32_u8(vld1q_u8(bytes + 16))};
  }
  static Ints set(int32_t x) { return {vdupq_n_s32(x), vdupq_n_s32(x)}; }
  /// Four bytes in each lane.
  static Ints repeat(const int8_t* p) {
    int32_t bytes;
    __builtin_memcpy(&bytes, p, sizeof bytes);
    return set(bytes);
  }
  void store(void* p) const {
    auto* bytes = static_cast<uint8_t*>(p);
    vst1q_u8(bytes, vreinterpretq_u8_s32(low));
    vst1q_u8(bytes + 16, vreinterpretq_u8_s32(high));
  }
  Ints operator|(Ints b) const { return {vorrq_s32(low, b.low), vorrq_s32(high, b.high)}; }
  Ints operator+(Ints b) const { return {vaddq_s32(low, b.low), vaddq_s32(high, b.high)}; }
  Floats floats() const { return {vcvtq_f32_s32(low), vcvtq_f32_s32(high)}; }
  /// (this >> shift) & mask
  template <int kShift>
  Ints fields(Ints mask) const {
    return {fields<kShift>(low, mask.low), fields<kShift>(high, mask.high)};
  }
  template <int kShift>
  static int32x4_t fields(int32x4_t words, int32x4_t mask) {
    if constexpr (kShift == 0) {
      return vandq_s32(words, mask);
    } else {
      return vandq_s32(vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(words), kShift)), mask);
    }
  }
  /// Fields of 8 bits less 128.
  Ints bytes() const {
    const int32x4_t middle = vreinterpretq_s32_u8(vdupq_n_u8(128));
    return {veorq_s32(low, middle), veorq_s32(high, middle)};
  }
  /// this + each lane's products of the bytes of a with the signed ones of x, -127 to 127, and of b with y. Those of a and b
  /// are 0 to 15, with kSigned -128 to 127.
  template <bool kSigned>
  Ints plus(Ints a, Ints x, Ints b, Ints y) const {
    return {plus<kSigned>(low, a.low, x.low, b.low, y.low),
            plus<kSigned>(high, a.high, x.high, b.high, y.high)};
  }
  template <bool kSigned>
  static int32x4_t plus(int32x4_t sums, int32x4_t a, int32x4_t x, int32x4_t b, int32x4_t y) {
    const int8x16_t a8 = vreinterpretq_s8_s32(a), x8 = vreinterpretq_s8_s32(x), b8 = vreinterpretq_s8_s32(b),
                    y8 = vreinterpretq_s8_s32(y);
#if defined(__ARM_FEATURE_DOTPROD)
    return vdotq_s32(vdotq_s32(sums, a8, x8), b8, y8);
#else
    // each sum of two products is at most 2 * 128 * 127, with fields of up to 4 bits of four 4 * 15 * 127
    const int16x8_t first =
        vmlal_s8(vmull_s8(vget_low_s8(a8), vget_low_s8(x8)), vget_low_s8(b8), vget_low_s8(y8));
    const int16x8_t second = vmlal_high_s8(vmull_high_s8(a8, x8), b8, y8);
    if constexpr (kSigned) {
      const int32x4_t one = vpaddlq_s16(first), two = vpaddlq_s16(second);
      return vaddq_s32(sums, vpaddq_s32(one, two));
    }
    return vpadalq_s16(sums, vpaddq_s16(first, second));
#endif
  }
};

/// Places of a unit's inputs.
using Order = uint8x16_t;

/// 16 inputs at a time.
struct Unit {
  float32x4_t x[4];

  static Unit load(const float* p) {
    return {{vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)}};
  }
  static Order order(const uint8_t* p) { return vld1q_u8(p); }
  /// Bits of the magnitudes, whose order is that of the magnitudes, NaN above all.
  static Ints larger(Ints most, Unit u) {
    return {vmaxq_s32(most.low, vmaxq_s32(magnitudes(u.x[0]), magnitudes(u.x[1]))),
            vmaxq_s32(most.high, vmaxq_s32(magnitudes(u.x[2]), magnitudes(u.x[3])))};
  }
  static int32x4_t magnitudes(float32x4_t x) {
    return vandq_s32(vreinterpretq_s32_f32(x), vdupq_n_s32(0x7FFFFFFF));
  }
  static int32_t largest(Ints most) { return vmaxvq_s32(vmaxq_s32(most.low, most.high)); }
  static int32_t total(Ints sums) { return vaddvq_s32(vaddq_s32(sums.low, sums.high)); }
  /// Stores the bytes, adds them to `sums`.
  static void round(Unit u, Floats factor, Order order, int8_t* q, Ints& sums) {
    const int32x4_t a = vcvtnq_s32_f32(vmulq_f32(u.x[0], factor.low)),
                    b = vcvtnq_s32_f32(vmulq_f32(u.x[1], factor.low)),
                    c = vcvtnq_s32_f32(vmulq_f32(u.x[2], factor.low)),
                    d = vcvtnq_s32_f32(vmulq_f32(u.x[3], factor.low));
    sums.low = vaddq_s32(sums.low, vaddq_s32(a, b));
    sums.high = vaddq_s32(sums.high, vaddq_s32(c, d));
    const int16x8_t ab = vqmovn_high_s32(vqmovn_s32(a), b), cd = vqmovn_high_s32(vqmovn_s32(c), d);
    vst1q_s8(q, vqtbl1q_s8(vqmovn_high_s16(vqmovn_s16(ab), cd), order));
  }
};

}  // namespace
}  // namespace gptq::cpu
