// The tokenizer of a GGUF file, as the files of a folder.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "format/gguf.h"

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

/// GPT-2's words: a "Split" by this is what ByteLevel does on its own.
inline constexpr std::string_view kGpt2Words =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

/// A way to cut text before byte-level BPE, by llama.cpp's name and by the parts of tokenizer.json.
struct GgufPreTokenizer {
  std::string_view name;
  std::string_view regex{};                  // of "Split"; empty: ByteLevel cuts
  std::span<const std::string_view> cuts{};  // or of several, one after the other
  bool digits = false;                       // "Digits", one by one, before ByteLevel
  bool ignore_merges = false;
  bool add_bos = false;  // where the file does not say
};
std::span<const GgufPreTokenizer> gguf_pre_tokenizers();
/// By llama.cpp's name, of which it has several for some; nullptr for one that is not known here.
const GgufPreTokenizer* find_gguf_pre_tokenizer(std::string_view name);

/// Name and contents of tokenizer.json or tokenizer.model, and of tokenizer_config.json; none where the file has no
/// tokenizer. Fault::unsupported for one that is not known here, Fault::mismatch or range for a broken one.
std::vector<std::pair<std::string, std::string>> gguf_tokenizer_files(const GgufHeader& header);

}  // namespace gptq
