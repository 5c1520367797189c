// Norms, activations and sums.
#include <algorithm>
#include <cmath>

#include "cpu/stream_cpu.h"
#include "cpu/vector_cpu.h"

namespace gptq::cpu {
namespace {

/// Elements of one chunk: some microseconds of work.
constexpr int64_t kChunk = 8192;

/// Rows of `cols` elements that make a chunk.
int64_t row_grain(int64_t cols) { return std::max<int64_t>(1, kChunk / std::max<int64_t>(cols, 1)); }

float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

/// Activations that have no kernel of their own.
float value_of(const Activation& f, float x) {
  switch (f.act) {
    case Act::relu2: return x > 0 ? x * x : 0.0f;
    case Act::sigmoid: return sigmoid(x);
    case Act::xielu:
      return x > 0 ? f.a * x * x + f.c * x : (std::expm1(std::min(x, f.d)) - x) * f.a_negative + f.c * x;
    default: return 0.0f;
  }
}

void activate_plain(const Activation& f, const float* gate, const float* up, int64_t n, float* out) {
  if (f.act == Act::clamped_silu) {
    for (int64_t i = 0; i < n; ++i) {
      const float x = std::min(gate[i], f.d);
      const float y = x * sigmoid(f.a * x);
      out[i] = up != nullptr ? y * (std::clamp(up[i], -f.d, f.d) + 1.0f) : y;
    }
    return;
  }
  for (int64_t i = 0; i < n; ++i) out[i] = value_of(f, gate[i]) * (up != nullptr ? up[i] : 1.0f);
}

/// Of the activations that have one.
decltype(Kernels::silu) kernel_of(const Kernels& k, Act act) {
  switch (act) {
    case Act::silu: return k.silu;
    case Act::gelu: return k.gelu;
    case Act::gelu_tanh: return k.gelu_tanh;
    case Act::relu: return k.relu;
    default: return nullptr;
  }
}

}  // namespace

void CpuStream::norm(Norm kind, Matrix x, const Vector& weight, const Vector* bias, float eps, Matrix out) {
  const Kernels& k = kernels();
  const int64_t parts = x.cols > 0 ? std::max<int64_t>(1, weight.size() / x.cols) : 1;
  parallel_for(x.rows, row_grain(x.cols), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* w = values_of(weight) + i % parts * x.cols;
      const float* b = bias != nullptr ? values_of(*bias) + i % parts * x.cols : nullptr;
      if (kind == Norm::layer) {
        k.layer_norm(row(x, i), w, b, eps, x.cols, row(out, i));
      } else {
        k.rms_norm(row(x, i), w, eps, x.cols, row(out, i));
        if (b != nullptr) k.add(row(out, i), b, x.cols);
      }
    }
  });
}

void CpuStream::activate(const Activation& act, Matrix gate, const Matrix* up, Matrix out) {
  const auto kernel = kernel_of(kernels(), act.act);
  const float* g = row(gate, 0);
  const float* u = up != nullptr ? row(*up, 0) : nullptr;
  float* y = row(out, 0);
  parallel_for(gate.rows * gate.cols, kChunk, [&](int64_t begin, int64_t end) {
    const float* u_part = u != nullptr ? u + begin : nullptr;
    if (kernel != nullptr) {
      kernel(g + begin, u_part, end - begin, y + begin);
    } else {
      activate_plain(act, g + begin, u_part, end - begin, y + begin);
    }
  });
}

void CpuStream::add(Matrix x, Matrix y, float factor) {
  const Kernels& k = kernels();
  parallel_for(x.rows * x.cols, kChunk, [&](int64_t begin, int64_t end) {
    if (factor == 1.0f) {
      k.add(row(x, 0) + begin, row(y, 0) + begin, end - begin);
    } else {
      k.axpy(factor, row(y, 0) + begin, end - begin, row(x, 0) + begin);
    }
  });
}

void CpuStream::clear(Matrix x) {
  parallel_for(x.rows * x.cols, kChunk,
               [&](int64_t begin, int64_t end) { std::fill_n(row(x, 0) + begin, end - begin, 0.0f); });
}

void CpuStream::scale(Matrix x, float factor) {
  const Kernels& k = kernels();
  parallel_for(x.rows * x.cols, kChunk,
               [&](int64_t begin, int64_t end) { k.scale(factor, end - begin, row(x, 0) + begin); });
}

void CpuStream::scale_rows(Matrix x, std::span<const float> factors) {
  const Kernels& k = kernels();
  parallel_for(x.rows, row_grain(x.cols), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) k.scale(factors[static_cast<size_t>(i)], x.cols, row(x, i));
  });
}

void CpuStream::scale_rows(Matrix x, Matrix factors) {
  scale_rows(x, std::span<const float>(row(factors, 0), static_cast<size_t>(x.rows)));
}

void CpuStream::clamp(Matrix x, float limit) {
  parallel_for(x.rows * x.cols, kChunk, [&](int64_t begin, int64_t end) {
    std::transform(row(x, 0) + begin, row(x, 0) + end, row(x, 0) + begin,
                   [limit](float value) { return std::clamp(value, -limit, limit); });
  });
}

void CpuStream::softcap(Matrix x, float cap) {
  parallel_for(x.rows * x.cols, kChunk, [&](int64_t begin, int64_t end) {
    std::transform(row(x, 0) + begin, row(x, 0) + end, row(x, 0) + begin,
                   [cap](float value) { return cap * std::tanh(value / cap); });
  });
}

}  // namespace gptq::cpu
