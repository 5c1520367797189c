// Vectors of 8 floats in AVX2 with FMA and F16C. Only for kernels_avx2.cpp.
#pragma once

#include <immintrin.h>

#include "cpu/kernels.h"

namespace gptq::cpu {
namespace {

struct Vec {
  static constexpr int64_t kWidth = 8;
  __m256 v;

  static Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static Vec set(float x) { return {_mm256_set1_ps(x)}; }
  static Vec zero() { return {_mm256_setzero_ps()}; }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
  /// The first n of kWidth elements; the others read as zero and are not written.
  static Vec load(const float* p, int64_t n) { return {_mm256_maskload_ps(p, first(n))}; }
  void store(float* p, int64_t n) const { _mm256_maskstore_ps(p, first(n), v); }
  void store_half(uint16_t* p, int64_t n) const {
    const __m128i halves = _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT);
    if (n == kWidth) return _mm_storeu_si128(reinterpret_cast<__m128i*>(p), halves);
    uint16_t all[kWidth];
    _mm_storeu_si128(reinterpret_cast<__m128i*>(all), halves);
    for (int64_t i = 0; i < n; ++i) p[i] = all[i];
  }
  /// The nearest whole numbers, for elements of at most 127.5.
  void store_whole(int8_t* p, int64_t n) const {
    const __m256i whole = _mm256_cvtps_epi32(v);
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
    const __m128i bytes = _mm_packs_epi16(words, words);
    if (n == kWidth) return _mm_storel_epi64(reinterpret_cast<__m128i*>(p), bytes);
    int8_t all[kWidth];
    _mm_storel_epi64(reinterpret_cast<__m128i*>(all), bytes);
    for (int64_t i = 0; i < n; ++i) p[i] = all[i];
  }
  static __m256i first(int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }

  static Vec load(Dense type, const void* p) {
    if (type == Dense::f32) return {_mm256_loadu_ps(static_cast<const float*>(p))};
    return widen(type, _mm_loadu_si128(static_cast<const __m128i*>(p)));
  }
  static Vec load(Dense type, const void* p, int64_t n) {
    if (type == Dense::f32) return load(static_cast<const float*>(p), n);
    unsigned char bytes[16] = {};
    for (int64_t i = 0; i < 2 * n; ++i) bytes[i] = static_cast<const unsigned char*>(p)[i];
    return widen(type, _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)));
  }
  static Vec load(const uint16_t* p) { return load(Dense::f16, p); }
  static Vec load(const int8_t* p) {
    return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))))};
  }
  static Vec widen(Dense type, __m128i h) {
    if (type == Dense::f16) return {_mm256_cvtph_ps(h)};
    return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16))};
  }

  /// Bits of 8 floats or of 8 pairs of 16-bit elements, the first `bytes` of them.
  static Vec load_raw(const void* p) { return {_mm256_loadu_ps(static_cast<const float*>(p))}; }
  static Vec load_raw(const void* p, int64_t bytes) {
    alignas(32) unsigned char copy[32] = {};
    for (int64_t i = 0; i < bytes; ++i) copy[i] = static_cast<const unsigned char*>(p)[i];
    return {_mm256_castsi256_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(copy)))};
  }
  /// The first or second element of each pair.
  template <Dense kType, int kSecond>
  Vec half() const {
    const __m256i pairs = _mm256_castps_si256(v);
    if constexpr (kType == Dense::f16) {
      const __m256i low =
          kSecond ? _mm256_srli_epi32(pairs, 16) : _mm256_and_si256(pairs, _mm256_set1_epi32(0xFFFF));
      const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, low), 0x08);
      return {_mm256_cvtph_ps(_mm256_castsi256_si128(packed))};
    } else if constexpr (kSecond) {
      return {_mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(static_cast<int>(0xFFFF0000u))))};
    } else {
      return {_mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16))};
    }
  }

  Vec operator+(Vec b) const { return {_mm256_add_ps(v, b.v)}; }
  Vec operator-(Vec b) const { return {_mm256_sub_ps(v, b.v)}; }
  Vec operator*(Vec b) const { return {_mm256_mul_ps(v, b.v)}; }
  Vec operator/(Vec b) const { return {_mm256_div_ps(v, b.v)}; }
  float sum() const {
    const __m128 a = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 b = _mm_add_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
  }
  float max() const {
    const __m128 a = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 b = _mm_max_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
  }
  /// a where x < 0 (not for NaN), else b.
  static Vec if_negative(Vec x, Vec a, Vec b) {
    return {_mm256_blendv_ps(b.v, a.v, _mm256_cmp_ps(x.v, _mm256_setzero_ps(), _CMP_LT_OQ))};
  }
};

Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
/// Of a NaN and a number: b, also if that is the NaN.
Vec max(Vec a, Vec b) { return {_mm256_max_ps(a.v, b.v)}; }
Vec min(Vec a, Vec b) { return {_mm256_min_ps(a.v, b.v)}; }
Vec abs(Vec a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
Vec round(Vec a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }

Vec power(__m256i n) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23))};
}
/// a * 2^n for whole n of magnitude below 250, in two steps: overflow to infinity and gradual underflow.
Vec scale_by_power(Vec a, Vec n) {
  const __m256i whole = _mm256_cvtps_epi32(n.v), half = _mm256_srai_epi32(whole, 1);
  return a * power(half) * power(_mm256_sub_epi32(whole, half));
}

/// Words of 8 columns.
struct Words {
  __m256i v;
  static Words load(const uint32_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
  Words operator|(Words b) const { return {_mm256_or_si256(v, b.v)}; }
  /// (this >> shift) & mask
  template <int kShift>
  Words bits(uint32_t mask) const {
    return {_mm256_and_si256(_mm256_srli_epi32(v, kShift), _mm256_set1_epi32(static_cast<int>(mask)))};
  }
};

/// Turns fields of words, by their lowest bit, into floats, less what stands for 0: with their highest bits flipped they are
/// signed.
template <int kBits>
struct Fields {
  static constexpr uint32_t kHighest = highest_of_fields(kBits);
  template <int kBit>
  Vec get(Words w) const {
    const __m256i fields = _mm256_xor_si256(w.v, _mm256_set1_epi32(static_cast<int>(kHighest)));
    return {_mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(fields, 32 - kBits - kBit), 32 - kBits))};
  }
};

/// Rows become columns.
void transpose(Vec (&r)[8]) {
  __m256 t[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; i += 4) {
    const __m256 a = _mm256_unpacklo_ps(r[i].v, r[i + 1].v), b = _mm256_unpackhi_ps(r[i].v, r[i + 1].v);
    const __m256 c = _mm256_unpacklo_ps(r[i + 2].v, r[i + 3].v),
                 d = _mm256_unpackhi_ps(r[i + 2].v, r[i + 3].v);
    t[i] = _mm256_shuffle_ps(a, c, 0x44);
    t[i + 1] = _mm256_shuffle_ps(a, c, 0xEE);
    t[i + 2] = _mm256_shuffle_ps(b, d, 0x44);
    t[i + 3] = _mm256_shuffle_ps(b, d, 0xEE);
  }
#pragma GCC unroll 8
  for (int j = 0; j < 4; ++j) {
    r[j].v = _mm256_permute2f128_ps(t[j], t[j + 4], 0x20);
    r[j + 4].v = _mm256_permute2f128_ps(t[j], t[j + 4], 0x31);
  }
}

}  // namespace
}  // namespace gptq::cpu
