// Plain C++ kernels: for CPUs without a set of their own, and the measure of all others.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/half.h"
#include "cpu/group_values.h"
#include "cpu/kernels.h"

namespace gptq::cpu {
namespace {

constexpr int64_t kTileRows = 4, kMostDotRows = 16;

float wide(float x) { return x; }
float wide(uint16_t half) { return fp16_to_float(half); }
float wide(int8_t whole) { return static_cast<float>(whole); }

void tile(int64_t k, const float* a, const float* b, int64_t ldb, float* c, int64_t ldc, int64_t rows,
          int64_t cols, float sign, bool accumulate) {
  if (cols > kTileCols) {
    tile(k, a, b + kTileCols, ldb, c + kTileCols, ldc, rows, cols - kTileCols, sign, accumulate);
    cols = kTileCols;
  }
  float sums[kTileRows][kTileCols] = {};
  for (int64_t i = 0; i < k; ++i, a += kTileRows, b += ldb) {
    for (int64_t r = 0; r < kTileRows; ++r) {
      for (int64_t j = 0; j < kTileCols; ++j) sums[r][j] += a[r] * b[j];
    }
  }
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < cols; ++j) {
      float& out = c[r * ldc + j];
      out = (accumulate ? out : 0.0f) + sign * sums[r][j];
    }
  }
}

template <class Element>
void by(const PageProduct& p) {
  for (int64_t r = 0; r < p.rows; ++r) {
    for (int64_t j = 0; j < p.cols; ++j) {
      float sum = 0.0f;
      for (int64_t i = 0; i < p.k; ++i)
        sum += p.a[r * p.lda + i] * wide(static_cast<const Element*>(p.b)[i * p.ldb + j]);
      float& out = p.c[r * p.ldc + j];
      out = p.accumulate ? out + sum : sum;
    }
  }
}

/// Element i of an array that may be unaligned.
template <Dense type>
float load(const void* in, int64_t i) {
  if constexpr (type == Dense::f32) {
    float value;
    std::memcpy(&value, static_cast<const std::byte*>(in) + 4 * i, 4);
    return value;
  } else {
    uint16_t value;
    std::memcpy(&value, static_cast<const std::byte*>(in) + 2 * i, 2);
    return type == Dense::f16 ? fp16_to_float(value) : bf16_to_float(value);
  }
}

template <Dense type>
void pack_as(const void* in, int64_t stride, int64_t rows, int64_t k, float* out, int64_t width) {
  for (int64_t i = 0; i < k; ++i) {
    for (int64_t r = 0; r < width; ++r) out[i * width + r] = r < rows ? load<type>(in, r * stride + i) : 0.0f;
  }
}

void pack(Dense type, const void* in, int64_t stride, int64_t rows, int64_t k, float* out, int64_t width) {
  switch (type) {
    case Dense::f32: return pack_as<Dense::f32>(in, stride, rows, k, out, width);
    case Dense::f16: return pack_as<Dense::f16>(in, stride, rows, k, out, width);
    case Dense::bf16: return pack_as<Dense::bf16>(in, stride, rows, k, out, width);
  }
}

/// Of input k, column c, less what stands for 0.
int field(const QPanel& panel, int64_t k, int64_t c) {
  return field_at(panel, k, c) - field_middle(panel.bits);
}

void unpack(const QPanel& panel, int64_t begin, int64_t count, float* out, int64_t ldo) {
  int64_t g = 0;
  for (int64_t k = begin; k < begin + count; ++k, out += ldo) {
    while (panel.group_ends[g] <= k / kUnit) ++g;
    for (int64_t c = 0; c < kPanel; ++c) {
      const int64_t at = g * kPanel + c;
      out[c] =
          value_at(panel.scales, at) * (static_cast<float>(field(panel, k, c)) - value_at(panel.zeros, at));
    }
  }
}

void qdot_panel(const QPanel& panel, const float* x, const float* group_sums, float* y) {
  double total[kPanel] = {};
  int64_t k = 0;
  for (int64_t g = 0; g < panel.groups; ++g) {
    double sums[kPanel] = {};
    for (; k < panel.group_ends[g] * kUnit; ++k) {
      for (int64_t c = 0; c < kPanel; ++c) sums[c] += double{x[k]} * field(panel, k, c);
    }
    for (int64_t c = 0; c < kPanel; ++c) {
      const double correction =
          are_there(panel.zeros) ? double{value_at(panel.zeros, g * kPanel + c)} * group_sums[g] : 0.0;
      total[c] += value_at(panel.scales, g * kPanel + c) * (sums[c] - correction);
    }
  }
  for (int64_t c = 0; c < kPanel; ++c) y[c] = static_cast<float>(total[c]);
}

void qdot(const QPanel& first, int64_t panels, const QRows& rows) {
  QPanel panel = first;
  for (int64_t p = 0; p < panels; ++p) {
    for (int64_t r = 0; r < rows.rows; ++r) {
      qdot_panel(panel, rows.x + r * rows.ldx, rows.group_sums + r * panel.groups,
                 rows.y + r * rows.ldy + p * kPanel);
    }
    panel = panel_at(panel, 1);
  }
}

template <Dense type>
void dot_as(const void* w, int64_t rows, int64_t k, const float* x, float* out) {
  for (int64_t i = 0; i < rows; ++i) {
    double total = 0.0;
    for (int64_t j = 0; j < k; ++j) total += double{x[j]} * load<type>(w, i * k + j);
    out[i] = static_cast<float>(total);
  }
}

float round_row(const float* in, int64_t n, int8_t* out) {
  float most = 0.0f;
  bool finite = true;
  for (int64_t i = 0; i < n; ++i) {
    finite = finite && std::isfinite(in[i]);
    most = std::max(most, std::fabs(in[i]));
  }
  if (!finite || most < kLeastRounded) {
    std::fill_n(out, n, int8_t{0});
    return finite ? 0.0f : std::numeric_limits<float>::quiet_NaN();
  }
  const float factor = 127.0f / most;
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<int8_t>(std::nearbyint(in[i] * factor));
  return most / 127.0f;
}

void halve(const float* in, int64_t n, uint16_t* out) {
  for (int64_t i = 0; i < n; ++i)
    out[i] = float_to_fp16(in[i] > 65504 ? 65504 : in[i] < -65504 ? -65504 : in[i]);
}

void dot(Dense type, const void* w, int64_t w_rows, int64_t k, const float* x, int64_t x_rows, float* y,
         int64_t ldy) {
  for (int64_t r = 0; r < x_rows; ++r) {
    switch (type) {
      case Dense::f32: dot_as<Dense::f32>(w, w_rows, k, x + r * k, y + r * ldy); break;
      case Dense::f16: dot_as<Dense::f16>(w, w_rows, k, x + r * k, y + r * ldy); break;
      case Dense::bf16: dot_as<Dense::bf16>(w, w_rows, k, x + r * k, y + r * ldy); break;
    }
  }
}

void widen(Dense type, const void* in, int64_t n, float* out) { pack(type, in, n, 1, n, out, 1); }

void rms_norm(const float* x, const float* weight, float eps, int64_t n, float* out) {
  double squares = 0.0;
  for (int64_t i = 0; i < n; ++i) squares += double{x[i]} * x[i];
  const double factor = 1.0 / std::sqrt(squares / static_cast<double>(n) + eps);
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(x[i] * factor) * weight[i];
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps, int64_t n, float* out) {
  double total = 0.0, squares = 0.0;
  for (int64_t i = 0; i < n; ++i) total += x[i];
  const double mean = total / static_cast<double>(n);
  for (int64_t i = 0; i < n; ++i) squares += (x[i] - mean) * (x[i] - mean);
  const double factor = 1.0 / std::sqrt(squares / static_cast<double>(n) + eps);
  for (int64_t i = 0; i < n; ++i) {
    const float y = static_cast<float>((x[i] - mean) * factor) * weight[i];
    out[i] = bias != nullptr ? y + bias[i] : y;
  }
}

float sum(const float* x, int64_t n) {
  double total = 0.0;
  for (int64_t i = 0; i < n; ++i) total += x[i];
  return static_cast<float>(total);
}

float max(const float* x, int64_t n) {
  float most = -std::numeric_limits<float>::infinity();
  for (int64_t i = 0; i < n; ++i) most = std::max(most, x[i]);
  return most;
}

float exp_shift(float* x, int64_t n, float shift) {
  double total = 0.0;
  for (int64_t i = 0; i < n; ++i) {
    x[i] = std::exp(x[i] - shift);
    total += x[i];
  }
  return static_cast<float>(total);
}

template <class F>
void activate(const float* gate, const float* up, int64_t n, float* out, F act) {
  for (int64_t i = 0; i < n; ++i) {
    const auto y = static_cast<float>(act(double{gate[i]}));
    out[i] = up != nullptr ? y * up[i] : y;
  }
}

void silu(const float* gate, const float* up, int64_t n, float* out) {
  activate(gate, up, n, out, [](double x) { return x < -700.0 ? 0.0 : x / (1.0 + std::exp(-x)); });
}

void gelu(const float* gate, const float* up, int64_t n, float* out) {
  activate(gate, up, n, out, [](double x) { return x < -700.0 ? 0.0 : 0.5 * x * std::erfc(-x * M_SQRT1_2); });
}

void gelu_tanh(const float* gate, const float* up, int64_t n, float* out) {
  activate(gate, up, n, out, [](double x) {
    // x/2 (1 + tanh u) = x / (1 + exp(-2u))
    const double u = std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x);
    return u < -350.0 ? 0.0 : x / (1.0 + std::exp(-2.0 * u));
  });
}

void relu(const float* gate, const float* up, int64_t n, float* out) {
  activate(gate, up, n, out, [](double x) { return x < 0.0 ? 0.0 : x; });
}

void add(float* x, const float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] += y[i];
}

void scale(float a, int64_t n, float* x) {
  for (int64_t i = 0; i < n; ++i) x[i] *= a;
}

void scale_columns(const float* factors, int64_t n, int64_t rows, int64_t stride, float* x) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < n; ++i) x[r * stride + i] *= factors[i];
  }
}

void axpy(float a, const float* x, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] += a * x[i];
}

void delta_step(const DeltaStep& d, float* s, float* out) {
  for (int64_t j = 0; j < d.values; ++j) {
    float known = 0, result = 0;
    for (int64_t i = 0; i < d.keys; ++i) known += d.k[i] * (s[i * d.values + j] *= d.kept);
    const float change = d.write * (d.v[j] - known);
    for (int64_t i = 0; i < d.keys; ++i) result += d.q[i] * (s[i * d.values + j] += d.k[i] * change);
    out[j] = result;
  }
}

void subtract_outer(const float* x, int64_t stride, const float* y, int64_t count, int64_t n, float* c) {
  for (; count > 0; --count, x += stride, y += kLanes) {
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t l = 0; l < kLanes; ++l) c[i * kLanes + l] -= x[i] * y[l];
    }
  }
}

}  // namespace
}  // namespace gptq::cpu

#include "cpu/gemm_plain.h"

namespace gptq::cpu {
namespace {

constexpr Kernels kTable{.name = "scalar",
                         .tile_rows = kTileRows,
                         .tile = tile,
                         .by_f32 = by<float>,
                         .by_f16 = by<uint16_t>,
                         .by_i8 = by<int8_t>,
                         .gemm = kPlainGemm,
                         .fast = {kPlainGemm, kPlainGemm, kPlainGemm},
                         .pack = pack,
                         .unpack = unpack,
                         .qdot = qdot,
                         .rounded = &kRoundedRef,
                         .dot = dot,
                         .halve = halve,
                         .round_row = round_row,
                         .widen = widen,
                         .rms_norm = rms_norm,
                         .layer_norm = layer_norm,
                         .sum = sum,
                         .max = max,
                         .exp_shift = exp_shift,
                         .silu = silu,
                         .gelu = gelu,
                         .gelu_tanh = gelu_tanh,
                         .relu = relu,
                         .add = add,
                         .scale = scale,
                         .scale_columns = scale_columns,
                         .axpy = axpy,
                         .subtract_outer = subtract_outer,
                         .delta_step = delta_step};

}  // namespace

const Kernels& kernels_ref() { return kTable; }

}  // namespace gptq::cpu
