// What the ops need of a Linear, dense or quantized.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "cpu/stream_cpu.h"

namespace gptq::cpu {

class CpuLinear : public Linear {
 public:
  /// y = x W^T + b
  virtual void apply(CpuStream& stream, Matrix x, Matrix y) const = 0;
  /// out[0..in_features) = W[index]
  virtual void read_row(const Kernels& kernels, int64_t index, float* out) const = 0;
};

std::unique_ptr<Linear> make_dense_linear(const Tensor& weight, const Tensor* bias);
std::unique_ptr<Linear> make_quantized_linear(Runtime& runtime, const QTensor& weight, const Tensor* bias);

/// `bias` as floats, empty when it is null; throws Error(Fault::mismatch) unless it has `rows` elements.
std::vector<float> bias_values(const Tensor* bias, int64_t rows);

/// Rows of x up to which weights are multiplied as they lie; more pay for widening each panel once.
inline constexpr int64_t kFewRows = 16;

/// One step of the tiled product: inputs [k, k + depth) of output columns [col, col + cols) as [depth][kTileCols].
using FillPanel = std::function<void(int64_t col, int64_t cols, int64_t k, int64_t depth, float* panel)>;

/// Inputs of one step of the tiled product, a multiple of kUnit.
inline constexpr int64_t kStepInputs = 256;

/// y[i] = x_i W^T + bias for many rows; x has `inputs` columns, y `outputs`. bias may be null.
void tiled_product(CpuStream& stream, const Gemm& gemm, const float* x, int64_t rows, int64_t inputs,
                   int64_t outputs, const float* bias, float* y, const FillPanel& fill);

}  // namespace gptq::cpu
