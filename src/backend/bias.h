// What backends make of the bias that prepare() is given.
#pragma once

#include <vector>

#include "base/error.h"
#include "base/tensor.h"
#include "base/text.h"

namespace gptq {

/// `bias` as floats, empty when it is null; throws Error(Fault::mismatch) unless it has `rows` elements.
inline std::vector<float> bias_values(const Tensor* bias, int64_t rows) {
  if (bias == nullptr) return {};
  if (bias->elements() != rows) {
    throw Error(Fault::mismatch, cat("a bias of ", bias->elements(), " elements, wanted ", rows));
  }
  return to_float(*bias);
}

}  // namespace gptq
