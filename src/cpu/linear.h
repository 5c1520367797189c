// What the ops need of a Linear, dense or quantized.
#pragma once

#include <memory>
#include <optional>

#include "backend/bias.h"
#include "cpu/rounded_product.h"
#include "cpu/stream_cpu.h"
#include "cpu/tiled_product.h"

namespace gptq::cpu {

class CpuLinear : public Linear {
 public:
  /// y = x W^T + b
  virtual void apply(CpuStream& stream, Matrix x, Matrix y) const = 0;
  /// Its weights for rounded_products(), if they are of the kind; they live as long as the Linear.
  virtual std::optional<RoundedWeights> rounded() const { return std::nullopt; }
  /// out[0..in_features) = W[index]
  virtual void read_row(const Kernels& kernels, int64_t index, float* out) const = 0;
};

std::unique_ptr<Linear> make_dense_linear(const Tensor& weight, const Tensor* bias);
std::unique_ptr<Linear> make_quantized_linear(Runtime& runtime, const QTensor& weight, const Tensor* bias);

/// Rows of x up to which weights are multiplied as they lie; more pay for widening each panel once.
inline constexpr int64_t kFewRows = 16;

}  // namespace gptq::cpu
