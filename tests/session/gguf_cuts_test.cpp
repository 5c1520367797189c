// Byte-level vocabularies of GGUF files: words are cut as llama.cpp does, for every name that is known.
#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "base/staged_file.h"
#include "base/text.h"
#include "format/gguf_tokenizer.h"
#include "format/gguf_writer.h"
#include "session/model.h"
#include "support/test_data.h"

namespace gptq::test {
namespace {

const Progress kQuiet = [](int64_t, int64_t, const std::string&) {};

/// GPT-2's letters for the bytes of `text`, one each.
std::vector<std::string> letters_of(std::string_view text) {
  std::vector<std::string> letters;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
    const int code = plain ? byte : byte <= 32 ? 256 + byte : byte == 173 ? 256 + 67 : 256 + 33 + byte - 127;
    letters.push_back(
        code < 128 ? std::string(1, static_cast<char>(code))
                   : std::string{static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 63))});
  }
  return letters;
}

struct Vocabulary {
  std::vector<std::string> tokens, merges;
};

/// As make_gguf_cuts.py describes it.
Vocabulary make_vocabulary(const std::vector<std::string>& texts, size_t longest) {
  Vocabulary made;
  std::set<std::string> known;
  for (int byte = 0; byte < 256; ++byte)
    made.tokens.push_back(letters_of(std::string(1, static_cast<char>(byte))).front());
  for (const std::string& text : texts) {
    const auto letters = letters_of(text);
    for (size_t begin = 0; begin < letters.size(); ++begin) {
      std::string token = letters[begin];
      for (size_t end = begin + 1; end < std::min(begin + longest, letters.size()); ++end) {
        const std::string merge = cat(token, " ", letters[end]);
        token += letters[end];
        if (!known.insert(token).second) continue;
        made.tokens.push_back(token);
        made.merges.push_back(merge);
      }
    }
  }
  return made;
}

/// Whether the file says that no token stands before texts.
enum class Begin : uint8_t { never, unsaid };

void write_gguf(const fs::path& path, const std::string& name, const Vocabulary& vocabulary,
                Begin begin = Begin::never) {
  GgufSettings settings;
  settings.text("tokenizer.ggml.model", "gpt2");
  settings.text("tokenizer.ggml.pre", name);
  settings.texts("tokenizer.ggml.tokens", vocabulary.tokens);
  settings.texts("tokenizer.ggml.merges", vocabulary.merges);
  settings.integer("tokenizer.ggml.bos_token_id", 0);
  if (begin == Begin::never) settings.boolean("tokenizer.ggml.add_bos_token", false);
  StagedFile file(path, Overwrite::yes);
  GgufWriter(file.writer(), settings, {});
  file.commit();
}

std::string token_lengths(const Tokenizer& tokenizer, const std::string& text) {
  std::string lengths;
  for (const int32_t id : tokenizer.encode(text, AddSpecial::no, ParseSpecial::no)) {
    const std::string_view token = tokenizer.token_text(id);
    const auto letters = std::count_if(token.begin(), token.end(), [](char c) { return (c & 0xC0) != 0x80; });
    lengths += cat(lengths.empty() ? "" : " ", letters);
  }
  return lengths;
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words(1);
  for (const char c : text) {
    if (c == ' ') {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  return words;
}

/// `lengths`: of the tokens of each text, null where llama.cpp does other than the model.
void check_lengths(const fs::path& path, const std::vector<std::string>& texts,
                   const nlohmann::json& lengths) {
  ModelOptions options;
  options.weights = LoadWeights::no;
  const auto model = Model::load(path, options, kQuiet);
  ASSERT_EQ(lengths.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    if (lengths[i].is_null()) continue;
    EXPECT_EQ(token_lengths(*model->tokenizer(), texts[i]), lengths[i]) << texts[i];
  }
}

TEST(GgufCuts, AreThoseOfLlamaCpp) {
  const TemporaryFolder folder;
  const auto golden =
      nlohmann::json::parse(read_file(source_dir() / "tests/golden/tokenizers/gguf_cuts.json"));
  const auto texts = golden["texts"].get<std::vector<std::string>>();
  const Vocabulary vocabulary = make_vocabulary(texts, golden["longest"].get<size_t>());
  std::set<const GgufPreTokenizer*> rows;
  for (const auto& [names, lengths] : golden["lengths"].items()) {
    std::set<const GgufPreTokenizer*> seen;  // names that share their lengths mostly share a row
    for (const std::string& name : words_of(names)) {
      SCOPED_TRACE(name);
      const GgufPreTokenizer* row = find_gguf_pre_tokenizer(name);
      ASSERT_NE(row, nullptr);
      rows.insert(row);
      if (!seen.insert(row).second) continue;
      write_gguf(folder / "vocabulary.gguf", name, vocabulary);
      check_lengths(folder / "vocabulary.gguf", texts, lengths);
    }
  }
  EXPECT_EQ(rows.size(), gguf_pre_tokenizers().size()) << "each row is held against llama.cpp";
}

TEST(GgufCuts, OthersAreRefusedByName) {
  const TemporaryFolder folder;
  for (const std::string name : {"kimi-k2", "afmoe", "gemma4", "whitespace", "klingon"}) {
    write_gguf(folder / "vocabulary.gguf", name, make_vocabulary({"ab"}, 2));
    ModelOptions options;
    options.weights = LoadWeights::no;
    try {
      Model::load(folder / "vocabulary.gguf", options, kQuiet);
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::unsupported);
      EXPECT_NE(std::string(error.what()).find(cat("'", name, "'")), std::string::npos) << error.what();
    }
  }
}

/// Where the file does not say whether texts begin with a token, the name does.
TEST(GgufCuts, NamesThatBeginTexts) {
  const TemporaryFolder folder;
  for (const auto& [name, begun] :
       {std::pair("llama-bpe", true), std::pair("tekken", true), std::pair("chameleon", true),
        std::pair("glm4", false), std::pair("gpt-2", false), std::pair("lfm2", true)}) {
    write_gguf(folder / "vocabulary.gguf", name, make_vocabulary({"ab"}, 2), Begin::unsaid);
    ModelOptions options;
    options.weights = LoadWeights::no;
    const auto model = Model::load(folder / "vocabulary.gguf", options, kQuiet);
    EXPECT_EQ(model->tokenizer()->encode("ab", AddSpecial::yes, ParseSpecial::no).size(), begun ? 2u : 1u)
        << name;
  }
}

}  // namespace
}  // namespace gptq::test
