// A folder's tokenizer as GGUF's settings "tokenizer.*", and back.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file.h"
#include "format/gguf.h"
#include "format/gguf_writer.h"
#include "model/spec.h"

namespace gptq {

/// llama.cpp's numbers for kinds of tokens.
enum class GgufTokenType : int32_t {
  normal = 1,
  unknown = 2,
  control = 3,
  user_defined = 4,
  unused = 5,
  byte = 6
};

/// A way to cut text before byte-level BPE, by llama.cpp's name and by the parts of tokenizer.json.
struct GgufPreTokenizer {
  std::string_view name;
  std::string_view regex;  // of "Split"; empty: ByteLevel cuts
  bool digits = false;     // "Digits", one by one, before ByteLevel
  bool ignore_merges = false;
};
std::span<const GgufPreTokenizer> gguf_pre_tokenizers();

/// Tokens as many as the model has rows of embedding, merges or scores, special tokens and the chat template. A folder
/// without tokenizer gives "none", and a warning; Fault::unsupported for one that llama.cpp has no counterpart of.
void add_gguf_tokenizer(GgufSettings& settings, const fs::path& folder, const Spec& spec);

/// Name and contents of the tokenizer's files of a folder; none, and a warning, where the GGUF file has no tokenizer or
/// one that is not known here.
std::vector<std::pair<std::string, std::string>> gguf_tokenizer_files(const GgufHeader& header);

}  // namespace gptq
