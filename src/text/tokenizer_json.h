// tokenizer.json: the parts of a tokenizer as the Hugging Face library writes them.
#pragma once

#include <memory>
#include <string_view>

#include "text/tokenizer.h"
#include "text/tokenizer_config.h"

namespace gptq {

/// `name` is used in errors. `config` supplies the beginning and end tokens.
std::shared_ptr<const Tokenizer> load_tokenizer_json(std::string_view json, std::string_view name,
                                                     const TokenizerConfig& config = {});

}  // namespace gptq
