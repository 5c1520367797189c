// What config.json says of a model after its conversion.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/tensor.h"
#include "format/written_module.h"

namespace gptq {

struct ConvertedModule {
  std::string full_name;  // as StoredLinear has it
  ModuleShape shape;
  int64_t labelled_group = 128;  // group size by the source's configuration; believed where the shape agrees
};

enum class InputOrder : uint8_t { natural, activation };

/// "quantization_config" in the form of `format`. Modules unlike most others, and Linears that are not quantized, are
/// named one by one: as overrides ("dynamic") for GPTQ, as groups and "ignore" for compressed-tensors.
std::string converted_quantization(QuantFormat format, std::span<const ConvertedModule> modules,
                                   std::span<const std::string> dense, InputOrder order);

/// config.json without its quantization, of this element type.
std::string dense_model_config(std::string_view config, DType dtype);

}  // namespace gptq
