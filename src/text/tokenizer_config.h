// tokenizer_config.json and special_tokens_map.json: which tokens begin and end a text.
#pragma once

#include <optional>
#include <string>

#include "base/file.h"

namespace gptq {

struct TokenizerConfig {
  std::optional<std::string> bos_token, eos_token;
  std::optional<bool> add_bos_token, add_eos_token;
};

/// The text of a tokenizer_config.json; `name` is the file to name in errors.
TokenizerConfig parse_tokenizer_config(const std::string& text, const std::string& name);
/// Files that are not there say nothing. Fault::format for keys of the wrong kind.
TokenizerConfig read_tokenizer_config(const fs::path& folder);

}  // namespace gptq
