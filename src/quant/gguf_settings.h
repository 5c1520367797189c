// The settings of a GGUF file that tell what the model is; its tokenizer is in gguf_tokenizer.h.
#pragma once

#include <string>
#include <vector>

#include "format/gguf_writer.h"
#include "quant/gguf_model.h"

namespace gptq {

/// general.*, but for its file_type, and ARCH.*. Fault::unsupported for what llama.cpp's architecture can't be told.
GgufSettings gguf_model_settings(const Spec& spec, const GgufArch& arch, std::string_view name);

/// general.file_type, llama.cpp's "ftype", of a file whose matrices are mostly `most`.
uint32_t gguf_file_type(GgufType most);

/// [dim / 2] by which rotary frequencies are divided, for "rope_freqs.weight"; empty where they are plain.
std::vector<float> gguf_rope_factors(const RopeSpec& rope);

}  // namespace gptq
