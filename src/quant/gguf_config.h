// config.json from the settings of a GGUF file.
#pragma once

#include <string>

#include "base/tensor.h"
#include "format/gguf.h"
#include "quant/gguf_model.h"

namespace gptq {

/// What config.json says of the model. Fault::mismatch for a setting that is missing.
std::string gguf_config(const GgufFile& file, const GgufArch& arch, DType dtype);

}  // namespace gptq
