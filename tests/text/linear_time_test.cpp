// Texts made to be slow: four times as long takes four times as long, where work that is quadratic takes sixteen.
#include <time.h>

#include <algorithm>

#include "base/json.h"
#include "base/text.h"
#include "reference.h"
#include "text/tokenizer_json.h"

namespace gptq::test {
namespace {

using nlohmann::json;

constexpr size_t kLength = 1 << 15;

/// Of this thread, so that what else runs on the machine hardly counts.
double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double encode_seconds(const Tokenizer& tokenizer, const std::string& begin, const std::string& unit,
                      size_t length) {
  std::string text = begin;
  while (text.size() < length) text += unit;
  const double start = cpu_seconds();
  const auto ids = tokenizer.encode(text, AddSpecial::no, ParseSpecial::yes);
  return cpu_seconds() - start;
}

/// For `begin` and then `unit` over and over. The best of a few attempts counts.
void expect_linear(const Tokenizer& tokenizer, const std::string& unit, const std::string& begin = "") {
  double once = 1e9, four_times = 1e9;
  for (int attempt = 0; attempt < 5; ++attempt) {
    once = std::min(once, encode_seconds(tokenizer, begin, unit, kLength));
    four_times = std::min(four_times, encode_seconds(tokenizer, begin, unit, 4 * kLength));
    if (four_times <= 8 * once) return;
  }
  ADD_FAILURE() << quoted(unit, 100) << " behind " << quoted(begin) << ": " << once << " s, then "
                << four_times;
}

std::shared_ptr<const Tokenizer> load(const json& parts) {
  return load_tokenizer_json(parts.dump(), "tokenizer.json");
}

/// Every run of up to 64 times "a" is a token, the longer the better; "b" is known alone, all else is not.
json unigram_model() {
  json vocab = json::array({json::array({"<unk>", 0.0}), json::array({"b", -1.0})});
  for (int length = 1; length <= 64; ++length)
    vocab.push_back(json::array({std::string(static_cast<size_t>(length), 'a'), -8.0 - 0.01 * length}));
  return {{"type", "Unigram"}, {"unk_id", 0}, {"vocab", vocab}};
}

TEST(LinearTime, Unigram) {
  const auto tokenizer = load({{"model", unigram_model()}});
  for (const char* unit : {"a", "ab", "b", "\u2603", "a\u2603", " ", "aaaaaaaaaaaaaaaaaaaaaaaaaaab"})
    expect_linear(*tokenizer, unit);
  expect_linear(*tokenizer, "a", "b");
}

TEST(LinearTime, UnigramWithBytes) {
  json model = unigram_model();
  const json bytes = byte_model();
  for (const auto& [token, id] : bytes["vocab"].items()) model["vocab"].push_back(json::array({token, -9.0}));
  model["byte_fallback"] = true;
  const auto tokenizer = load({{"model", model}});
  for (const char* unit : {"\u2603", "a\u2603", "\U0001F999a"}) expect_linear(*tokenizer, unit);
}

TEST(LinearTime, SentencePieceWithCharsmap) {
  for (const char* name : {"spm-unigram", "spm-unigram-bare", "spm-bpe"}) {
    SCOPED_TRACE(name);
    const auto tokenizer = Tokenizer::load(source_dir() / "tests/golden/tokenizers" / name);
    for (const char* unit :
         {"a", "the ", " ", "\u00a0", "\u3000", "e\u0301", "\u0301", "\uFDFA", "\uFB01", "\u2603", "\u200d"})
      expect_linear(*tokenizer, unit);
    expect_linear(*tokenizer, " ", "a");
  }
}

TEST(LinearTime, CharsmapOfTokenizerJson) {
  const json data = json::parse(read_file(source_dir() / "tests/golden/tokenizers/components.json"));
  size_t maps = 0;
  for (const json& entry : data["normalizers"]) {
    if (entry["config"]["type"] != "Precompiled") continue;
    ++maps;
    const auto tokenizer = load({{"model", byte_model()}, {"normalizer", entry["config"]}});
    // the last three are one character to a reader, however long
    for (const char* unit :
         {"a", "e\u0301", "\uFDFA", "\uFB01", "\u1100\u1161\u11a8", "\u0301", "\u200d\U0001F468", "\u0600"})
      expect_linear(*tokenizer, unit, "a");
  }
  EXPECT_GE(maps, 1u);
}

TEST(LinearTime, AddedTokens) {
  json added = json::array();
  const auto add = [&](const std::string& content, const char* flag, bool normalized) {
    json token = {
        {"id", 256 + added.size()}, {"content", content}, {"special", true}, {"normalized", normalized}};
    if (flag != nullptr) token[flag] = true;
    added.push_back(std::move(token));
  };
  for (const bool normalized : {false, true}) {
    const std::string mark = normalized ? "n" : "p";
    add(cat("<", mark, ">"), nullptr, normalized);
    add(cat("<l", mark, ">"), "lstrip", normalized);
    add(cat("<r", mark, ">"), "rstrip", normalized);
    add(cat("<w", mark, ">"), "single_word", normalized);
    add(cat(std::string(500, 'a'), mark), nullptr, normalized);  // nearly there, at every place
    for (size_t length = 1; length <= 64; length *= 2)
      add(cat(mark, std::string(length, '<')), nullptr, normalized);
  }
  add("\t", "rstrip", false);
  add("\n", "lstrip", false);
  const auto tokenizer = load({{"model", byte_model()}, {"added_tokens", added}});
  for (const char* unit : {"\t", "\n", "<p>", "<n>", "<lp>", "<rn>", " <lp>", " <ln>", "<rp> ", "<rn> ",
                           "x<wp>", " <wn> ", "a", "<", "p<", "<p", " ", "          <lp>", "          x<ln>"})
    expect_linear(*tokenizer, unit);
  for (const char* begin : {"<rp>", "<rn>"}) expect_linear(*tokenizer, " ", begin);
}

}  // namespace
}  // namespace gptq::test
