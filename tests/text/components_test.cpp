// Each kind of part that a tokenizer.json can have, by itself, against what the Hugging Face library makes of the same.
#include "base/json.h"
#include "base/text.h"
#include "reference.h"
#include "text/tokenizer_json.h"

namespace gptq::test {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

json golden() { return json::parse(read_file(source_dir() / "tests/golden/tokenizers/components.json")); }

/// With "</w>" behind each piece; see make_components.py.
json suffixed_model() {
  json model = byte_model();
  model["end_of_word_suffix"] = "</w>";
  return model;
}

std::shared_ptr<const Tokenizer> load(const std::string& key, const json& part, const json& model) {
  const json all = {{"model", model}, {key, part}};
  return load_tokenizer_json(all.dump(), "tokenizer.json");
}

void check_pieces(const std::string& list, const std::string& key, size_t least) {
  const json data = golden(), model = suffixed_model();
  EXPECT_GE(data[list].size(), least);
  for (const json& entry : data[list]) {
    const auto tokenizer = load(key, entry["config"], model);
    for (size_t i = 0; i < data["texts"].size(); ++i) {
      const auto text = data["texts"][i].get<std::string>();
      std::string pieces;
      for (int32_t id : tokenizer->encode(text, AddSpecial::no, ParseSpecial::yes))
        pieces += static_cast<char>(id);
      EXPECT_EQ(pieces, entry["pieces"][i].get<std::string>())
          << entry["config"].dump().substr(0, 300) << quoted(text);
    }
  }
}

TEST(Components, Normalizers) { check_pieces("normalizers", "normalizer", 40); }
TEST(Components, PreTokenizers) { check_pieces("pre_tokenizers", "pre_tokenizer", 60); }

TEST(Components, Decoders) {
  const json data = golden();
  json vocab = json::object();
  for (const json& tokens : data["decoded"]) {
    for (const json& token : tokens) vocab.emplace(token.get<std::string>(), static_cast<int>(vocab.size()));
  }
  const json model = {{"type", "BPE"}, {"merges", json::array()}, {"vocab", vocab}};
  EXPECT_GE(data["decoders"].size(), 18u);
  for (const json& entry : data["decoders"]) {
    const auto tokenizer = load("decoder", entry["config"], model);
    for (size_t i = 0; i < data["decoded"].size(); ++i) {
      if (entry["texts"][i].is_null()) continue;  // the reference fails
      Ids ids;
      for (const json& token : data["decoded"][i])
        ids.push_back(vocab[token.get<std::string>()].get<int32_t>());
      const auto text = entry["texts"][i].get<std::string>();
      EXPECT_EQ(tokenizer->decode(ids, SkipSpecial::no), text) << entry["config"].dump();
      EXPECT_EQ(stream(tokenizer, ids, SkipSpecial::no), text) << entry["config"].dump();
    }
  }
}

TEST(Components, FlagsOfAddedTokens) {
  const json data = golden(), model = suffixed_model();
  EXPECT_EQ(data["added"].size(), 32u);
  for (const json& entry : data["added"]) {
    const json all = {
        {"model", model}, {"added_tokens", entry["tokens"]}, {"normalizer", {{"type", "Lowercase"}}}};
    const auto tokenizer = load_tokenizer_json(all.dump(), "tokenizer.json");
    for (size_t i = 0; i < data["added_texts"].size(); ++i) {
      const auto text = data["added_texts"][i].get<std::string>();
      EXPECT_EQ(tokenizer->encode(text, AddSpecial::no, ParseSpecial::yes), entry["parsed"][i].get<Ids>())
          << entry["tokens"].dump() << quoted(text);
      EXPECT_EQ(tokenizer->encode(text, AddSpecial::no, ParseSpecial::no), entry["literal"][i].get<Ids>())
          << entry["tokens"].dump() << quoted(text);
    }
  }
}

/// "<" and ">" around what is not at the start of a piece and at its end.
TEST(Components, BpeWithAffixes) {
  const json model = json::parse(
      R"({"type": "BPE", "unk_token": "?", "continuing_subword_prefix": "@@", "end_of_word_suffix": "$",
    "vocab": {"?": 0, "a": 1, "a$": 2, "@@a": 3, "@@a$": 4, "@@b": 5, "@@b$": 6, "aa": 7, "aab$": 8, "@@aa": 9},
    "merges": ["a @@a", "aa @@b$", "@@a @@a"]})");
  const auto tokenizer = load("pre_tokenizer", {{"type", "WhitespaceSplit"}}, model);
  const auto encode = [&](std::string_view text) {
    return tokenizer->encode(text, AddSpecial::no, ParseSpecial::no);
  };
  EXPECT_EQ(encode("a aab ab"), (Ids{2, 8, 1, 6}));
  EXPECT_EQ(encode("aaaa baab"), (Ids{7, 3, 4, 0, 9, 6})) << "a b that begins a piece is unknown";
}

}  // namespace
}  // namespace gptq::test
