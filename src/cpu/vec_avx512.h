// Vectors of 16 floats in AVX-512. Only for kernels_avx512.cpp.
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

struct Vec {
  static constexpr int64_t kWidth = 16;
  __m512 v;

  static Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static Vec set(float x) { return {_mm512_set1_ps(x)}; }
  static Vec zero() { return {_mm512_setzero_ps()}; }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  /// The first n of kWidth elements; the others read as zero and are not written.
  static Vec load(const float* p, int64_t n) { return {_mm512_maskz_loadu_ps(first(n), p)}; }
  void store(float* p, int64_t n) const { _mm512_mask_storeu_ps(p, first(n), v); }
  void store_half(uint16_t* p, int64_t n) const {
    _mm256_mask_storeu_epi16(p, first(n), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  }
  /// The nearest whole numbers, for elements of at most 127.5.
  void store_whole(int8_t* p, int64_t n) const {
    _mm_mask_storeu_epi8(p, first(n), _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(v)));
  }
  static __mmask16 first(int64_t n) { return static_cast<__mmask16>((1u << n) - 1u); }

  static Vec load(Dense type, const void* p) {
    if (type == Dense::f32) return {_mm512_loadu_ps(p)};
    return widen(type, _mm256_loadu_si256(static_cast<const __m256i*>(p)));
  }
  static Vec load(Dense type, const void* p, int64_t n) {
    if (type == Dense::f32) return {_mm512_maskz_loadu_ps(first(n), p)};
    return widen(type, _mm256_maskz_loadu_epi16(first(n), p));
  }
  static Vec load(const uint16_t* p) { return load(Dense::f16, p); }
  static Vec load(const int8_t* p) {
    return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
  }
  static Vec widen(Dense type, __m256i h) {
    if (type == Dense::f16) return {_mm512_cvtph_ps(h)};
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16))};
  }

  /// Bits of 16 floats or of 16 pairs of 16-bit elements, the first `bytes` of them.
  static Vec load_raw(const void* p) { return {_mm512_loadu_ps(p)}; }
  static Vec load_raw(const void* p, int64_t bytes) {
    const auto mask = static_cast<__mmask32>((uint64_t{1} << (bytes / 2)) - 1);
    return {_mm512_castsi512_ps(_mm512_maskz_loadu_epi16(mask, p))};
  }
  /// The first or second element of each pair.
  template <Dense kType, int kSecond>
  Vec half() const {
    const __m512i pairs = _mm512_castps_si512(v);
    if constexpr (kType == Dense::f16) {
      return {_mm512_cvtph_ps(_mm512_cvtepi32_epi16(kSecond ? _mm512_srli_epi32(pairs, 16) : pairs))};
    } else if constexpr (kSecond) {
      return {_mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(static_cast<int>(0xFFFF0000u))))};
    } else {
      return {_mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16))};
    }
  }

  Vec operator+(Vec b) const { return {_mm512_add_ps(v, b.v)}; }
  Vec operator-(Vec b) const { return {_mm512_sub_ps(v, b.v)}; }
  Vec operator*(Vec b) const { return {_mm512_mul_ps(v, b.v)}; }
  Vec operator/(Vec b) const { return {_mm512_div_ps(v, b.v)}; }
  float sum() const { return _mm512_reduce_add_ps(v); }
  float max() const { return _mm512_reduce_max_ps(v); }
  /// a where x < 0 (not for NaN), else b.
  static Vec if_negative(Vec x, Vec a, Vec b) {
    return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(x.v, _mm512_setzero_ps(), _CMP_LT_OQ), b.v, a.v)};
  }
};

Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
/// Of a NaN and a number: b, also if that is the NaN.
Vec max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
Vec min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
Vec abs(Vec a) { return {_mm512_abs_ps(a.v)}; }
Vec round(Vec a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
/// a * 2^n for whole n, with overflow to infinity and gradual underflow.
Vec scale_by_power(Vec a, Vec n) { return {_mm512_scalef_ps(a.v, n.v)}; }

/// Words of 16 columns.
struct Words {
  __m512i v;
  static Words load(const uint32_t* p) { return {_mm512_loadu_si512(p)}; }
  Words operator|(Words b) const { return {_mm512_or_si512(v, b.v)}; }
  /// (this >> shift) & mask
  template <int kShift>
  Words bits(uint32_t mask) const {
    return {_mm512_and_si512(_mm512_srli_epi32(v, kShift), _mm512_set1_epi32(static_cast<int>(mask)))};
  }
};

/// Turns fields of words, by their lowest bit, into floats, less what stands for 0. Fields of up to 4 bits index a table: the
/// permutation looks at 4 bits of the shifted word only, and for fewer bits the table repeats.
template <int kBits>
struct Fields {
  __m512 table;
  Fields() {
    alignas(64) float values[16];
    for (int i = 0; i < 16; ++i) {
      constexpr int kUsed = kBits < 4 ? kBits : 4;
      values[i] = static_cast<float>((i & ((1 << kUsed) - 1)) - field_middle(kUsed));
    }
    table = _mm512_load_ps(values);
  }
  template <int kBit>
  Vec get(Words w) const {
    if constexpr (kBits == 8) {
      const __m512i bytes = _mm512_xor_si512(w.v, _mm512_set1_epi32(static_cast<int>(0x80808080u)));
      return {_mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(bytes, 24 - kBit), 24))};
    } else {
      return {_mm512_permutexvar_ps(_mm512_srli_epi32(w.v, kBit), table)};
    }
  }
};

/// Rows become columns.
void transpose(Vec (&r)[16]) {
  __m512 t[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; i += 4) {
    const __m512 a = _mm512_unpacklo_ps(r[i].v, r[i + 1].v), b = _mm512_unpackhi_ps(r[i].v, r[i + 1].v);
    const __m512 c = _mm512_unpacklo_ps(r[i + 2].v, r[i + 3].v),
                 d = _mm512_unpackhi_ps(r[i + 2].v, r[i + 3].v);
    t[i] = _mm512_shuffle_ps(a, c, 0x44);
    t[i + 1] = _mm512_shuffle_ps(a, c, 0xEE);
    t[i + 2] = _mm512_shuffle_ps(b, d, 0x44);
    t[i + 3] = _mm512_shuffle_ps(b, d, 0xEE);
  }
  // t[4 g + j] holds rows 4 g .. 4 g + 3 of columns j, j + 4, j + 8, j + 12
#pragma GCC unroll 16
  for (int j = 0; j < 4; ++j) {
    const __m512 a = _mm512_shuffle_f32x4(t[j], t[j + 4], 0x88),
                 b = _mm512_shuffle_f32x4(t[j], t[j + 4], 0xDD);
    const __m512 c = _mm512_shuffle_f32x4(t[j + 8], t[j + 12], 0x88);
    const __m512 d = _mm512_shuffle_f32x4(t[j + 8], t[j + 12], 0xDD);
    r[j].v = _mm512_shuffle_f32x4(a, c, 0x88);
    r[j + 8].v = _mm512_shuffle_f32x4(a, c, 0xDD);
    r[j + 4].v = _mm512_shuffle_f32x4(b, d, 0x88);
    r[j + 12].v = _mm512_shuffle_f32x4(b, d, 0xDD);
  }
}

}  // namespace
}  // namespace gptq::cpu
