// 32-bit integers and bytes in AVX-512, for rounded_simd.h. With AVX-512 VNNI where the file is compiled for it.
#pragma once

#if defined(__GNUC__) && !defined(__clang__)
// gcc 12 takes the undefined vectors inside its own intrinsics for mistakes (GCC bug 105593)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include "cpu/kernels.h"

namespace gptq::cpu {
namespace {

struct Floats {
  static constexpr int64_t kWidth = 16;
  __m512 v;

  static Floats load(const float* p) { return {_mm512_loadu_ps(p)}; }
  /// Of fp16.
  static Floats load(const uint16_t* p) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
  }
  static Floats set(float x) { return {_mm512_set1_ps(x)}; }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  Floats operator*(Floats b) const { return {_mm512_mul_ps(v, b.v)}; }
  /// this + a b, this - a b
  Floats plus(Floats a, Floats b) const { return {_mm512_fmadd_ps(a.v, b.v, v)}; }
  Floats less(Floats a, Floats b) const { return {_mm512_fnmadd_ps(a.v, b.v, v)}; }
};

struct Ints {
  __m512i v;

#if defined(__AVX512VNNI__)
  static constexpr bool kSignedBytes = false;
#else
  static constexpr bool kSignedBytes = true;  // whose products fit 16 bits in pairs
#endif

  static Ints load(const void* p) { return {_mm512_loadu_si512(p)}; }
  static Ints set(int32_t x) { return {_mm512_set1_epi32(x)}; }
  /// Four bytes in each lane.
  static Ints repeat(const int8_t* p) {
    int32_t bytes;
    __builtin_memcpy(&bytes, p, sizeof bytes);
    return set(bytes);
  }
  void store(void* p) const { _mm512_storeu_si512(p, v); }
  Ints operator|(Ints b) const { return {_mm512_or_si512(v, b.v)}; }
  Ints operator+(Ints b) const { return {_mm512_add_epi32(v, b.v)}; }
  Floats floats() const { return {_mm512_cvtepi32_ps(v)}; }
  /// (this >> shift) & mask
  template <int kShift>
  Ints fields(Ints mask) const {
    return {_mm512_and_si512(kShift == 0 ? v : _mm512_srli_epi32(v, kShift), mask.v)};
  }
  /// Fields of 8 bits as plus() wants them: with kSignedBytes less 128.
  Ints bytes() const {
    if constexpr (!kSignedBytes) return *this;
    return {_mm512_xor_si512(v, _mm512_set1_epi8(-128))};
  }
  /// this + each lane's products of the bytes of a with the signed ones of x, -127 to 127, and of b with y. kSigned: those of
  /// a and b have a sign; else they are 0 to 15, or without kSignedBytes to 255.
  template <bool kSigned>
  Ints plus(Ints a, Ints x, Ints b, Ints y) const {
#if defined(__AVX512VNNI__)
    return {_mm512_dpbusd_epi32(_mm512_dpbusd_epi32(v, a.v, x.v), b.v, y.v)};
#else
    const __m512i one = _mm512_set1_epi16(1);
    if constexpr (kSigned) {
      const __m512i first = _mm512_madd_epi16(signed_pairs(a.v, x.v), one),
                    second = _mm512_madd_epi16(signed_pairs(b.v, y.v), one);
      return {_mm512_add_epi32(v, _mm512_add_epi32(first, second))};
    }
    const __m512i pairs = _mm512_add_epi16(_mm512_maddubs_epi16(a.v, x.v), _mm512_maddubs_epi16(b.v, y.v));
    return {_mm512_add_epi32(v, _mm512_madd_epi16(pairs, one))};
#endif
  }
  /// |a| times x with the sign of a.
  static __m512i signed_pairs(__m512i a, __m512i x) {
    const __m512i turned = _mm512_mask_sub_epi8(x, _mm512_movepi8_mask(a), _mm512_setzero_si512(), x);
    return _mm512_maddubs_epi16(_mm512_abs_epi8(a), turned);
  }
};

/// Places of a unit's inputs.
using Order = __m128i;

/// 16 inputs at a time.
struct Unit {
  __m512 x;

  static Unit load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static Order order(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
  /// Bits of the magnitudes, whose order is that of the magnitudes, NaN above all.
  static Ints larger(Ints most, Unit u) {
    const __m512i bits =
        _mm512_and_si512(_mm512_castps_si512(u.x), _mm512_set1_epi32(static_cast<int>(0x7FFFFFFFu)));
    return {_mm512_max_epi32(most.v, bits)};
  }
  static int32_t largest(Ints most) { return _mm512_reduce_max_epi32(most.v); }
  static int32_t total(Ints sums) { return _mm512_reduce_add_epi32(sums.v); }
  /// Stores the bytes, adds them to `sums`.
  static void round(Unit u, Floats factor, Order order, int8_t* q, Ints& sums) {
    const __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(u.x, factor.v));
    sums.v = _mm512_add_epi32(sums.v, whole);
    const __m128i bytes = _mm_shuffle_epi8(_mm512_cvtepi32_epi8(whole), order);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q), bytes);
  }
};

}  // namespace
}  // namespace gptq::cpu
