// See sentencepiece.h.
#include "text/sentencepiece.h"

#include "base/error.h"
#include "base/text.h"
#include "text/pipeline.h"
#include "text/sentencepiece_bpe.h"

namespace gptq {

namespace {

void refuse_unsupported(const SentencePieceFile& file, std::string_view name) {
  if (file.model_type != 2) {
    throw Error(Fault::unsupported,
                cat(name, ": model_type is ", file.model_type, ", only 2 (BPE) is supported"));
  }
  if (file.whitespace_as_suffix) {
    throw Error(Fault::unsupported,
                cat(name, ": treat_whitespace_as_suffix is true, only false is supported"));
  }
  if (file.has_character_map) {
    throw Error(Fault::unsupported,
                cat(name, ": precompiled_charsmap is not empty, only the identity is supported"));
  }
}

void append(std::vector<Template::Part>& parts, const std::optional<int32_t>& id) {
  if (id) parts.push_back({false, {*id}});
}

}  // namespace

std::shared_ptr<const Tokenizer> load_sentencepiece(std::string_view data, std::string_view name,
                                                    const TokenizerConfig& config) {
  const SentencePieceFile file = parse_sentencepiece(data, name);
  refuse_unsupported(file, name);
  TokenizerParts parts;
  parts.name = name;
  auto vocabulary = std::make_shared<Vocabulary>(file.pieces.size(), parts.name);
  for (size_t id = 0; id < file.pieces.size(); ++id) {
    const SentencePiece& piece = file.pieces[id];
    vocabulary->add(piece.text, static_cast<int64_t>(id));
    if (piece.type != PieceType::control && piece.type != PieceType::unknown) continue;
    AddedToken token;
    token.content = piece.text;
    token.id = static_cast<int32_t>(id);
    token.special = true;
    parts.added.push_back(std::move(token));
  }
  parts.vocabulary = vocabulary;
  parts.model = std::make_unique<SentencePieceBpe>(file, vocabulary);
  parts.normalizers.push_back(sentencepiece_normalizer(file));
  parts.decoders = sentencepiece_decoders(file.add_dummy_prefix ? FirstSpace::remove : FirstSpace::keep);
  parts.bos_id = vocabulary->find(config.bos_token.value_or("<s>"));
  parts.eos_id = vocabulary->find(config.eos_token.value_or("</s>"));
  std::vector<Template::Part> around;
  if (config.add_bos_token.value_or(true)) append(around, parts.bos_id);
  around.push_back({true, {}});
  if (config.add_eos_token.value_or(false)) append(around, parts.eos_id);
  parts.post_processor = PostProcessor({Template{std::move(around)}});
  return make_tokenizer(std::move(parts));
}

}  // namespace gptq
