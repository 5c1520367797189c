// generation_config.json: how the makers of a model mean its text to be sampled.
#pragma once

#include <string>

#include "base/file.h"

namespace gptq {

/// As an object of generation options: {"temperature": 0.6, "top_k": 50, "top_p": 0.9}; {} where the file is not there
/// or says that the most likely token is taken. As transformers reads it: "do_sample" decides, and what it leaves out
/// is 1 (temperature), 50 (top_k) or not restricted. Fault::range for values that are none, limit for a file of more than
/// kMaxConfigBytes.
std::string generation_defaults(const fs::path& folder);

}  // namespace gptq
