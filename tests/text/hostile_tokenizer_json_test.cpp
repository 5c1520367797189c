// tokenizer.json files that are wrong, too large or made to be slow: each has its fault.
#include <chrono>
#include <functional>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "reference.h"
#include "support/sanitized.h"
#include "text/tokenizer_json.h"

namespace gptq::test {
namespace {

/// A tokenizer of single letters and a few merges, to be spoilt.
Json good() {
  return Json::parse(R"({
    "added_tokens": [{"id": 9, "content": "<s>", "special": true, "normalized": false}],
    "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": {"type": "Fuse"},
    "model": {"type": "BPE", "unk_token": null,
      "vocab": {"a": 0, "b": 1, "ab": 2, "c": 3, "abc": 4, " ": 5, "<0x41>": 6, "aa": 7, "<unk>": 8},
      "merges": ["a b", "ab c", "a a"]}})");
}

std::shared_ptr<const Tokenizer> load(const Json& json) {
  return load_tokenizer_json(print_json(json), "tokenizer.json");
}

Fault fault_of(const std::function<void()>& action, std::string* message = nullptr) {
  try {
    action();
  } catch (const Error& error) {
    if (message != nullptr) *message = error.what();
    EXPECT_NE(std::string(error.what()).find("tokenizer.json"), std::string::npos) << error.what();
    return error.fault();
  }
  return Fault::none;
}

struct Case {
  const char* name;
  Fault fault;
  std::function<void(Json&)> spoil;
};

Json sequence(int depth) {
  Json json = {{"type", "NFC"}};
  for (int i = 0; i < depth; ++i)
    json = {{"type", "Sequence"}, {"normalizers", Json::array({std::move(json)})}};
  return json;
}

Json split(const char* regex) {
  return {{"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", "Isolated"}, {"invert", false}};
}

const Case kCases[] = {
    {"as it is", Fault::none, [](Json&) {}},
    {"merges as pairs", Fault::none,
     [](Json& j) { j["model"]["merges"] = Json::parse("[[\"a\", \"b\"], [\"ab\", \"c\"]]"); }},
    {"id twice", Fault::range, [](Json& j) { j["model"]["vocab"]["b"] = 0; }},
    {"id negative", Fault::range, [](Json& j) { j["model"]["vocab"]["b"] = -1; }},
    {"id 2^31", Fault::range, [](Json& j) { j["model"]["vocab"]["b"] = 2147483648; }},
    {"id 2^64 - 1", Fault::range, [](Json& j) { j["model"]["vocab"]["b"] = UINT64_MAX; }},
    {"id far away", Fault::range, [](Json& j) { j["model"]["vocab"]["b"] = 2000000000; }},
    {"id a fraction", Fault::format, [](Json& j) { j["model"]["vocab"]["b"] = 1.5; }},
    {"id a string", Fault::format, [](Json& j) { j["model"]["vocab"]["b"] = "1"; }},
    {"id a list", Fault::format, [](Json& j) { j["model"]["vocab"]["b"] = Json::array(); }},
    {"merge of an absent token", Fault::format, [](Json& j) { j["model"]["merges"].push_back("a z"); }},
    {"merge to an absent token", Fault::format, [](Json& j) { j["model"]["merges"].push_back("b b"); }},
    {"merge of one part", Fault::format, [](Json& j) { j["model"]["merges"].push_back("ab"); }},
    {"merge of three parts", Fault::format, [](Json& j) { j["model"]["merges"].push_back("a b c"); }},
    {"merge pair of one", Fault::format, [](Json& j) { j["model"]["merges"] = Json::parse("[[\"a\"]]"); }},
    {"merge pair of three", Fault::format,
     [](Json& j) { j["model"]["merges"] = Json::parse("[[\"a\", \"b\", \"c\"]]"); }},
    {"merge a number", Fault::format, [](Json& j) { j["model"]["merges"] = {1}; }},
    {"merge pair in a pair", Fault::format,
     [](Json& j) { j["model"]["merges"] = Json::parse("[[[\"a\"]]]"); }},
    {"byte token <0x-1>", Fault::format,
     [](Json& j) { j["model"]["byte_fallback"] = true, j["model"]["vocab"]["<0x-1>"] = 10; }},
    {"byte token <0xZZ>", Fault::format,
     [](Json& j) { j["model"]["byte_fallback"] = true, j["model"]["vocab"]["<0xZZ>"] = 10; }},
    {"byte token <0x100>", Fault::format,
     [](Json& j) { j["model"]["byte_fallback"] = true, j["model"]["vocab"]["<0x100>"] = 10; }},
    {"added token empty", Fault::format, [](Json& j) { j["added_tokens"][0]["content"] = ""; }},
    {"added token twice", Fault::duplicate,
     [](Json& j) { j["added_tokens"].push_back(j["added_tokens"][0]); }},
    {"added id twice", Fault::duplicate,
     [](Json& j) {
       j["added_tokens"].push_back({{"id", 9}, {"content", "<t>"}});
     }},
    {"added id taken", Fault::duplicate, [](Json& j) { j["added_tokens"][0]["id"] = 1; }},
    {"added token with another id", Fault::mismatch, [](Json& j) { j["added_tokens"][0]["content"] = "a"; }},
    {"added id negative", Fault::range, [](Json& j) { j["added_tokens"][0]["id"] = -1; }},
    {"added id 2^31", Fault::range, [](Json& j) { j["added_tokens"][0]["id"] = 2147483648; }},
    {"added id far away", Fault::range, [](Json& j) { j["added_tokens"][0]["id"] = 2147483647; }},
    {"added token too long", Fault::limit,
     [](Json& j) { j["added_tokens"][0]["content"] = std::string(5000, 'x'); }},
    {"added tokens an object", Fault::format, [](Json& j) { j["added_tokens"] = Json::object(); }},
    {"regex invalid", Fault::unsupported, [](Json& j) { j["pre_tokenizer"] = split("(a"); }},
    {"regex unknown escape", Fault::unsupported, [](Json& j) { j["pre_tokenizer"] = split("\\Qa\\E"); }},
    {"regex intersection", Fault::none, [](Json& j) { j["pre_tokenizer"] = split("[a-z&&[^b]]"); }},
    {"regex sets 10,000 deep", Fault::unsupported,
     [](Json& j) {
       j["pre_tokenizer"] = split((std::string(10000, '[') + std::string(10000, ']')).c_str());
     }},
    {"regex unknown property", Fault::unsupported,
     [](Json& j) { j["pre_tokenizer"] = split("\\p{Klingon}"); }},
    {"regex unknown class", Fault::unsupported, [](Json& j) { j["pre_tokenizer"] = split("[[:vowel:]]"); }},
    {"charsmap that is not Base64", Fault::format,
     [](Json& j) {
       j["normalizer"] = {{"type", "Precompiled"}, {"precompiled_charsmap", "!"}};
     }},
    {"charsmap cut", Fault::truncated,
     [](Json& j) {
       j["normalizer"] = {{"type", "Precompiled"}, {"precompiled_charsmap", "////AAAA"}};
     }},
    {"pieces of length 0", Fault::range,
     [](Json& j) {
       j["pre_tokenizer"] = {{"type", "FixedLength"}, {"length", 0}};
     }},
    {"regex recursion", Fault::unsupported, [](Json& j) { j["pre_tokenizer"] = split("(a(?R)?b)"); }},
    {"regex verb", Fault::unsupported, [](Json& j) { j["pre_tokenizer"] = split("(*LIMIT_MATCH=1)a"); }},
    {"regex unbounded lookbehind", Fault::unsupported,
     [](Json& j) { j["pre_tokenizer"] = split("(?<=a+)b"); }},
    {"regex ends in a backslash", Fault::unsupported, [](Json& j) { j["pre_tokenizer"] = split("a\\"); }},
    {"regex nested 1,000 deep", Fault::unsupported,
     [](Json& j) { j["pre_tokenizer"] = split((std::string(1000, '(') + std::string(1000, ')')).c_str()); }},
    {"regex of 1 MB", Fault::limit,
     [](Json& j) { j["pre_tokenizer"] = split(std::string(1 << 20, 'a').c_str()); }},
    {"sequences 20 deep", Fault::none, [](Json& j) { j["normalizer"] = sequence(20); }},
    {"sequences 200 deep", Fault::limit, [](Json& j) { j["normalizer"] = sequence(200); }},
    {"sequence of 10,000", Fault::limit,
     [](Json& j) {
       j["normalizer"] = {{"type", "Sequence"}, {"normalizers", std::vector<Json>(10000, {{"type", "NFC"}})}};
     }},
    {"sequence without a list", Fault::format,
     [](Json& j) {
       j["normalizer"] = {{"type", "Sequence"}};
     }},
    {"normalizer unknown", Fault::unsupported,
     [](Json& j) {
       j["normalizer"] = {{"type", "Klingon"}};
     }},
    {"pre-tokenizer unknown", Fault::unsupported,
     [](Json& j) {
       j["pre_tokenizer"] = {{"type", "Klingon"}};
     }},
    {"post-processor unknown", Fault::unsupported,
     [](Json& j) {
       j["post_processor"] = {{"type", "X"}};
     }},
    {"decoder unknown", Fault::unsupported,
     [](Json& j) {
       j["decoder"] = {{"type", "CTC"}};
     }},
    {"component a string", Fault::format, [](Json& j) { j["normalizer"] = "NFC"; }},
    {"component without a type", Fault::format, [](Json& j) { j["normalizer"] = Json::object(); }},
    {"model unknown", Fault::unsupported, [](Json& j) { j["model"]["type"] = "WordPiece"; }},
    {"model absent", Fault::format, [](Json& j) { j.erase("model"); }},
    {"vocab absent", Fault::format, [](Json& j) { j["model"].erase("vocab"); }},
    {"merges absent", Fault::format, [](Json& j) { j["model"].erase("merges"); }},
    {"dropout", Fault::unsupported, [](Json& j) { j["model"]["dropout"] = 0.1; }},
    {"word suffix", Fault::none, [](Json& j) { j["model"]["end_of_word_suffix"] = "</w>"; }},
    {"empty prefix", Fault::none, [](Json& j) { j["model"]["continuing_subword_prefix"] = ""; }},
    {"unknown token unknown", Fault::mismatch, [](Json& j) { j["model"]["unk_token"] = "<none>"; }},
    {"template with an id too large", Fault::range,
     [](Json& j) {
       j["post_processor"] = {{"type", "TemplateProcessing"},
                              {"single", {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}}}},
                              {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {100}}}}}}};
     }},
    {"strip of 2 characters", Fault::format,
     [](Json& j) {
       j["decoder"] = {{"type", "Strip"}, {"content", "ab"}, {"start", 1}, {"stop", 0}};
     }},
    {"strip negative", Fault::range,
     [](Json& j) {
       j["decoder"] = {{"type", "Strip"}, {"content", "a"}, {"start", -1}, {"stop", 0}};
     }},
    {"behavior unknown", Fault::format,
     [](Json& j) { j["pre_tokenizer"] = split("a"), j["pre_tokenizer"]["behavior"] = "Merged"; }},
};

TEST(HostileTokenizerJson, EachHasItsFault) {
  for (const Case& c : kCases) {
    Json json = good();
    c.spoil(json);
    std::string message;
    EXPECT_EQ(fault_name(fault_of([&] { load(json); }, &message)), fault_name(c.fault))
        << c.name << ": " << message;
  }
}

TEST(HostileTokenizerJson, IllFormedText) {
  const std::string text = print_json(good());
  const auto fault = [&](std::string_view json) {
    return fault_of([&] { load_tokenizer_json(json, "tokenizer.json"); });
  };
  for (size_t n = 0; n < text.size(); n += 7) EXPECT_EQ(fault(text.substr(0, n)), Fault::format) << n;
  EXPECT_EQ(fault(text + "x"), Fault::format);
  EXPECT_EQ(fault(std::string(100000, '[')), Fault::limit);
  EXPECT_EQ(fault("[]"), Fault::format);
  EXPECT_EQ(fault(R"({"model": {"type": "BPE", "vocab": {"a": 0, "a": 1}, "merges": []}})"),
            Fault::duplicate);
  EXPECT_EQ(fault(R"({"model": {"type": "Unigram", "unk_id": 0, "vocab": [["a", NaN]]}})"), Fault::format);
  EXPECT_EQ(fault(R"({"model": {"vocab": {"a": 0}}})"), Fault::format) << "neither type nor merges";
  const auto unigram = [&](const std::string& rest) {
    return fault("{\"model\": {\"type\": \"Unigram\"" + rest + "}}");
  };
  EXPECT_EQ(unigram(R"(, "unk_id": 0, "vocab": [["a", -1.5], ["b", -2], ["b", -1e-3]])"), Fault::none);
  EXPECT_EQ(unigram(R"(, "unk_id": null, "vocab": [["a", 0.5]])"), Fault::none);
  EXPECT_EQ(unigram(R"(, "unk_id": 1, "vocab": [["a", 0.5]])"), Fault::range);
  EXPECT_EQ(unigram(R"(, "vocab": [])"), Fault::format);
  EXPECT_EQ(unigram(R"(, "vocab": {"a": 0})"), Fault::format);
  EXPECT_EQ(unigram(""), Fault::format);
  for (const char* token : {"[\"a\"]", "[0.5]", "[0.5, \"a\"]", "[\"a\", \"b\"]", "[\"a\", 1, 2]",
                            "[\"a\", [1]]", "[[\"a\", 1]]", "{\"a\": 1}", "\"a\"", "[\"a\", null]"}) {
    EXPECT_EQ(unigram(cat(", \"vocab\": [[\"x\", 0], ", token, "]")), Fault::format) << token;
  }
  EXPECT_EQ(unigram(cat(", \"vocab\": [[\"", std::string(5000, 'a'), "\", 0]]")), Fault::limit);
}

TEST(HostileTokenizerJson, RegexThatWouldTakeForEver) {
  Json json = good();
  json["pre_tokenizer"] = split("(a+)+z");
  const auto tokenizer = load(json);
  EXPECT_EQ(
      fault_of([&] { tokenizer->encode(std::string(100, 'a') + "bz", AddSpecial::no, ParseSpecial::yes); }),
      Fault::limit);
}

TEST(HostileTokenizerJson, IdsThatAreNotThere) {
  const auto tokenizer = load(good());
  for (int32_t id : {-1, INT32_MIN, 10, INT32_MAX}) {
    const std::vector<int32_t> ids = {0, id};
    EXPECT_EQ(fault_of([&] { tokenizer->decode(ids, SkipSpecial::no); }), Fault::range) << id;
    StreamDecoder stream(tokenizer, SkipSpecial::no);
    EXPECT_EQ(fault_of([&] { stream.push(id); }), Fault::range) << id;
  }
}

TEST(HostileTokenizerJson, NulAndInvalidUtf8InTheText) {
  const auto tokenizer = Tokenizer::load(source_dir() / "tests/golden/tokenizers/gpt2-style");
  const auto round_trip = [&](std::string_view text) {
    return tokenizer->decode(tokenizer->encode(text, AddSpecial::no, ParseSpecial::yes), SkipSpecial::no);
  };
  EXPECT_EQ(round_trip(std::string_view("a\0b", 3)), std::string_view("a\0b", 3));
  EXPECT_EQ(round_trip("a\xFF"
                       "b"),
            "a\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(round_trip("\xE6\x97"), "\xEF\xBF\xBD");
  EXPECT_EQ(round_trip("\xED\xA0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(HostileTokenizerJson, LongRunsAreNotQuadratic) {
  constexpr size_t kLength = kSanitized ? 1 << 17 : 1 << 20;  // quadratic would be minutes, or hours
  for (const char* name :
       {"gpt2-style", "llama3-style", "qwen2-style", "llama2-style-json", "llama2-style-model"}) {
    const auto tokenizer = Tokenizer::load(source_dir() / "tests/golden/tokenizers" / name);
    for (const std::string unit : {"a", " ", "\n", "\xCC\x81\xCC\xA3", "ab", "<"}) {
      std::string text;
      while (text.size() < kLength) text += unit;
      const auto begin = std::chrono::steady_clock::now();
      const auto ids = tokenizer->encode(text, AddSpecial::no, ParseSpecial::yes);
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
      EXPECT_LT(seconds.count(), 30) << name << " " << gptq::quoted(unit);
      EXPECT_FALSE(ids.empty());
    }
  }
}

TEST(HostileTokenizerJson, FolderWithoutTokenizer) {
  TemporaryFolder folder;
  try {
    Tokenizer::load(folder.path());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::not_found);
  }
}

}  // namespace
}  // namespace gptq::test
