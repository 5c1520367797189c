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

/// x [rows, inputs] and y [rows, outputs], their rows so many floats apart.
struct TiledRows {
  const float* x;
  int64_t x_stride;
  float* y;
  int64_t y_stride;
  int64_t rows, inputs, outputs;
};

enum class TiledStart : uint8_t { zero, bias, y };  // what is added to

/// y = x W^T + start for many rows; `bias` [outputs] counts for TiledStart::bias.
void tiled_product(CpuStream& stream, const Gemm& gemm, const TiledRows& operands, TiledStart start,
                   const float* bias, const FillPanel& fill);

/// The same of rows without gaps; bias may be null.
inline void tiled_product(CpuStream& stream, const Gemm& gemm, const float* x, int64_t rows, int64_t inputs,
                          int64_t outputs, const float* bias, float* y, const FillPanel& fill) {
  tiled_product(stream, gemm, {x, inputs, y, outputs, rows, inputs, outputs},
                bias != nullptr ? TiledStart::bias : TiledStart::zero, bias, fill);
}

}  // namespace gptq::cpu
