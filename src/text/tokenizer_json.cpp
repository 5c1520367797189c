// See tokenizer_json.h.
#include "text/tokenizer_json.h"

#include <limits>

#include "base/json.h"
#include "base/text.h"
#include "text/bpe.h"
#include "text/component.h"
#include "text/pipeline.h"
#include "text/tokenizer_events.h"
#include "text/unigram.h"

namespace gptq {

namespace {

std::vector<AddedToken> read_added_tokens(const JsonObject& root) {
  std::vector<AddedToken> out;
  const Json* list = root.find({"added_tokens"});
  if (list == nullptr) return out;
  if (!list->is_array()) root.refuse(Fault::format, "added_tokens", "a list");
  for (size_t i = 0; i < list->size(); ++i) {
    const JsonObject node((*list)[i], cat(root.name(), ": added_tokens[", i, "]"));
    AddedToken token;
    token.content = node.string({"content"});
    token.id = static_cast<int32_t>(node.integer({"id"}, 0, INT32_MAX));
    token.single_word = node.boolean_or({"single_word"}, false);
    token.lstrip = node.boolean_or({"lstrip"}, false);
    token.rstrip = node.boolean_or({"rstrip"}, false);
    token.special = node.boolean_or({"special"}, false);
    token.normalized = node.boolean_or({"normalized"}, !token.special);
    out.push_back(std::move(token));
  }
  return out;
}

/// Of Unigram's tokens with the same spelling the last is found, as the reference does.
std::shared_ptr<const Vocabulary> read_vocabulary(const TokenizerJson& json,
                                                  const std::vector<ScoredToken>& scored,
                                                  std::string_view name) {
  auto vocabulary = std::make_shared<Vocabulary>(json.vocab.size() + scored.size(), std::string(name));
  json.vocab.for_each([&](std::string_view text, int64_t id) { vocabulary->add(text, id); });
  for (auto token = scored.rbegin(); token != scored.rend(); ++token)
    vocabulary->add(token->text, token->id, Respelling::keeps_first);
  return vocabulary;
}

std::optional<int32_t> read_unk(const JsonObject& model, const TokenizerParts& parts) {
  if (!model.has({"unk_token"})) return std::nullopt;
  const std::string unk = model.string({"unk_token"});
  if (const auto id = parts.vocabulary->find(unk)) return id;
  for (const AddedToken& token : parts.added) {
    if (token.content == unk) return token.id;
  }
  model.refuse(Fault::mismatch, "unk_token", "a token of the vocabulary");
}

std::unique_ptr<const TokenModel> read_bpe(const TokenizerJson& json, const JsonObject& model,
                                           const TokenizerParts& parts) {
  if (!json.has_vocab) model.refuse(Fault::format, "vocab", "an object of tokens and ids");
  if (!json.has_merges) model.refuse(Fault::format, "merges", "a list");
  // ids drawn by chance
  if (model.number_or({"dropout"}, 0, 1, 0) != 0) model.refuse(Fault::unsupported, "dropout", "null or 0");
  BpeOptions options;
  options.input = parts.pre_tokenizers.model_input;
  options.byte_fallback = model.boolean_or({"byte_fallback"}, false);
  options.fuse_unk = model.boolean_or({"fuse_unk"}, false);
  options.ignore_merges = model.boolean_or({"ignore_merges"}, false);
  options.unk_id = read_unk(model, parts);
  options.continuing_prefix = model.string_or({"continuing_subword_prefix"}, "");
  options.end_suffix = model.string_or({"end_of_word_suffix"}, "");
  return std::make_unique<Bpe>(parts.vocabulary, json.merges, options);
}

std::vector<ScoredToken> scored_tokens(const TokenizerJson& json) {
  std::vector<ScoredToken> out;
  out.reserve(json.scores.size());
  json.scores.for_each([&](std::string_view text, double score) {
    out.push_back({text, static_cast<int32_t>(out.size()), score});
  });
  return out;
}

std::unique_ptr<const TokenModel> read_unigram(const TokenizerJson& json, const JsonObject& model,
                                               const std::vector<ScoredToken>& scored,
                                               const TokenizerParts& parts) {
  if (!json.has_scores || scored.empty()) model.refuse(Fault::format, "vocab", "a list of tokens and scores");
  constexpr double kUnknownPenalty = 10;
  double lowest = std::numeric_limits<double>::infinity();
  for (const ScoredToken& token : scored) lowest = std::min(lowest, token.score);
  UnigramOptions options;
  options.unk_score = lowest - kUnknownPenalty;
  options.byte_fallback = model.boolean_or({"byte_fallback"}, false);
  if (model.has({"unk_id"}))
    options.unk_id =
        static_cast<int32_t>(model.integer({"unk_id"}, 0, static_cast<int64_t>(scored.size()) - 1));
  return std::make_unique<Unigram>(parts.vocabulary, scored, options);
}

/// What becomes of the pieces. Files from before the models had names are told by what they have.
std::unique_ptr<const TokenModel> read_model(const TokenizerJson& json, const JsonObject& model,
                                             const std::vector<ScoredToken>& scored,
                                             const TokenizerParts& parts) {
  const std::string type = json.has_merges   ? model.string_or({"type"}, "BPE")
                           : json.has_scores ? model.string_or({"type"}, "Unigram")
                                             : model.string({"type"});
  if (type == "BPE") return read_bpe(json, model, parts);
  if (type == "Unigram") return read_unigram(json, model, scored, parts);
  refuse_component(model, type);
}

/// Null where the key is absent.
const Json& part(const JsonObject& root, std::string_view key, const Json& null) {
  const Json* found = root.find({key});
  return found != nullptr ? *found : null;
}

}  // namespace

std::shared_ptr<const Tokenizer> load_tokenizer_json(std::string_view text, std::string_view name,
                                                     const TokenizerConfig& config) {
  const TokenizerJson json = parse_tokenizer_json(text, name);
  const JsonObject root(json.rest, std::string(name));
  const auto model = root.object({"model"});
  if (!model) root.refuse(Fault::format, "model", "an object");
  const std::vector<ScoredToken> scored = scored_tokens(json);
  const Json null;
  const auto place = [&](std::string_view key) { return cat(name, ": ", key); };
  TokenizerParts parts;
  parts.name = name;
  parts.vocabulary = read_vocabulary(json, scored, name);
  parts.added = read_added_tokens(root);
  parts.normalizers = read_normalizers(part(root, "normalizer", null), place("normalizer"));
  parts.pre_tokenizers = read_pre_tokenizers(part(root, "pre_tokenizer", null), place("pre_tokenizer"));
  parts.decoders = read_decoders(part(root, "decoder", null), place("decoder"));
  int32_t size = parts.vocabulary->size();
  for (const AddedToken& token : parts.added)
    size = std::max(size, token.id < INT32_MAX ? token.id + 1 : token.id);
  parts.post_processor =
      read_post_processor(part(root, "post_processor", null), place("post_processor"), size);
  parts.model = read_model(json, *model, scored, parts);
  const auto find = [&](const std::optional<std::string>& token) -> std::optional<int32_t> {
    if (!token) return std::nullopt;
    for (const AddedToken& added : parts.added) {
      if (added.content == *token) return added.id;
    }
    return parts.vocabulary->find(*token);
  };
  parts.bos_id = find(config.bos_token);
  parts.eos_id = find(config.eos_token);
  return make_tokenizer(std::move(parts));
}

}  // namespace gptq
