// Norms, activations and sums.
#include <algorithm>

#include "cpu/stream_cpu.h"
#include "cpu/vector_cpu.h"

namespace gptq::cpu {
namespace {

/// Elements of one chunk: some microseconds of work.
constexpr int64_t kChunk = 8192;

/// Rows of `cols` elements that make a chunk.
int64_t row_grain(int64_t cols) { return std::max<int64_t>(1, kChunk / std::max<int64_t>(cols, 1)); }

}  // namespace

void CpuStream::norm(Norm kind, Matrix x, const Vector& weight, const Vector* bias, float eps, Matrix out) {
  const Kernels& k = kernels();
  const float* w = values_of(weight);
  const float* b = bias != nullptr ? values_of(*bias) : nullptr;
  parallel_for(x.rows, row_grain(x.cols), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (kind == Norm::layer) {
        k.layer_norm(row(x, i), w, b, eps, x.cols, row(out, i));
      } else {
        k.rms_norm(row(x, i), w, eps, x.cols, row(out, i));
        if (b != nullptr) k.add(row(out, i), b, x.cols);
      }
    }
  });
}

void CpuStream::activate(Act act, Matrix gate, const Matrix* up, Matrix out) {
  const Kernels& k = kernels();
  const auto kernel = act == Act::silu        ? k.silu
                      : act == Act::gelu      ? k.gelu
                      : act == Act::gelu_tanh ? k.gelu_tanh
                                              : k.relu;
  const float* g = row(gate, 0);
  const float* u = up != nullptr ? row(*up, 0) : nullptr;
  float* y = row(out, 0);
  parallel_for(gate.rows * gate.cols, kChunk, [&](int64_t begin, int64_t end) {
    kernel(g + begin, u != nullptr ? u + begin : nullptr, end - begin, y + begin);
  });
}

void CpuStream::add(Matrix x, Matrix y) {
  const Kernels& k = kernels();
  parallel_for(x.rows * x.cols, kChunk,
               [&](int64_t begin, int64_t end) { k.add(row(x, 0) + begin, row(y, 0) + begin, end - begin); });
}

}  // namespace gptq::cpu
