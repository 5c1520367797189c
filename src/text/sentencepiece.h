// A tokenizer from tokenizer.model alone.
#pragma once

#include <memory>
#include <string_view>

#include "text/tokenizer.h"
#include "text/tokenizer_config.h"

namespace gptq {

/// Fault::unsupported for models other than BPE and Unigram. `config` says which tokens begin and end a text and whether they
/// are added; where it is silent, the control piece "<s>" is added and "</s>" is not.
std::shared_ptr<const Tokenizer> load_sentencepiece(std::string_view data, std::string_view name,
                                                    const TokenizerConfig& config = {});

}  // namespace gptq
