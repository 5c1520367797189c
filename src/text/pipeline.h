// The tokenizer as a row of parts: added tokens, normalizers, pre-tokenizers, model, post-processor, decoders.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "text/added_tokens.h"
#include "text/decoder.h"
#include "text/model.h"
#include "text/normalizer.h"
#include "text/post_processor.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer.h"
#include "text/vocabulary.h"

namespace gptq {

/// What a loader puts together.
struct TokenizerParts {
  std::string name;  // the file to name in errors
  std::shared_ptr<const Vocabulary> vocabulary;
  std::vector<AddedToken> added;
  Normalizers normalizers;
  PreTokenizers pre_tokenizers;
  std::unique_ptr<const TokenModel> model;
  PostProcessor post_processor;
  Decoders decoders;
  std::optional<int32_t> bos_id, eos_id;
};

/// Checks that ids and spellings of the added tokens agree with each other and with the vocabulary:
/// Fault::duplicate, mismatch, range or format.
std::shared_ptr<const Tokenizer> make_tokenizer(TokenizerParts parts);

}  // namespace gptq
