// Calibration data: what texts are cut into, and what is read from files of JSON.
#include "quant/calibration.h"

#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "quant/calibration_text.h"
#include "quant/calibration_tokenizer.h"
#include "support/reference.h"

namespace gptq::test {
namespace {

std::shared_ptr<const Tokenizer> tokenizer() { return Tokenizer::load(source_dir() / "samples/model"); }

std::string text() { return read_file(source_dir() / "samples/stories.txt"); }

std::vector<int32_t> ids_of(const std::string& document) {
  return tokenizer()->encode(document, AddSpecial::yes, ParseSpecial::yes);
}

CutOptions cut_options(int64_t samples, int64_t length, std::optional<uint64_t> seed = std::nullopt) {
  return {.samples = samples, .length = length, .seed = seed, .vocab = 4096, .eos = 2};
}

Sequences cut(const std::string& document, const CutOptions& options) {
  return cut_documents(*tokenizer(), std::span(&document, 1), options).sequences;
}

TEST(Calibration, CutsConsecutiveSequences) {
  const auto ids = ids_of(text());
  const Sequences sequences = cut(text(), cut_options(5, 100));
  ASSERT_EQ(sequences.size(), 5u);
  for (size_t s = 0; s < 5; ++s) {
    EXPECT_EQ(sequences[s], std::vector<int32_t>(ids.begin() + static_cast<int64_t>(s) * 100,
                                                 ids.begin() + static_cast<int64_t>(s + 1) * 100));
  }
}

TEST(Calibration, DrawsAtRandomWithoutRepetition) {
  const Sequences all = cut(text(), cut_options(1000, 50));
  const Sequences drawn = cut(text(), cut_options(8, 50, 1));
  ASSERT_EQ(drawn.size(), 8u);
  EXPECT_EQ(std::set(drawn.begin(), drawn.end()).size(), 8u);
  for (const auto& sequence : drawn) EXPECT_NE(std::find(all.begin(), all.end(), sequence), all.end());
  EXPECT_EQ(drawn, cut(text(), cut_options(8, 50, 1)));
  EXPECT_NE(drawn, cut(text(), cut_options(8, 50, 2)));
  EXPECT_NE(drawn, Sequences(all.begin(), all.begin() + 8));
}

TEST(Calibration, ShortTexts) {
  const Sequences one = cut("Once upon a time there was a cat.", cut_options(128, 512));
  ASSERT_EQ(one.size(), 1u);
  EXPECT_LT(one[0].size(), 20u);
  try {
    cut("", cut_options(1, 10));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::invalid_argument);
  }
}

TEST(Calibration, IdsBeyondTheEmbedding) {
  CutOptions options = cut_options(1, 100);
  options.vocab = 300;
  try {
    cut(text(), options);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::range);
  }
}

std::vector<std::string> documents() {
  return {"Once upon a time there was a little dog who lived in a big house.", "The end.",
          "A girl named Lily went to the park with her mother today."};
}

TEST(Calibration, PackedDocumentsHaveTheEndBetweenThem) {
  std::vector<int32_t> joined;
  for (const std::string& document : documents()) {
    if (!joined.empty()) joined.push_back(2);
    const auto ids = ids_of(document);
    joined.insert(joined.end(), ids.begin(), ids.end());
  }
  const CutText packed = cut_documents(*tokenizer(), documents(), cut_options(100, 12));
  EXPECT_EQ(packed.too_short, 0);
  ASSERT_EQ(packed.sequences.size(), joined.size() / 12);
  std::vector<int32_t> again;
  for (const auto& sequence : packed.sequences) {
    EXPECT_EQ(sequence.size(), 12u);
    again.insert(again.end(), sequence.begin(), sequence.end());
  }
  joined.resize(again.size());
  EXPECT_EQ(again, joined);
  // what is asked for does not change the rest
  const CutText first = cut_documents(*tokenizer(), documents(), cut_options(1, 12));
  EXPECT_EQ(first.sequences, Sequences(packed.sequences.begin(), packed.sequences.begin() + 1));
}

TEST(Calibration, DocumentsOnTheirOwnKeepTheirEnds) {
  CutOptions options = cut_options(100, 12);
  options.packing = Packing::no;
  const CutText single = cut_documents(*tokenizer(), documents(), options);
  Sequences wanted;
  int64_t too_short = 0;
  for (const std::string& document : documents()) {
    const auto ids = ids_of(document);
    for (size_t at = 0; at < ids.size(); at += 12) {
      const size_t end = std::min(ids.size(), at + 12);
      if (end - at < 10) {
        ++too_short;
      } else {
        wanted.emplace_back(ids.begin() + static_cast<int64_t>(at), ids.begin() + static_cast<int64_t>(end));
      }
    }
  }
  EXPECT_EQ(single.sequences, wanted);
  EXPECT_EQ(single.too_short, too_short);
  EXPECT_GE(too_short, 1);
  const std::string dull[] = {"Hi.", "The end."};
  try {
    cut_documents(*tokenizer(), dull, options);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::invalid_argument);
    EXPECT_NE(std::string(error.what()).find("none of the 2"), std::string::npos) << error.what();
  }
}

Spec small_spec() {
  Spec spec;
  spec.vocab = 100;
  spec.context = 8;
  return spec;
}

CalibrationData parse(std::string_view text, CalibrationFormat format) {
  CalibrationData data;
  parse_calibration(text, format, small_spec(), data);
  return data;
}

TEST(CalibrationText, LinesOfJson) {
  const auto data = parse(
      "{\"text\": \"one\\nline\", \"id\": 7}\r\n\n\"two\"\n[1, 2, 99]\n"
      "{\"input_ids\": [5], \"attention_mask\": [1]}\n   \n{\"text\": \"\"}",
      CalibrationFormat::jsonl);
  EXPECT_EQ(data.documents, (std::vector<std::string>{"one\nline", "two", ""}));
  EXPECT_EQ(data.sequences, (Sequences{{1, 2, 99}, {5}}));
}

TEST(CalibrationText, Arrays) {
  const auto data = parse(R"([[1, 2], {"input_ids": [3]}, "a", {"text": "b"}])", CalibrationFormat::json);
  EXPECT_EQ(data.documents, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(data.sequences, (Sequences{{1, 2}, {3}}));
  EXPECT_EQ(parse("[4, 5, 6]", CalibrationFormat::json).sequences, (Sequences{{4, 5, 6}}));
  EXPECT_TRUE(parse("[]", CalibrationFormat::json).sequences.empty());
}

TEST(CalibrationText, PlainTextIsOneDocument) {
  EXPECT_EQ(parse("{\"text\": 1}\r\n[", CalibrationFormat::text).documents,
            std::vector<std::string>{"{\"text\": 1}\r\n["});
}

TEST(CalibrationText, ChatsBecomeDocuments) {
  const ChatText chat_text = [](std::string_view json) -> std::string {
    if (json.find("refuse") != json.npos) throw Error(Status::invalid_argument, "t.jinja: line 1: no");
    return cat("<", json, ">");
  };
  CalibrationData data;
  const std::string chat = R"({"tools": [], "messages": []})";  // its keys keep their order
  parse_calibration(cat("\"a\"\n", chat), CalibrationFormat::jsonl, Spec{}, data, chat_text);
  parse_calibration(R"([{"messages": []}])", CalibrationFormat::json, Spec{}, data, chat_text);
  EXPECT_EQ(data.documents, (std::vector<std::string>{"a", cat("<", chat, ">"), R"(<{"messages":[]}>)"}));
  try {
    parse_calibration("\n{\"messages\": \"refuse\"}", CalibrationFormat::jsonl, Spec{}, data, chat_text);
    FAIL() << "took it";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "calibration line 2: 'messages': t.jinja: line 1: no");
    EXPECT_EQ(error.status(), Status::invalid_argument);
  }
}

TEST(CalibrationText, TheFirstTokenOfAChatIsThereOnce) {
  const TemporaryFolder folder;
  const fs::path source = source_dir() / "samples/model";
  auto config = nlohmann::json::parse(read_file(source / "tokenizer.json"));
  config["post_processor"] = nlohmann::json::parse(R"({"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
      "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}})");
  write_file(folder / "tokenizer.json", config.dump());
  fs::copy(source / "tokenizer_config.json", folder / "tokenizer_config.json");
  write_file(folder / "chat_template.jinja", "{{ bos_token }}{{ messages[0].content }}</s>");
  CalibrationTokenizer tokenizer(folder.path());
  const std::string chat = R"([{"content": "<s>Once"}])";
  EXPECT_EQ(tokenizer.chat_text(chat), "<s>Once</s>");  // the template's is gone
  for (const char* name : {"tokenizer.json", "chat_template.jinja"}) fs::remove(folder / name);
  EXPECT_EQ(tokenizer.chat_text(chat), "<s>Once</s>");  // they were read once
  EXPECT_EQ(tokenizer.tokenizer().token_id("</s>"), 1);
  tokenizer.release();
  EXPECT_THROW(tokenizer.tokenizer(), Error);
  EXPECT_THROW(tokenizer.chat_text(chat), Error);
}

TEST(CalibrationText, WhatIsWrongIsNamed) {
  constexpr auto jsonl = CalibrationFormat::jsonl, json = CalibrationFormat::json;
  struct Case {
    CalibrationFormat format;
    std::string text;
    Fault fault;
    const char* says;
  };
  const Case cases[] = {
      {jsonl, "{\"text\":\"a\"}\n{\"text\":\"a\"", Fault::format, "calibration line 2"},
      {jsonl, "\n\n{\"txt\":\"a\"}", Fault::format,
       "line 3 has neither 'text' nor 'messages' nor 'input_ids'"},
      {jsonl, "{\"text\":4}", Fault::format, "line 1: 'text'"},
      {jsonl, "{\"text\":null}", Fault::format, "line 1"},
      {jsonl, "true", Fault::format, "line 1"},
      {jsonl, "{\"messages\":[]}", Fault::unsupported, "line 1 has 'messages'"},
      {jsonl, "{\"text\":\"a\",\"text\":\"b\"}", Fault::duplicate, "line 1"},
      {jsonl, "\"a\"\n\"\xFF\"", Fault::format, "line 2"},
      {jsonl, "[1]\n[1,100]", Fault::range, "line 2: token 1 is '100', wanted 0 to 99"},
      {jsonl, "[-1]", Fault::range, "token 0 is '-1'"},
      {jsonl, "[1.0]", Fault::range, "token 0"},
      {jsonl, "[99999999999999999999]", Fault::range, "token 0"},
      {jsonl, "[\"1\"]", Fault::range, "token 0"},
      {jsonl, "[]", Fault::range, "line 1 has 0 tokens"},
      {jsonl, "[1,1,1,1,1,1,1,1,1]", Fault::range, "line 1 has 9 tokens"},
      {jsonl, "{\"input_ids\":7}", Fault::format, "'input_ids'"},
      {jsonl, std::string(100'000, '['), Fault::limit, "line 1"},
      {json, "{}", Fault::format, "array"},
      {json, "[[1],[200]]", Fault::range, "item 2: token 0"},
      {json, "[1,[2]]", Fault::range, "token 1"},
      {json, "[[1]", Fault::format, "calibration"},
      {CalibrationFormat::text, "ab\xC3", Fault::format, "byte 2 is not UTF-8"},
      {CalibrationFormat::text, std::string("ab\0\xED\xA0\x80", 6), Fault::format, "byte 3"},
  };
  for (const Case& c : cases) {
    try {
      parse(c.text, c.format);
      ADD_FAILURE() << c.text.substr(0, 80);
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), c.fault) << error.what();
      EXPECT_NE(std::string(error.what()).find(c.says), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace gptq::test
