// What the tests of tokenizers share: a folder's expected.json, and checks against it.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "support/test_data.h"
#include "text/tokenizer.h"

namespace gptq::test {

/// One entry of expected.json, as the Hugging Face library computed it.
struct Expected {
  std::string text;
  std::vector<int32_t> ids, ids_with_special;
  std::string decoded;
};

std::vector<Expected> read_expected(const fs::path& file);

/// Encodes and decodes every text of `folder`/expected.json with `tokenizer`.
void check_expected(const Tokenizer& tokenizer, const fs::path& folder);

/// All pieces of a StreamDecoder, each of which must be valid UTF-8.
std::string stream(const std::shared_ptr<const Tokenizer>& tokenizer, const std::vector<int32_t>& ids,
                   SkipSpecial skip);

/// Streams random lists of ids, with many bytes and special tokens among them, and wants decode()'s text.
void check_random_streams(const std::shared_ptr<const Tokenizer>& tokenizer, int lists);

/// The "model" of a tokenizer.json that has a token for each byte, and no other.
nlohmann::json byte_model();

}  // namespace gptq::test
