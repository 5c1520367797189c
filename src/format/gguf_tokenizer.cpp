// See gguf_tokenizer.h.
#include "format/gguf_tokenizer.h"

#include <algorithm>
#include <bit>
#include <span>

#include "base/error.h"
#include "base/json_writer.h"
#include "base/text.h"

namespace gptq {
namespace {

struct Stored {
  const std::vector<std::string>& tokens;
  std::vector<GgufTokenType> types;  // as many
  bool add_bos = false;
  std::optional<int64_t> bos{}, eos{}, unknown{}, padding{};
};

std::optional<int64_t> token_id(const GgufHeader& header, std::string_view key, size_t tokens) {
  return header.integer(cat("tokenizer.ggml.", key), 0, static_cast<int64_t>(tokens) - 1);
}

Stored read_stored(const GgufHeader& header) {
  const auto* tokens = header.texts("tokenizer.ggml.tokens");
  const auto* types = header.integers("tokenizer.ggml.token_type");
  if (tokens == nullptr) header.refuse(Fault::mismatch, "tokenizer.ggml.tokens", "is missing");
  Stored stored{.tokens = *tokens, .types = std::vector(tokens->size(), GgufTokenType::normal)};
  if (types != nullptr && types->size() != tokens->size())
    header.refuse(Fault::mismatch, "tokenizer.ggml.token_type", "is not as long as the tokens");
  for (size_t id = 0; types != nullptr && id < types->size(); ++id) {
    const int64_t type = (*types)[id];
    if (type < 1 || type > 6)
      header.refuse(Fault::range, "tokenizer.ggml.token_type", cat(type, ", wanted 1 to 6"));
    stored.types[id] = static_cast<GgufTokenType>(type);
  }
  stored.bos = token_id(header, "bos_token_id", tokens->size());
  stored.eos = token_id(header, "eos_token_id", tokens->size());
  stored.unknown = token_id(header, "unknown_token_id", tokens->size());
  stored.padding = token_id(header, "padding_token_id", tokens->size());
  // there is one unknown token; others of the kind are taken as control tokens
  for (size_t id = 0; stored.unknown && id < tokens->size(); ++id) {
    const bool named = static_cast<int64_t>(id) == *stored.unknown;
    if (named && stored.types[id] == GgufTokenType::control && header.has("tokenizer.ggml.scores"))
      stored.types[id] = GgufTokenType::unknown;
    if (!named && stored.types[id] == GgufTokenType::unknown) stored.types[id] = GgufTokenType::control;
  }
  return stored;
}

void byte_level(JsonWriter& json, bool cuts) {
  json.begin_object();
  json.member("type", "ByteLevel");
  json.member("add_prefix_space", false);
  json.member("trim_offsets", true);
  json.member("use_regex", cuts);
  json.end_object();
}

void add_added_tokens(JsonWriter& json, const Stored& stored) {
  json.key("added_tokens");
  json.begin_array();
  for (size_t id = 0; id < stored.tokens.size(); ++id) {
    const bool special = stored.types[id] == GgufTokenType::control;
    if (!special && stored.types[id] != GgufTokenType::user_defined) continue;
    json.begin_object();
    json.member("id", id);
    json.member("content", stored.tokens[id]);
    for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized"}) json.member(flag, false);
    json.member("special", special);
    json.end_object();
  }
  json.end_array();
}

void add_split(JsonWriter& json, std::string_view regex) {
  json.begin_object();
  json.member("type", "Split");
  json.key("pattern");
  json.begin_object();
  json.member("Regex", regex);
  json.end_object();
  json.member("behavior", "Isolated");
  json.member("invert", false);
  json.end_object();
}

void add_cutting(JsonWriter& json, const GgufPreTokenizer& pre) {
  json.key("normalizer");
  if (pre.name == "qwen2") {
    json.json(R"({"type": "NFC"})");
  } else {
    json.null();
  }
  json.key("pre_tokenizer");
  const bool split = !pre.regex.empty() || !pre.cuts.empty();
  if (!split && !pre.digits) {
    byte_level(json, true);
    return;
  }
  json.begin_object();
  json.member("type", "Sequence");
  json.key("pretokenizers");
  json.begin_array();
  if (pre.digits) json.json(R"({"type": "Digits", "individual_digits": true})");
  if (!pre.regex.empty()) add_split(json, pre.regex);
  for (const std::string_view regex : pre.cuts) add_split(json, regex);
  byte_level(json, !split);
  json.end_array();
  json.end_object();
}

/// The beginning-of-text token before each text.
void add_post_processor(JsonWriter& json, const Stored& stored) {
  json.key("post_processor");
  if (!stored.add_bos || !stored.bos) {
    json.null();
    return;
  }
  JsonWriter text;
  text.value(stored.tokens[static_cast<size_t>(*stored.bos)]);
  const std::string bos = text.take();
  json.json(cat(
      R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": )", bos,
      R"(, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [{"SpecialToken": {"id": )", bos,
      R"(, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}], )",
      R"("special_tokens": {)", bos, R"(: {"id": )", bos, R"(, "ids": [)", *stored.bos, R"(], "tokens": [)",
      bos, "]}}}"));
}

std::string tokenizer_json(const GgufHeader& header, const Stored& stored, const GgufPreTokenizer& pre) {
  const auto* merges = header.texts("tokenizer.ggml.merges");
  if (merges == nullptr) header.refuse(Fault::mismatch, "tokenizer.ggml.merges", "is missing");
  JsonWriter json;
  json.begin_object();
  json.member("version", "1.0");
  for (const char* nothing : {"truncation", "padding"}) {
    json.key(nothing);
    json.null();
  }
  add_added_tokens(json, stored);
  add_cutting(json, pre);
  add_post_processor(json, stored);
  json.key("decoder");
  byte_level(json, true);
  json.key("model");
  json.begin_object();
  json.member("type", "BPE");
  for (const char* nothing : {"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"}) {
    json.key(nothing);
    json.null();
  }
  json.member("fuse_unk", false);
  json.member("byte_fallback", false);
  json.member("ignore_merges", pre.ignore_merges);
  json.key("vocab");
  json.begin_object();
  for (size_t id = 0; id < stored.tokens.size(); ++id) {
    if (stored.types[id] == GgufTokenType::normal) json.member(stored.tokens[id], id);
  }
  json.end_object();
  json.key("merges");
  json.begin_array();
  for (const std::string& merge : *merges) json.value(merge);
  json.end_array();
  json.end_object();
  json.end_object();
  return json.take();
}

void put_varint(std::string& out, uint64_t value) {
  for (; value >= 128; value >>= 7) out += static_cast<char>((value & 127) | 128);
  out += static_cast<char>(value);
}

void put_message(std::string& out, uint32_t field, std::string_view message) {
  put_varint(out, field << 3 | 2);
  put_varint(out, message.size());
  out += message;
}

void put_number(std::string& out, uint32_t field, uint64_t value) {
  put_varint(out, field << 3);
  put_varint(out, value);
}

/// SentencePiece's ModelProto: pieces, the kind of model (BPE with bytes), how blanks are treated.
std::string sentencepiece_model(const GgufHeader& header, const Stored& stored) {
  const auto* scores = header.numbers("tokenizer.ggml.scores");
  if (scores == nullptr || scores->size() != stored.tokens.size())
    header.refuse(Fault::mismatch, "tokenizer.ggml.scores", "are not as many as the tokens");
  std::string out;
  for (size_t id = 0; id < stored.tokens.size(); ++id) {
    std::string piece;
    put_message(piece, 1, stored.tokens[id]);
    put_varint(piece, 2 << 3 | 5);
    const auto bits = std::bit_cast<uint32_t>(static_cast<float>((*scores)[id]));
    for (int shift = 0; shift < 32; shift += 8) piece += static_cast<char>(bits >> shift & 255);
    put_number(piece, 3, static_cast<uint64_t>(stored.types[id]));
    put_message(out, 1, piece);
  }
  std::string trainer, normalizer;
  put_number(trainer, 3, 2);   // model_type: BPE
  put_number(trainer, 35, 1);  // byte_fallback
  put_message(normalizer, 1, "identity");
  put_number(normalizer, 3, header.boolean("tokenizer.ggml.add_space_prefix").value_or(true));
  put_number(normalizer, 4, header.boolean("tokenizer.ggml.remove_extra_whitespaces").value_or(false));
  put_number(normalizer, 5, 1);  // escape_whitespaces
  put_message(out, 2, trainer);
  put_message(out, 3, normalizer);
  return out;
}

std::string tokenizer_config(const GgufHeader& header, const Stored& stored, std::string_view class_name) {
  JsonWriter json(JsonLayout::indented);
  json.begin_object();
  json.member("tokenizer_class", class_name);
  const auto token = [&](std::string_view key, std::optional<int64_t> id) {
    if (id) json.member(key, stored.tokens[static_cast<size_t>(*id)]);
  };
  token("bos_token", stored.bos);
  token("eos_token", stored.eos);
  token("unk_token", stored.unknown);
  token("pad_token", stored.padding);
  json.member("add_bos_token", stored.add_bos);
  json.member("add_eos_token", header.boolean("tokenizer.ggml.add_eos_token").value_or(false));
  json.member("clean_up_tokenization_spaces", false);
  if (const std::string* text = header.text("tokenizer.chat_template")) json.member("chat_template", *text);
  json.end_object();
  return json.take() + "\n";
}

std::vector<std::pair<std::string, std::string>> make_files(const GgufHeader& header,
                                                            const std::string& model,
                                                            const std::string& pre) {
  Stored stored = read_stored(header);
  const bool spaces = model == "llama";
  const GgufPreTokenizer* row = find_gguf_pre_tokenizer(pre);
  stored.add_bos =
      header.boolean("tokenizer.ggml.add_bos_token").value_or(spaces || (row != nullptr && row->add_bos));
  if (spaces) {
    std::string proto = sentencepiece_model(header, stored);
    return {{"tokenizer.model", std::move(proto)},
            {"tokenizer_config.json", tokenizer_config(header, stored, "LlamaTokenizer")}};
  }
  if (model != "gpt2" || row == nullptr) {
    throw Error(Fault::unsupported, cat("a GGUF tokenizer of kind ", quoted(model),
                                        " whose words are cut as ", quoted(pre), " is not supported"));
  }
  std::string json = tokenizer_json(header, stored, *row);
  return {{"tokenizer.json", std::move(json)},
          {"tokenizer_config.json", tokenizer_config(header, stored, "PreTrainedTokenizerFast")}};
}

}  // namespace

std::vector<std::pair<std::string, std::string>> gguf_tokenizer_files(const GgufHeader& header) {
  const std::string* model = header.text("tokenizer.ggml.model");
  const std::string* pre = header.text("tokenizer.ggml.pre");
  if (model == nullptr || *model == "none" || *model == "no_vocab") return {};
  return make_files(header, *model, pre != nullptr ? *pre : "default");
}

}  // namespace gptq
