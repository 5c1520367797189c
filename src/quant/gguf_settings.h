// The settings of a GGUF file that tell what the model is; its tokenizer is in gguf_tokenizer.h.
#pragma once

#include <string>
#include <vector>

#include "format/gguf_writer.h"
#include "quant/gguf_model.h"

namespace gptq {

/// general.* and ARCH.*. `most` is the type of most matrices. Fault::unsupported for what llama.cpp's architecture
/// can't be told.
GgufSettings gguf_model_settings(const Spec& spec, const GgufArch& arch, std::string_view name,
                                 GgufType most);

/// [dim / 2] by which rotary frequencies are divided, for "rope_freqs.weight"; empty where they are plain.
std::vector<float> gguf_rope_factors(const RopeSpec& rope);

}  // namespace gptq
