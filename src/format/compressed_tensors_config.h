// "quantization_config" of a folder in compressed-tensors' "pack-quantized".
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "format/written_module.h"

namespace gptq {

/// Modules that are stored with the same widths, groups and symmetry are one group of the configuration: named by
/// "Linear" if there is one alone, else one by one. `ignored` are the Linears that are not quantized.
/// Groups are those of ModuleShape, which must divide the inputs.
std::string write_compressed_config(std::span<const std::pair<std::string, ModuleShape>> modules,
                                    std::span<const std::string> ignored);

}  // namespace gptq
