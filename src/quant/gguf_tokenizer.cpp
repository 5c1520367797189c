#include "quant/gguf_tokenizer.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/folder.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "text/component.h"
#include "text/sentencepiece.h"
#include "text/sentencepiece_file.h"
#include "text/tokenizer.h"
#include "text/tokenizer_events.h"
#include "text/tokenizer_json.h"

namespace gptq {
namespace {

constexpr size_t kLargestFile = size_t{256} << 20;
constexpr std::string_view kSpace = "\xE2\x96\x81";  // U+2581, SentencePiece's blank
constexpr float kNeverMerged = -1e6f;

struct Tokens {
  std::vector<std::string> texts;
  std::vector<int32_t> types;
  std::vector<float> scores;  // of SentencePiece's

  explicit Tokens(int64_t count) : texts(static_cast<size_t>(count)), types(texts.size()) {
    for (size_t id = 0; id < texts.size(); ++id) {  // llama.cpp wants them different from each other
      texts[id] = cat("[PAD", id, "]");
      types[id] = static_cast<int32_t>(GgufTokenType::unused);
    }
  }
  bool has(int64_t id) const { return id >= 0 && static_cast<size_t>(id) < texts.size(); }
  void set(int64_t id, std::string_view text, GgufTokenType type) {
    texts[static_cast<size_t>(id)] = text;
    types[static_cast<size_t>(id)] = static_cast<int32_t>(type);
  }
};

/// What cuts and changes the text before merging, as far as llama.cpp knows it.
struct Stages {
  std::string regex;
  bool byte_level = false, byte_level_cuts = false, digits = false;
  bool blanks_replaced = false, blank_added = false;  // SentencePiece's U+2581
};

[[noreturn]] void refuse(std::string_view what) {
  throw Error(Fault::unsupported, cat("tokenizer.json: llama.cpp has no tokenizer like this one: ", what));
}

const Json* find_part(const Json& rest, std::string_view key) {
  return JsonObject(rest, "tokenizer.json").find({key});
}

void read_normalizers(const Json& rest, Stages& stages) {
  const Json* part = find_part(rest, "normalizer");
  if (part == nullptr) return;
  for_each_component(*part, "tokenizer.json: normalizer", "normalizers",
                     [&](const JsonObject& node, const std::string& type) {
                       if (type == "NFC") return;  // llama.cpp expects composed text
                       if (type == "Prepend" && node.string_or({"prepend"}, "") == kSpace) {
                         stages.blank_added = true;
                       } else if (const auto pattern = node.object({"pattern"});
                                  type == "Replace" && pattern && pattern->string_or({"String"}, "") == " " &&
                                  node.string_or({"content"}, "") == kSpace) {
                         stages.blanks_replaced = true;
                       } else {
                         refuse(cat("normalizer ", type));
                       }
                     });
}

void read_pre_tokenizers(const Json& rest, Stages& stages) {
  const Json* part = find_part(rest, "pre_tokenizer");
  if (part == nullptr) return;
  for_each_component(
      *part, "tokenizer.json: pre_tokenizer", "pretokenizers",
      [&](const JsonObject& node, const std::string& type) {
        if (type == "ByteLevel" && !node.boolean_or({"add_prefix_space"}, true)) {
          stages.byte_level = true;
          stages.byte_level_cuts |= node.boolean_or({"use_regex"}, true);
        } else if (type == "Digits" && node.boolean_or({"individual_digits"}, false)) {
          stages.digits = true;
        } else if (type == "Split" && stages.regex.empty() && !stages.byte_level &&
                   node.string_or({"behavior"}, "") == "Isolated" && !node.boolean_or({"invert"}, false)) {
          stages.regex = node.object({"pattern"}) ? node.object({"pattern"})->string_or({"Regex"}, "") : "";
          if (stages.regex == kGpt2Words) stages.regex.clear(), stages.byte_level_cuts = true;
        } else if (type == "Metaspace" && node.string_or({"replacement"}, kSpace) == kSpace &&
                   !node.boolean_or({"split"}, true)) {
          stages.blanks_replaced = true;
          stages.blank_added = read_prepend_scheme(node) != PrependScheme::never;
        } else {
          refuse(cat("pre-tokenizer ", type));
        }
      });
}

const GgufPreTokenizer& find_pre_tokenizer(const Stages& stages, bool ignore_merges) {
  for (const GgufPreTokenizer& row : gguf_pre_tokenizers()) {
    if (!row.cuts.empty()) continue;
    const bool same_cuts = row.regex == stages.regex && row.regex.empty() == stages.byte_level_cuts;
    if (same_cuts && row.digits == stages.digits && row.ignore_merges == ignore_merges) return row;
  }
  refuse(cat("words are cut by ", stages.regex.empty() ? "other rules" : quoted(stages.regex, 200)));
}

/// Scores that make llama.cpp, which joins the neighbours of the best score, follow the ranks of the merges.
void score_by_merges(const TokenizerJson& json, const Tokenizer& tokenizer, Tokens& tokens) {
  tokens.scores.assign(tokens.texts.size(), kNeverMerged);
  json.merges.for_each([&](size_t rank, std::string_view left, std::string_view right) {
    const auto id = tokenizer.token_id(cat(left, right));
    if (!id || !tokens.has(*id)) return;
    float& score = tokens.scores[static_cast<size_t>(*id)];
    score = std::max(score, -static_cast<float>(rank));
  });
}

/// Whether "<0x0A>" stands for a byte.
enum class ByteTokens : uint8_t { no, yes };

bool is_byte_token(std::string_view text) {
  return text.size() == 6 && text.starts_with("<0x") && text.ends_with(">");
}

/// Returns how many lie outside the embedding.
size_t add_tokens(const JsonObject& root, const Tokenizer& tokenizer, ByteTokens bytes, Tokens& tokens) {
  size_t outside = 0;
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    const std::string_view text = tokenizer.token_text(id);
    if (text.empty()) continue;
    if (!tokens.has(id)) {
      ++outside;
      continue;
    }
    const bool byte = bytes == ByteTokens::yes && is_byte_token(text);
    tokens.set(id, text, byte ? GgufTokenType::byte : GgufTokenType::normal);
  }
  const Json* added = root.find({"added_tokens"});
  if (added == nullptr || !added->is_array()) return outside;
  for (const Json& entry : *added) {
    const JsonObject node(entry, "tokenizer.json: added_tokens");
    const int64_t id = node.integer({"id"}, 0, INT32_MAX);
    if (!tokens.has(id)) continue;
    tokens.set(id, node.string({"content"}),
               node.boolean_or({"special"}, false) ? GgufTokenType::control : GgufTokenType::user_defined);
  }
  return outside;
}

void add_from_json(GgufSettings& settings, const fs::path& folder, const Tokenizer& tokenizer,
                   Tokens& tokens) {
  const TokenizerJson json =
      parse_tokenizer_json(read_text_file(join(folder, "tokenizer.json"), kLargestFile), "tokenizer.json");
  const JsonObject root(json.rest, "tokenizer.json");
  const auto model = root.object({"model"});
  const std::string type = model ? model->string_or({"type"}, "BPE") : "";
  if (type != "BPE") refuse(cat("model ", type));
  Stages stages;
  read_normalizers(json.rest, stages);
  read_pre_tokenizers(json.rest, stages);
  const bool spaces = stages.blanks_replaced && !stages.byte_level && stages.regex.empty();
  if (!spaces && (!stages.byte_level || stages.blanks_replaced || stages.blank_added))
    refuse("it is neither byte-level nor SentencePiece's");
  if (spaces && !model->boolean_or({"byte_fallback"}, false))
    refuse("unknown characters do not become bytes");
  const size_t outside = add_tokens(root, tokenizer, spaces ? ByteTokens::yes : ByteTokens::no, tokens);
  if (outside > 0)
    log(LogLevel::warning,
        cat("tokenizer.json: ", outside, " tokens have no row of the embedding and were left out"));
  if (spaces) {
    if (const auto unk = tokenizer.token_id(model->string_or({"unk_token"}, "<unk>"));
        unk && tokens.has(*unk))
      tokens.types[static_cast<size_t>(*unk)] = static_cast<int32_t>(GgufTokenType::unknown);
    score_by_merges(json, tokenizer, tokens);
    settings.text("tokenizer.ggml.model", "llama");
    settings.text("tokenizer.ggml.pre", "default");
    settings.boolean("tokenizer.ggml.add_space_prefix", stages.blank_added);
    return;
  }
  settings.text("tokenizer.ggml.model", "gpt2");
  settings.text("tokenizer.ggml.pre",
                find_pre_tokenizer(stages, model->boolean_or({"ignore_merges"}, false)).name);
  std::vector<std::string> merges;
  merges.reserve(json.merges.size());
  json.merges.for_each([&](size_t, std::string_view left, std::string_view right) {
    merges.push_back(cat(left, " ", right));
  });
  settings.texts("tokenizer.ggml.merges", merges);
}

void add_from_sentencepiece(GgufSettings& settings, const fs::path& folder, Tokens& tokens) {
  const std::string name = "tokenizer.model";
  const std::string data = read_text_file(join(folder, name), kLargestFile);
  const SentencePieceFile file = parse_sentencepiece(data, name);
  constexpr int64_t kBpe = 2;
  if (file.model_type != kBpe || file.whitespace_as_suffix || !file.escape_whitespaces ||
      !file.character_map.empty() || !file.byte_fallback) {
    throw Error(Fault::unsupported,
                cat(name,
                    ": llama.cpp has no tokenizer like this one: wanted BPE with bytes for "
                    "unknown characters and no normalization"));
  }
  tokens.scores.assign(tokens.texts.size(), kNeverMerged);
  for (size_t id = 0; id < std::min(file.pieces.size(), tokens.texts.size()); ++id) {
    const SentencePiece& piece = file.pieces[id];
    tokens.set(static_cast<int64_t>(id), piece.text, static_cast<GgufTokenType>(piece.type));
    tokens.scores[id] = piece.score;
  }
  settings.text("tokenizer.ggml.model", "llama");
  settings.text("tokenizer.ggml.pre", "default");
  settings.boolean("tokenizer.ggml.add_space_prefix", file.add_dummy_prefix);
  settings.boolean("tokenizer.ggml.remove_extra_whitespaces", file.remove_extra_whitespaces);
  if (file.remove_extra_whitespaces)
    log(LogLevel::warning,
        cat(name, " takes several blanks as one, and none at the ends; llama.cpp does not"));
}

/// The template that a chat uses, and "" where there is none.
std::string chat_template(const fs::path& folder, const std::optional<JsonObject>& config) {
  const fs::path own = join(folder, "chat_template.jinja");
  if (file_exists(own)) return read_text_file(own, kLargestFile);
  const Json* found = config ? config->find({"chat_template"}) : nullptr;
  if (found == nullptr) return {};
  if (found->is_string()) return found->get<std::string>();
  if (!found->is_array()) return {};
  for (const Json& entry : *found) {
    const JsonObject node(entry, "tokenizer_config.json: chat_template");
    if (node.string_or({"name"}, "") == "default") return node.string_or({"template"}, "");
  }
  return {};
}

/// Ids that end a text: the tokenizer's own first, then those of the configurations.
std::vector<int32_t> ends_of(const Tokenizer& tokenizer, const Spec& spec) {
  std::vector<int32_t> ends;
  if (const auto own = tokenizer.eos_id()) ends.push_back(*own);
  for (int32_t id : spec.eos) {
    if (std::find(ends.begin(), ends.end(), id) == ends.end()) ends.push_back(id);
  }
  return ends;
}

void add_special(GgufSettings& settings, const fs::path& folder, const Tokenizer& tokenizer, const Spec& spec,
                 const Tokens& tokens) {
  const auto add_id = [&](std::string_view key, std::optional<int32_t> id) {
    if (id && tokens.has(*id)) settings.integer(cat("tokenizer.ggml.", key), static_cast<uint32_t>(*id));
  };
  const auto plain = tokenizer.encode("a", AddSpecial::no, ParseSpecial::no),
             whole = tokenizer.encode("a", AddSpecial::yes, ParseSpecial::no);
  const bool both = !plain.empty() && !whole.empty();  // a template may leave the text out
  const bool begun = both && whole.front() != plain.front();
  const bool ended = both && whole.back() != plain.back();
  // what is added before a text is its beginning, whatever the configurations say
  const auto bos = begun ? std::optional(whole.front()) : tokenizer.bos_id() ? tokenizer.bos_id() : spec.bos;
  add_id("bos_token_id", bos);
  const std::vector<int32_t> ends = ends_of(tokenizer, spec);
  constexpr std::string_view kEnds[] = {"eos_token_id", "eot_token_id", "eom_token_id"};
  for (size_t i = 0; i < std::min(ends.size(), std::size(kEnds)); ++i) add_id(kEnds[i], ends[i]);
  if (ends.size() > std::size(kEnds)) {
    log(LogLevel::warning,
        cat("GGUF names at most ", std::size(kEnds), " tokens that end a text; the model has ", ends.size()));
  }
  const auto unknown =
      std::find(tokens.types.begin(), tokens.types.end(), static_cast<int32_t>(GgufTokenType::unknown));
  if (unknown != tokens.types.end())
    add_id("unknown_token_id", static_cast<int32_t>(unknown - tokens.types.begin()));
  settings.boolean("tokenizer.ggml.add_bos_token", begun);
  settings.boolean("tokenizer.ggml.add_eos_token", ended && !ends.empty() && whole.back() == ends.front());
  JsonDocument json;
  std::optional<JsonObject> config;
  if (const fs::path path = join(folder, "tokenizer_config.json"); file_exists(path)) {
    json = parse_json(read_text_file(path, kLargestFile), "tokenizer_config.json");
    config.emplace(json, "tokenizer_config.json");
    if (const Json* pad = config->find({"pad_token"}); pad != nullptr && pad->is_string())
      add_id("padding_token_id", tokenizer.token_id(pad->get<std::string>()));
  }
  if (const std::string text = chat_template(folder, config); !text.empty())
    settings.text("tokenizer.chat_template", text);
}

}  // namespace

void add_gguf_tokenizer(GgufSettings& settings, const fs::path& folder, const Spec& spec) {
  const bool json = file_exists(join(folder, "tokenizer.json"));
  if (!json && !file_exists(join(folder, "tokenizer.model"))) {
    log(LogLevel::warning, "the folder has no tokenizer: llama.cpp can run the file by token ids alone");
    settings.text("tokenizer.ggml.model", "none");
    return;
  }
  const auto tokenizer = Tokenizer::load(folder);
  Tokens tokens(spec.vocab);
  if (json) {
    add_from_json(settings, folder, *tokenizer, tokens);
  } else {
    add_from_sentencepiece(settings, folder, tokens);
  }
  settings.texts("tokenizer.ggml.tokens", tokens.texts);
  settings.integers("tokenizer.ggml.token_type", tokens.types);
  if (!tokens.scores.empty()) settings.numbers("tokenizer.ggml.scores", tokens.scores);
  add_special(settings, folder, *tokenizer, spec, tokens);
}

std::vector<std::pair<std::string, std::string>> restored_tokenizer(const GgufHeader& header) {
  try {
    auto files = gguf_tokenizer_files(header);
    if (files.empty()) log(LogLevel::warning, "the file has no tokenizer: the folder is without one");
    for (const auto& [name, text] : files) {  // nothing is written that can't be read
      if (name == "tokenizer.json") load_tokenizer_json(text, name);
      if (name == "tokenizer.model") load_sentencepiece(text, name);
    }
    return files;
  } catch (const Error& error) {
    if (error.status() == Status::out_of_memory) throw;
    log(LogLevel::warning, cat("the tokenizer can't be restored, the folder is without one: ", error.what()));
    return {};
  }
}

}  // namespace gptq
