// Tokenizers of published models against what the Hugging Face library makes of the same texts.
#include "base/json.h"
#include "reference.h"

namespace gptq::test {
namespace {

class Published : public testing::TestWithParam<const char*> {};

TEST_P(Published, EncodesAndDecodesAsExpected) {
  GPTQ_EXTRA_DATA(folder, std::string("tokenizers/") + GetParam());
  check_expected(*Tokenizer::load(folder), folder);
}

TEST_P(Published, StreamsWhatItDecodes) {
  GPTQ_EXTRA_DATA(folder, std::string("tokenizers/") + GetParam());
  check_random_streams(Tokenizer::load(folder), 400);
}

TEST_P(Published, StreamsEncodedTexts) {
  GPTQ_EXTRA_DATA(folder, std::string("tokenizers/") + GetParam());
  const auto tokenizer = Tokenizer::load(folder);
  for (const Expected& expected : read_expected(folder / "expected.json")) {
    EXPECT_EQ(stream(tokenizer, expected.ids, SkipSpecial::no), expected.decoded);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Published,
                         testing::Values("added-token-flags", "deepseek-style", "gemma-style", "gpt-neox",
                                         "gpt2", "llama2", "llama3", "minimind", "mistral-v3", "mistral-v7",
                                         "opt", "phi2", "phi3", "qwen2", "unigram-metaspace"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST(PublishedModels, Stories260kPrompt) {
  GPTQ_EXTRA_DATA(folder, "models/stories260k");
  const auto tokenizer = Tokenizer::load(folder);
  const auto golden = nlohmann::json::parse(read_file(folder / "golden.json"));
  EXPECT_EQ(tokenizer->encode(golden["prompt_text"].get<std::string>(), AddSpecial::yes, ParseSpecial::yes),
            golden["prompt_ids"].get<std::vector<int32_t>>());
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->eos_id(), 2);
  check_random_streams(tokenizer, 400);
}

// The same tokenizer, once as the library's tokenizer.json and once as SentencePiece's tokenizer.model.
TEST(PublishedModels, Llama2ModelEqualsItsJson) {
  GPTQ_EXTRA_DATA(folder, "tokenizers/llama2");
  GPTQ_EXTRA_DATA(model, "spm/llama2/tokenizer.model");
  TemporaryFolder alone;
  fs::copy_file(model, alone / "tokenizer.model");
  const auto tokenizer = Tokenizer::load(alone.path());
  check_expected(*tokenizer, folder);
  check_random_streams(tokenizer, 400);
}

/// The sample writes spaces as U+2581 and puts one behind each special token.
std::string plain_text(std::string text) {
  const std::string space = "\xE2\x96\x81";
  for (size_t at; (at = text.find(space)) != std::string::npos;) text.replace(at, space.size(), " ");
  for (const std::string token : {"<s> ", "</s> "}) {
    for (size_t at; (at = text.find(token)) != std::string::npos;) text.erase(at + token.size() - 1, 1);
  }
  return text;
}

TEST(PublishedModels, MistralV1Conversation) {
  GPTQ_EXTRA_DATA(folder, "spm/mistral");
  TemporaryFolder alone;
  fs::copy_file(folder / "tokenizer.model.v1", alone / "tokenizer.model");
  const auto tokenizer = Tokenizer::load(alone.path());
  const auto tokens = nlohmann::json::parse(read_file(folder / "samples/no_tools/tokens_v1.json"));
  const std::string text = plain_text(read_file(folder / "samples/no_tools/text_v1.txt"));
  EXPECT_EQ(tokenizer->encode(text, AddSpecial::no, ParseSpecial::yes),
            tokens["tokens"].get<std::vector<int32_t>>());
}

}  // namespace
}  // namespace gptq::test
