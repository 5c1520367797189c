// Values as the bytes of a plain tensor.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "base/tensor.h"

namespace gptq {

/// `values` [count] as elements of f32, f16 or bf16. Fault::numeric, naming `name`, where a finite one would become
/// infinite.
void store_dense(std::span<const float> values, DType dtype, std::byte* out, std::string_view name);

}  // namespace gptq
