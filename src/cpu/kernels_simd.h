// The vector kernels, written once over Vec, Words and Fields (vec_avx2.h, vec_avx512.h, vec_neon.h), which are included
// first, as are kTileRows, kDotRows (rows of x that dot() takes at once) and kMostDotRows (Gemm::dot_rows). Only for the
// kernel files of instruction sets: see kernels.h.
#pragma once

#include "cpu/unrolled.h"

namespace gptq::cpu {
namespace {

constexpr int64_t kW = Vec::kWidth;

int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/// Bytes of one element.
constexpr int64_t element_bytes(Dense type) { return type == Dense::f32 ? 4 : 2; }
const char* at(Dense type, const void* p, int64_t i) {
  return static_cast<const char*>(p) + i * element_bytes(type);
}

// ---- exp and activations --------------------------------------------------------------------------------------------

/// e^x: x = n ln 2 + r, then 1 + r + r^2 q(r); q interpolates at Chebyshev nodes, error 1e-8 of the result.
Vec exp(Vec x) {
  x = min(Vec::set(100.0f), max(Vec::set(-110.0f), x));
  const Vec n = round(x * Vec::set(1.44269504f));
  Vec r = fma(n, Vec::set(-0.693359375f), x);
  r = fma(n, Vec::set(2.12194440e-4f), r);
  Vec q = Vec::set(0.0013926213141530752f);
  q = fma(q, r, Vec::set(0.008363203145563602f));
  q = fma(q, r, Vec::set(0.041666556149721146f));
  q = fma(q, r, Vec::set(0.16666576266288757f));
  q = fma(q, r, Vec::set(0.5f));
  return scale_by_power(fma(q * r, r, r) + Vec::set(1.0f), n);
}

/// x, but no -infinity, which times 0 is NaN: for x times something that vanishes long before.
Vec bounded(Vec x) { return max(Vec::set(-1000.0f), x); }

struct Silu {
  static Vec act(Vec x) { return bounded(x) / (Vec::set(1.0f) + exp(Vec::zero() - x)); }
};

/// x/2 erfc(-x / sqrt 2), where erfc(z) = t Q(t) e^(-z^2), t = 1 / (1 + 0.3 z), z >= 0; Q interpolates at Chebyshev
/// nodes, error 4e-8 of erfc.
struct Gelu {
  static Vec act(Vec x) {
    const Vec z = abs(x) * Vec::set(0.707106781f);
    const Vec t = Vec::set(1.0f) / fma(z, Vec::set(0.3f), Vec::set(1.0f));
    Vec q = Vec::set(-0.13049282133579254f);
    q = fma(q, t, Vec::set(0.4905715882778168f));
    q = fma(q, t, Vec::set(-0.5233146548271179f));
    q = fma(q, t, Vec::set(0.5612462162971497f));
    q = fma(q, t, Vec::set(-0.10471214354038239f));
    q = fma(q, t, Vec::set(0.21956712007522583f));
    q = fma(q, t, Vec::set(0.14704541862010956f));
    q = fma(q, t, Vec::set(0.1709141582250595f));
    q = fma(q, t, Vec::set(0.16917510330677032f));
    const Vec half_erfc = q * t * exp(Vec::zero() - z * z) * Vec::set(0.5f);
    return bounded(x) * Vec::if_negative(x, half_erfc, Vec::set(1.0f) - half_erfc);
  }
};

/// x/2 (1 + tanh u) = x / (1 + e^(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3)
struct GeluTanh {
  static Vec act(Vec x) {
    const Vec u = x * fma(x * x, Vec::set(0.044715f), Vec::set(1.0f));
    return bounded(x) / (Vec::set(1.0f) + exp(u * Vec::set(-1.59576912f)));
  }
};

struct Relu {
  static Vec act(Vec x) { return max(Vec::zero(), x); }
};

template <class Act>
void activate(const float* gate, const float* up, int64_t n, float* out) {
  int64_t i = 0;
  for (; i + kW <= n; i += kW) {
    const Vec y = Act::act(Vec::load(gate + i));
    (up != nullptr ? y * Vec::load(up + i) : y).store(out + i);
  }
  if (i == n) return;
  const Vec y = Act::act(Vec::load(gate + i, n - i));
  (up != nullptr ? y * Vec::load(up + i, n - i) : y).store(out + i, n - i);
}

float exp_shift(float* x, int64_t n, float shift) {
  const Vec by = Vec::set(shift);
  Vec total = Vec::zero();
  int64_t i = 0;
  for (; i + kW <= n; i += kW) {
    const Vec y = exp(Vec::load(x + i) - by);
    y.store(x + i);
    total = total + y;
  }
  if (i < n) {
    exp(Vec::load(x + i, n - i) - by).store(x + i, n - i);
    total = total + Vec::load(x + i, n - i);
  }
  return total.sum();
}

// ---- sums and norms -------------------------------------------------------------------------------------------------

/// Sum of term(v, sum so far) over vectors of x. What term makes of the zeros behind the last element is dropped.
template <class Term>
[[gnu::always_inline]] inline float sum_of(const float* x, int64_t n, const Term& term) {
  Vec sums[4] = {Vec::zero(), Vec::zero(), Vec::zero(), Vec::zero()};
  int64_t i = 0;
  for (; i + 4 * kW <= n; i += 4 * kW) {
    unrolled<4>([&](auto j) { sums[j.value] = term(Vec::load(x + i + j.value * kW), sums[j.value]); });
  }
  for (; i + kW <= n; i += kW) sums[0] = term(Vec::load(x + i), sums[0]);
  if (i < n) {
    Vec last = term(Vec::load(x + i, n - i), Vec::zero());
    float rest[kW];
    last.store(rest);
    sums[1] = sums[1] + Vec::load(rest, n - i);
  }
  return (sums[0] + sums[1] + (sums[2] + sums[3])).sum();
}

float sum(const float* x, int64_t n) {
  return sum_of(x, n, [](Vec v, Vec total) { return total + v; });
}

float max(const float* x, int64_t n) {
  Vec most = Vec::set(-__builtin_inff());
  int64_t i = 0;
  for (; i + kW <= n; i += kW) most = max(Vec::load(x + i), most);
  float result = most.max();
  for (; i < n; ++i) result = x[i] > result ? x[i] : result;
  return result;
}

float inverse_root(float squares, int64_t n, float eps) {
  return 1.0f / __builtin_sqrtf(squares / static_cast<float>(n) + eps);
}

void rms_norm(const float* x, const float* weight, float eps, int64_t n, float* out) {
  const float squares = sum_of(x, n, [](Vec v, Vec total) { return fma(v, v, total); });
  const Vec factor = Vec::set(inverse_root(squares, n, eps));
  int64_t i = 0;
  for (; i + kW <= n; i += kW) (Vec::load(x + i) * factor * Vec::load(weight + i)).store(out + i);
  if (i < n) (Vec::load(x + i, n - i) * factor * Vec::load(weight + i, n - i)).store(out + i, n - i);
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps, int64_t n, float* out) {
  const Vec mean = Vec::set(sum(x, n) / static_cast<float>(n));
  const float squares = sum_of(x, n, [mean](Vec v, Vec total) { return fma(v - mean, v - mean, total); });
  const Vec factor = Vec::set(inverse_root(squares, n, eps));
  for (int64_t i = 0; i < n; i += kW) {
    const int64_t m = least(kW, n - i);
    const Vec y = (Vec::load(x + i, m) - mean) * factor;
    const Vec b = bias != nullptr ? Vec::load(bias + i, m) : Vec::zero();
    fma(y, Vec::load(weight + i, m), b).store(out + i, m);
  }
}

void add(float* x, const float* y, int64_t n) {
  int64_t i = 0;
  for (; i + kW <= n; i += kW) (Vec::load(x + i) + Vec::load(y + i)).store(x + i);
  if (i < n) (Vec::load(x + i, n - i) + Vec::load(y + i, n - i)).store(x + i, n - i);
}

void scale(float a, int64_t n, float* x) {
  int64_t i = 0;
  for (; i + kW <= n; i += kW) (Vec::load(x + i) * Vec::set(a)).store(x + i);
  if (i < n) (Vec::load(x + i, n - i) * Vec::set(a)).store(x + i, n - i);
}

void scale_columns(const float* factors, int64_t n, int64_t rows, int64_t stride, float* x) {
  for (int64_t i = 0; i < n; i += kW) {
    const int64_t count = least(kW, n - i);
    const Vec by = Vec::load(factors + i, count);
    if (count == kW) {
      for (int64_t r = 0; r < rows; ++r) (Vec::load(x + r * stride + i) * by).store(x + r * stride + i);
    } else {
      for (int64_t r = 0; r < rows; ++r)
        (Vec::load(x + r * stride + i, count) * by).store(x + r * stride + i, count);
    }
  }
}

void axpy(float a, const float* x, int64_t n, float* y) {
  int64_t i = 0;
  for (; i + kW <= n; i += kW) fma(Vec::set(a), Vec::load(x + i), Vec::load(y + i)).store(y + i);
  if (i < n) fma(Vec::set(a), Vec::load(x + i, n - i), Vec::load(y + i, n - i)).store(y + i, n - i);
}

template <int64_t kCount>
void subtract_products(const float* x, int64_t stride, const float* y, int64_t n, float* c) {
  constexpr int64_t kVecs = kLanes / kW;
  Vec less[kCount * kVecs];
  unrolled<kCount * kVecs>([&](auto v) { less[v.value] = Vec::zero() - Vec::load(y + v.value * kW); });
  for (int64_t i = 0; i < n; ++i, c += kLanes) {
    Vec sums[kVecs];
    unrolled<kVecs>([&](auto h) { sums[h.value] = Vec::load(c + h.value * kW); });
    unrolled<kCount>([&](auto q) {
      const Vec by = Vec::set(x[q.value * stride + i]);
      unrolled<kVecs>(
          [&](auto h) { sums[h.value] = fma(by, less[q.value * kVecs + h.value], sums[h.value]); });
    });
    unrolled<kVecs>([&](auto h) { sums[h.value].store(c + h.value * kW); });
  }
}

void subtract_outer(const float* x, int64_t stride, const float* y, int64_t count, int64_t n, float* c) {
  constexpr int64_t kMost = kW / 2;  // whose vectors stay in registers
  for (; count >= kMost; count -= kMost, x += kMost * stride, y += kMost * kLanes) {
    subtract_products<kMost>(x, stride, y, n, c);
  }
  for (; count > 0; --count, x += stride, y += kLanes) subtract_products<1>(x, stride, y, n, c);
}

/// Columns of S, kVecs vectors from the first pointers on, or, of one vector, the first n. In passes over the keys what the
/// columns have of S stays in the first cache.
template <int64_t kVecs>
void delta_columns(const DeltaStep& d, int64_t first, int64_t n, float* s, float* out) {
  const auto load = [n](const float* p, auto h) {
    return n == kVecs * kW ? Vec::load(p + h.value * kW) : Vec::load(p, n);
  };
  const auto store = [n](Vec x, float* p, auto h) {
    n == kVecs* kW ? x.store(p + h.value * kW) : x.store(p, n);
  };
  Vec known[kVecs], results[kVecs], changes[kVecs];
  unrolled<kVecs>([&](auto h) { known[h.value] = results[h.value] = Vec::zero(); });
  for (int64_t i = 0; i < d.keys; ++i) {
    const Vec k = Vec::set(d.k[i]);
    unrolled<kVecs>(
        [&](auto h) { known[h.value] = fma(k, load(s + i * d.values + first, h), known[h.value]); });
  }
  const Vec kept = Vec::set(d.kept), write = Vec::set(d.write);
  unrolled<kVecs>([&](auto h) { changes[h.value] = write * (load(d.v + first, h) - kept * known[h.value]); });
  for (int64_t i = 0; i < d.keys; ++i) {
    const Vec k = Vec::set(d.k[i]), q = Vec::set(d.q[i]);
    float* const row = s + i * d.values + first;
    unrolled<kVecs>([&](auto h) {
      const Vec now = fma(k, changes[h.value], kept * load(row, h));
      store(now, row, h);
      results[h.value] = fma(q, now, results[h.value]);
    });
  }
  unrolled<kVecs>([&](auto h) { store(results[h.value], out + first, h); });
}

void delta_step(const DeltaStep& d, float* s, float* out) {
  constexpr int64_t kVecs = 4;
  int64_t j = 0;
  for (; j + kVecs * kW <= d.values; j += kVecs * kW) delta_columns<kVecs>(d, j, kVecs * kW, s, out);
  for (; j < d.values; j += kW) delta_columns<1>(d, j, least(kW, d.values - j), s, out);
}

// ---- dense weights --------------------------------------------------------------------------------------------------

void widen(Dense type, const void* in, int64_t n, float* out) {
  int64_t i = 0;
  for (; i + kW <= n; i += kW) Vec::load(type, at(type, in, i)).store(out + i);
  if (i < n) Vec::load(type, at(type, in, i), n - i).store(out + i, n - i);
}

void halve(const float* in, int64_t n, uint16_t* out) {
  const Vec most = Vec::set(65504.0f), lowest = Vec::set(-65504.0f);
  for (int64_t i = 0; i < n; i += kW) {
    const int64_t count = least(kW, n - i);
    max(lowest, min(most, Vec::load(in + i, count))).store_half(out + i, count);
  }
}

float round_row(const float* in, int64_t n, int8_t* out) {
  Vec most_each = Vec::zero(), none = Vec::zero();  // x * 0 is NaN where x is not finite
  for (int64_t i = 0; i < n; i += kW) {
    const Vec x = Vec::load(in + i, least(kW, n - i));
    most_each = max(most_each, abs(x));
    none = fma(x, Vec::zero(), none);
  }
  const float most = most_each.max();
  const bool finite = none.sum() == 0.0f;
  if (!finite || most < kLeastRounded) {
    for (int64_t i = 0; i < n; ++i) out[i] = 0;
    return finite ? 0.0f : __builtin_nanf("");
  }
  const Vec factor = Vec::set(127.0f / most);
  for (int64_t i = 0; i < n; i += kW) {
    const int64_t count = least(kW, n - i);
    (Vec::load(in + i, count) * factor).store_whole(out + i, count);
  }
  return most / 127.0f;
}

/// kX rows of x with kRows rows of weights, each widened once. Those that lie behind these are fetched by the way, in the order
/// of memory, which is read fastest like that.
template <Dense kType, int kRows, int kX>
[[gnu::flatten]] void dot_block(const void* w, int64_t k, const float* x, float* y, int64_t ldy) {
  constexpr int64_t kLine = 64 / element_bytes(kType);  // elements
  Vec sums[kX][kRows];
  unrolled<kX * kRows>([&](auto i) { sums[i.value / kRows][i.value % kRows] = Vec::zero(); });
  const auto step = [&](int64_t i, auto load_w, auto load_x) {
    unrolled<(kRows * kW + kLine - 1) / kLine>(
        [&](auto line) { __builtin_prefetch(at(kType, w, kRows * (k + i) + line.value * kLine)); });
    Vec weights[kRows];
    unrolled<kRows>([&](auto r) { weights[r.value] = load_w(at(kType, w, r.value * k + i)); });
    unrolled<kX>([&](auto m) {
      const Vec v = load_x(x + m.value * k + i);
      unrolled<kRows>(
          [&](auto r) { sums[m.value][r.value] = fma(weights[r.value], v, sums[m.value][r.value]); });
    });
  };
  int64_t i = 0;
  for (; i + kW <= k; i += kW) {
    step(
        i, [](const char* p) { return Vec::load(kType, p); }, [](const float* p) { return Vec::load(p); });
  }
  if (i < k) {
    const int64_t n = k - i;
    step(
        i, [n](const char* p) { return Vec::load(kType, p, n); },
        [n](const float* p) { return Vec::load(p, n); });
  }
  unrolled<kX * kRows>([&](auto j) {
    y[j.value / kRows * ldy + j.value % kRows] = sums[j.value / kRows][j.value % kRows].sum();
  });
}

template <Dense kType, int kX>
void dot_rows(const void* w, int64_t w_rows, int64_t k, const float* x, float* y, int64_t ldy) {
  int64_t i = 0;
  for (; i + 4 <= w_rows; i += 4) dot_block<kType, 4, kX>(at(kType, w, i * k), k, x, y + i, ldy);
  for (; i < w_rows; ++i) dot_block<kType, 1, kX>(at(kType, w, i * k), k, x, y + i, ldy);
}

template <Dense kType>
void dot_as(const void* w, int64_t w_rows, int64_t k, const float* x, int64_t x_rows, float* y, int64_t ldy) {
  int64_t r = 0;
  for (; r + kDotRows <= x_rows; r += kDotRows) {
    dot_rows<kType, kDotRows>(w, w_rows, k, x + r * k, y + r * ldy, ldy);
  }
  for (; r + 2 <= x_rows; r += 2) dot_rows<kType, 2>(w, w_rows, k, x + r * k, y + r * ldy, ldy);
  for (; r < x_rows; ++r) dot_rows<kType, 1>(w, w_rows, k, x + r * k, y + r * ldy, ldy);
}

void dot(Dense type, const void* w, int64_t w_rows, int64_t k, const float* x, int64_t x_rows, float* y,
         int64_t ldy) {
  switch (type) {
    case Dense::f32: return dot_as<Dense::f32>(w, w_rows, k, x, x_rows, y, ldy);
    case Dense::f16: return dot_as<Dense::f16>(w, w_rows, k, x, x_rows, y, ldy);
    case Dense::bf16: return dot_as<Dense::bf16>(w, w_rows, k, x, x_rows, y, ldy);
  }
}

/// Inputs that one square of pack() covers: 16-bit elements are transposed in pairs.
constexpr int64_t square_inputs(Dense type) { return type == Dense::f32 ? kW : 2 * kW; }

/// Up to square_inputs of up to kW rows.
template <Dense kType>
[[gnu::always_inline]] inline void pack_square(const char* in, int64_t stride, int64_t rows, int64_t inputs,
                                               float* out, int64_t width, int64_t columns) {
  constexpr int64_t kInputs = square_inputs(kType);
  const bool whole = inputs == kInputs && rows == kW;
  Vec v[kW];
  if (whole) {
    unrolled<kW>([&](auto r) { v[r.value] = Vec::load_raw(at(kType, in, r.value * stride)); });
  } else {
    const int64_t bytes = inputs * element_bytes(kType);
    for (int64_t r = 0; r < kW; ++r)
      v[r] = r < rows ? Vec::load_raw(at(kType, in, r * stride), bytes) : Vec::zero();
  }
  transpose(v);
  if (inputs == kInputs && columns == kW) {
    unrolled<kInputs>([&](auto i) {
      constexpr int kI = i.value;
      if constexpr (kType == Dense::f32) {
        v[kI].store(out + kI * width);
      } else {
        v[kI / 2].template half<kType, kI % 2>().store(out + kI * width);
      }
    });
    return;
  }
  unrolled<kInputs>([&](auto i) {
    constexpr int kI = i.value;
    if (kI >= inputs) return;
    if constexpr (kType == Dense::f32) {
      v[kI].store(out + kI * width, columns);
    } else {
      v[kI / 2].template half<kType, kI % 2>().store(out + kI * width, columns);
    }
  });
}

template <Dense kType>
void pack_as(const void* in, int64_t stride, int64_t rows, int64_t k, float* out, int64_t width) {
  constexpr int64_t kInputs = square_inputs(kType);
  for (int64_t i = 0; i < k; i += kInputs) {
    for (int64_t r = 0; r < width; r += kW) {
      const int64_t real = rows - r < 0 ? 0 : least(kW, rows - r);
      pack_square<kType>(at(kType, in, r * stride + i), stride, real, least(kInputs, k - i),
                         out + i * width + r, width, least(kW, width - r));
    }
  }
}

void pack(Dense type, const void* in, int64_t stride, int64_t rows, int64_t k, float* out, int64_t width) {
  switch (type) {
    case Dense::f32: return pack_as<Dense::f32>(in, stride, rows, k, out, width);
    case Dense::f16: return pack_as<Dense::f16>(in, stride, rows, k, out, width);
    case Dense::bf16: return pack_as<Dense::bf16>(in, stride, rows, k, out, width);
  }
}

}  // namespace
}  // namespace gptq::cpu
