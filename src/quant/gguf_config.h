// config.json and the tokenizer's files, from the settings of a GGUF file.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/tensor.h"
#include "format/gguf.h"
#include "quant/gguf_model.h"

namespace gptq {

/// What config.json says of the model. Fault::mismatch for a setting that is missing.
std::string gguf_config(const GgufFile& file, const GgufArch& arch, DType dtype);

/// Name and contents of the tokenizer's files; none, and a warning, where the file has no tokenizer or one that is not
/// known here.
std::vector<std::pair<std::string, std::string>> gguf_tokenizer_files(const GgufHeader& header);

}  // namespace gptq
