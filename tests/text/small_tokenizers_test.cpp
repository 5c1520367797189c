// Small tokenizers of each kind that come with the source: they need no extra data.
#include <algorithm>

#include "base/json.h"
#include "base/text.h"
#include "reference.h"

namespace gptq::test {
namespace {

class Small : public testing::TestWithParam<const char*> {
 protected:
  fs::path folder() const { return source_dir() / "tests/golden/tokenizers" / GetParam(); }
};

TEST_P(Small, EncodesAndDecodesAsExpected) { check_expected(*Tokenizer::load(folder()), folder()); }

TEST_P(Small, StreamsWhatItDecodes) { check_random_streams(Tokenizer::load(folder()), 2000); }

TEST_P(Small, KnowsItsTokens) {
  const auto tokenizer = Tokenizer::load(folder());
  ASSERT_GT(tokenizer->vocab_size(), 500);
  for (int32_t id = 0; id < tokenizer->vocab_size(); ++id) {
    ASSERT_FALSE(tokenizer->token_text(id).empty()) << id;
    EXPECT_EQ(tokenizer->token_id(tokenizer->token_text(id)), id);
  }
  EXPECT_EQ(tokenizer->token_text(-1), "");
  EXPECT_EQ(tokenizer->token_text(tokenizer->vocab_size()), "");
  EXPECT_EQ(tokenizer->token_id("no such token"), std::nullopt);
}

INSTANTIATE_TEST_SUITE_P(All, Small,
                         testing::Values("gpt2-style", "llama3-style", "qwen2-style", "llama2-style-json",
                                         "llama2-style-model"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

class SmallSentencePiece : public testing::TestWithParam<const char*> {};

TEST_P(SmallSentencePiece, EncodesAndDecodesAsExpected) {
  const fs::path folder = source_dir() / "tests/golden/tokenizers" / GetParam();
  const auto tokenizer = Tokenizer::load(folder);
  const auto expected = nlohmann::json::parse(read_file(folder / "expected.json"));
  EXPECT_GT(expected.size(), 30u);
  for (const auto& entry : expected) {
    const auto text = entry["text"].get<std::string>();
    const auto ids = entry["ids"].get<std::vector<int32_t>>();
    EXPECT_EQ(tokenizer->encode(text, AddSpecial::no, ParseSpecial::no), ids) << quoted(text);
    if (entry["decoded"].is_null()) continue;  // SentencePiece shows unknown pieces as " \xE2\x81\x87 "
    EXPECT_EQ(tokenizer->decode(ids, SkipSpecial::no), entry["decoded"].get<std::string>()) << quoted(text);
  }
  check_random_streams(tokenizer, 1000);
}

INSTANTIATE_TEST_SUITE_P(All, SmallSentencePiece,
                         testing::Values("spm-unigram", "spm-unigram-unknown", "spm-unigram-bare", "spm-bpe"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST(SampleModel, LoadsAndRoundTrips) {
  const auto tokenizer = Tokenizer::load(source_dir() / "samples/model");
  EXPECT_EQ(tokenizer->vocab_size(), 4096);
  EXPECT_EQ(tokenizer->bos_id(), 0);
  EXPECT_EQ(tokenizer->eos_id(), 1);
  EXPECT_TRUE(tokenizer->is_special(0));
  EXPECT_FALSE(tokenizer->is_special(2));
  const std::string text = "The tower, 324 metres tall.\n\n  Größe: 日本語 \U0001F600";
  const auto ids = tokenizer->encode(text, AddSpecial::no, ParseSpecial::yes);
  EXPECT_EQ(tokenizer->encode(text, AddSpecial::yes, ParseSpecial::yes), ids)
      << "a null post-processor adds nothing";
  EXPECT_EQ(tokenizer->decode(ids, SkipSpecial::yes), text);
  check_random_streams(tokenizer, 1000);
}

TEST(SpecialTokens, AreTextUnlessAskedFor) {
  const auto tokenizer = Tokenizer::load(source_dir() / "tests/golden/tokenizers/qwen2-style");
  const auto start = tokenizer->token_id("<|im_start|>");
  ASSERT_TRUE(start);
  const auto parsed = tokenizer->encode("<|im_start|>", AddSpecial::no, ParseSpecial::yes);
  EXPECT_EQ(parsed, std::vector<int32_t>{*start});
  const auto literal = tokenizer->encode("<|im_start|>", AddSpecial::no, ParseSpecial::no);
  EXPECT_GT(literal.size(), 1u);
  EXPECT_EQ(tokenizer->decode(literal, SkipSpecial::yes), "<|im_start|>");
  const auto tag = tokenizer->encode("a <tag> b", AddSpecial::no, ParseSpecial::no);
  EXPECT_NE(std::find(tag.begin(), tag.end(), *tokenizer->token_id("<tag>")), tag.end())
      << "not special: still found";
  EXPECT_EQ(tokenizer->decode(parsed, SkipSpecial::yes), "");
  EXPECT_EQ(tokenizer->decode(parsed, SkipSpecial::no), "<|im_start|>");
}

TEST(StreamDecoder, PrimedWithAPromptKeepsTheSpace) {
  const auto tokenizer = Tokenizer::load(source_dir() / "tests/golden/tokenizers/llama2-style-json");
  const auto ids = tokenizer->encode("the dog", AddSpecial::no, ParseSpecial::yes);
  ASSERT_GE(ids.size(), 2u);
  StreamDecoder decoder(tokenizer, SkipSpecial::yes);
  decoder.prime(std::span(ids).first(1));
  std::string text;
  for (size_t i = 1; i < ids.size(); ++i) text += decoder.push(ids[i]);
  text += decoder.finish();
  EXPECT_EQ("the dog", tokenizer->decode(std::span(ids).first(1), SkipSpecial::yes) + text);
}

TEST(StreamDecoder, HoldsBackHalfACharacter) {
  const auto tokenizer = Tokenizer::load(source_dir() / "tests/golden/tokenizers/gpt2-style");
  const auto ids = tokenizer->encode("\U0001F9FF", AddSpecial::no, ParseSpecial::yes);
  ASSERT_GT(ids.size(), 1u);
  StreamDecoder decoder(tokenizer, SkipSpecial::yes);
  for (size_t i = 0; i + 1 < ids.size(); ++i) EXPECT_EQ(decoder.push(ids[i]), "");
  EXPECT_EQ(decoder.push(ids.back()), "\U0001F9FF");
  EXPECT_EQ(decoder.push(ids[0]), "");
  EXPECT_EQ(decoder.finish(), "\xEF\xBF\xBD");
}

}  // namespace
}  // namespace gptq::test
