// A folder's tokenizer as GGUF's settings "tokenizer.*", and back.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file.h"
#include "format/gguf.h"
#include "format/gguf_tokenizer.h"
#include "format/gguf_writer.h"
#include "model/spec.h"

namespace gptq {

/// Tokens as many as the model has rows of embedding, merges or scores, special tokens and the chat template. A folder
/// without tokenizer gives "none", and a warning; Fault::unsupported for one that llama.cpp has no counterpart of.
void add_gguf_tokenizer(GgufSettings& settings, const fs::path& folder, const Spec& spec);

/// Name and contents of the tokenizer's files of a folder; none, and a warning, where the GGUF file has no tokenizer or
/// one that is not known here.
std::vector<std::pair<std::string, std::string>> restored_tokenizer(const GgufHeader& header);

}  // namespace gptq
