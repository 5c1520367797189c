#include "reference.h"

#include <random>

#include "base/json.h"
#include "base/text.h"

namespace gptq::test {

std::vector<Expected> read_expected(const fs::path& file) {
  const JsonDocument json = parse_json(read_file(file), file.string());
  std::vector<Expected> out;
  for (const Json& entry : *json) {
    out.push_back({entry["text"].get<std::string>(), entry["ids"].get<std::vector<int32_t>>(),
                   entry["ids_with_special"].get<std::vector<int32_t>>(),
                   entry["decoded"].get<std::string>()});
  }
  return out;
}

void check_expected(const Tokenizer& tokenizer, const fs::path& folder) {
  const auto expected = read_expected(folder / "expected.json");
  EXPECT_GT(expected.size(), 10u);
  for (const auto& [text, ids, ids_with_special, decoded] : expected) {
    EXPECT_EQ(tokenizer.encode(text, AddSpecial::no, ParseSpecial::yes), ids)
        << folder << " " << quoted(text, 200);
    EXPECT_EQ(tokenizer.encode(text, AddSpecial::yes, ParseSpecial::yes), ids_with_special)
        << folder << " " << quoted(text, 200);
    EXPECT_EQ(tokenizer.decode(ids, SkipSpecial::no), decoded) << folder << " " << quoted(text, 200);
  }
}

std::string stream(const std::shared_ptr<const Tokenizer>& tokenizer, const std::vector<int32_t>& ids,
                   SkipSpecial skip) {
  StreamDecoder decoder(tokenizer, skip);
  std::string all;
  for (int32_t id : ids) {
    const std::string piece = decoder.push(id);
    EXPECT_TRUE(is_utf8(piece)) << quoted(piece);
    all += piece;
  }
  const std::string rest = decoder.finish();
  EXPECT_TRUE(is_utf8(rest)) << quoted(rest);
  return all + rest;
}

void check_random_streams(const std::shared_ptr<const Tokenizer>& tokenizer, int lists) {
  std::mt19937 random(7);
  std::vector<int32_t> all, bytes, special;
  for (int32_t id = 0; id < tokenizer->vocab_size(); ++id) {
    const std::string_view text = tokenizer->token_text(id);
    if (text.empty()) continue;
    all.push_back(id);
    if (text.size() <= 2 || text.starts_with("<0x")) bytes.push_back(id);
    if (tokenizer->is_special(id)) special.push_back(id);
  }
  for (int i = 0; i < lists; ++i) {
    std::vector<int32_t> ids(random() % 24);
    for (int32_t& id : ids) {
      const unsigned kind = random() % 8;
      const auto& from = kind < 5 && !bytes.empty() ? bytes : kind == 5 && !special.empty() ? special : all;
      id = from[random() % from.size()];
    }
    for (SkipSpecial skip : {SkipSpecial::no, SkipSpecial::yes}) {
      const std::string whole = tokenizer->decode(ids, skip);
      ASSERT_TRUE(is_utf8(whole));
      ASSERT_EQ(stream(tokenizer, ids, skip), whole);
    }
  }
}

nlohmann::json byte_model() {
  nlohmann::json vocab = nlohmann::json::object();
  for (int i = 0; i < 256; ++i) {
    constexpr std::string_view kHex = "0123456789ABCDEF";
    const auto digit = [&](int value) { return kHex[static_cast<size_t>(value)]; };
    vocab[cat("<0x", digit(i / 16), digit(i % 16), ">")] = i;
  }
  return {{"type", "BPE"},
          {"merges", nlohmann::json::array()},
          {"vocab", std::move(vocab)},
          {"byte_fallback", true}};
}

}  // namespace gptq::test
