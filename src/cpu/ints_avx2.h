// 32-bit integers and bytes in AVX2, for rounded_simd.h. With AVX-VNNI where the file is compiled for it.
#pragma once

#include <immintrin.h>

#include "cpu/kernels.h"

namespace gptq::cpu {
namespace {

struct Floats {
  static constexpr int64_t kWidth = 8;
  __m256 v;

  static Floats load(const float* p) { return {_mm256_loadu_ps(p)}; }
  /// Of fp16.
  static Floats load(const uint16_t* p) {
    return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
  }
  static Floats set(float x) { return {_mm256_set1_ps(x)}; }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
  Floats operator*(Floats b) const { return {_mm256_mul_ps(v, b.v)}; }
  /// this + a b, this - a b
  Floats plus(Floats a, Floats b) const { return {_mm256_fmadd_ps(a.v, b.v, v)}; }
  Floats less(Floats a, Floats b) const { return {_mm256_fnmadd_ps(a.v, b.v, v)}; }
};

struct Ints {
  __m256i v;

#if defined(__AVXVNNI__)
  static constexpr bool kSignedBytes = false;
#else
  static constexpr bool kSignedBytes = true;  // whose products fit 16 bits in pairs
#endif

  static Ints load(const void* p) { return {_mm256_loadu_si256(static_cast<const __m256i*>(p))}; }
  static Ints set(int32_t x) { return {_mm256_set1_epi32(x)}; }
  /// Four bytes in each lane.
  static Ints repeat(const int8_t* p) {
    int32_t bytes;
    __builtin_memcpy(&bytes, p, sizeof bytes);
    return set(bytes);
  }
  void store(void* p) const { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
  Ints operator|(Ints b) const { return {_mm256_or_si256(v, b.v)}; }
  Ints operator+(Ints b) const { return {_mm256_add_epi32(v, b.v)}; }
  Floats floats() const { return {_mm256_cvtepi32_ps(v)}; }
  /// (this >> shift) & mask
  template <int kShift>
  Ints fields(Ints mask) const {
    return {_mm256_and_si256(kShift == 0 ? v : _mm256_srli_epi32(v, kShift), mask.v)};
  }
  /// Fields of 8 bits as plus() wants them: with kSignedBytes less 128.
  Ints bytes() const {
    if constexpr (!kSignedBytes) return *this;
    return {_mm256_xor_si256(v, _mm256_set1_epi8(-128))};
  }
  /// this + each lane's products of the bytes of a with the signed ones of x, -127 to 127, and of b with y. kSigned: those of
  /// a and b have a sign; else they are 0 to 15, or without kSignedBytes to 255.
  template <bool kSigned>
  Ints plus(Ints a, Ints x, Ints b, Ints y) const {
#if defined(__AVXVNNI__)
    return {_mm256_dpbusd_avx_epi32(_mm256_dpbusd_avx_epi32(v, a.v, x.v), b.v, y.v)};
#else
    const __m256i one = _mm256_set1_epi16(1);
    if constexpr (kSigned) {
      const __m256i first = _mm256_madd_epi16(signed_pairs(a.v, x.v), one),
                    second = _mm256_madd_epi16(signed_pairs(b.v, y.v), one);
      return {_mm256_add_epi32(v, _mm256_add_epi32(first, second))};
    }
    const __m256i pairs = _mm256_add_epi16(_mm256_maddubs_epi16(a.v, x.v), _mm256_maddubs_epi16(b.v, y.v));
    return {_mm256_add_epi32(v, _mm256_madd_epi16(pairs, one))};
#endif
  }
  /// |a| times x with the sign of a.
  static __m256i signed_pairs(__m256i a, __m256i x) {
    return _mm256_maddubs_epi16(_mm256_abs_epi8(a), _mm256_sign_epi8(x, a));
  }
};

/// Places of a unit's inputs.
using Order = __m128i;

/// 16 inputs at a time.
struct Unit {
  __m256 low, high;

  static Unit load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static Order order(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
  /// Bits of the magnitudes, whose order is that of the magnitudes, NaN above all.
  static Ints larger(Ints most, Unit u) {
    const __m256i mask = _mm256_set1_epi32(0x7FFFFFFF);
    const __m256i a = _mm256_and_si256(_mm256_castps_si256(u.low), mask),
                  b = _mm256_and_si256(_mm256_castps_si256(u.high), mask);
    return {_mm256_max_epi32(most.v, _mm256_max_epi32(a, b))};
  }
  static int32_t largest(Ints most) {
    const __m128i a = _mm_max_epi32(_mm256_castsi256_si128(most.v), _mm256_extracti128_si256(most.v, 1));
    const __m128i b = _mm_max_epi32(a, _mm_shuffle_epi32(a, 0x4E));
    return _mm_cvtsi128_si32(_mm_max_epi32(b, _mm_shuffle_epi32(b, 0xB1)));
  }
  static int32_t total(Ints sums) {
    const __m128i a = _mm_add_epi32(_mm256_castsi256_si128(sums.v), _mm256_extracti128_si256(sums.v, 1));
    const __m128i b = _mm_add_epi32(a, _mm_shuffle_epi32(a, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(b, _mm_shuffle_epi32(b, 0xB1)));
  }
  /// Stores the bytes, adds them to `sums`.
  static void round(Unit u, Floats factor, Order order, int8_t* q, Ints& sums) {
    const __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(u.low, factor.v)),
                  b = _mm256_cvtps_epi32(_mm256_mul_ps(u.high, factor.v));
    sums.v = _mm256_add_epi32(sums.v, _mm256_add_epi32(a, b));
    // packing goes by halves of the vectors: a0-3 b0-3 | a4-7 b4-7
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xD8);
    const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q), _mm_shuffle_epi8(bytes, order));
  }
};

}  // namespace
}  // namespace gptq::cpu
