// See sentencepiece.h.
#include "text/sentencepiece.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/text.h"
#include "text/pipeline.h"
#include "text/sentencepiece_bpe.h"
#include "text/sentencepiece_normalizer.h"
#include "text/unigram.h"

namespace gptq {

namespace {

constexpr int64_t kUnigram = 1, kBpe = 2;

void refuse_unsupported(const SentencePieceFile& file, std::string_view name) {
  if (file.model_type != kUnigram && file.model_type != kBpe) {
    throw Error(Fault::unsupported, cat(name, ": model_type is ", file.model_type,
                                        ", only 1 (Unigram) and 2 (BPE) are supported"));
  }
  if (file.whitespace_as_suffix) {
    throw Error(Fault::unsupported,
                cat(name, ": treat_whitespace_as_suffix is true, only false is supported"));
  }
}

/// User-defined pieces score by their length in bytes (since SentencePiece 0.2.1 better than any others, if scores are
/// negative), unused ones are never cut out; sums are kept in single precision.
std::unique_ptr<const TokenModel> make_unigram(const SentencePieceFile& file,
                                               std::shared_ptr<const Vocabulary> vocabulary) {
  constexpr float kUnknownPenalty = 10;
  constexpr float kUserDefinedBonus = 0.1f;
  float lowest = std::numeric_limits<float>::max();
  for (const SentencePiece& piece : file.pieces) {
    if (piece.type == PieceType::normal) lowest = std::min(lowest, piece.score);
  }
  UnigramOptions options;
  std::vector<ScoredToken> tokens;
  for (size_t index = 0; index < file.pieces.size(); ++index) {
    const SentencePiece& piece = file.pieces[index];
    const auto id = static_cast<int32_t>(index);
    if (piece.type == PieceType::unknown) options.unk_id = id;
    if (piece.type == PieceType::normal) tokens.push_back({piece.text, id, piece.score});
    if (piece.type == PieceType::user_defined)
      tokens.push_back({piece.text, id, static_cast<float>(piece.text.size() - 1) * kUserDefinedBonus});
  }
  if (!options.unk_id) throw Error(Fault::format, cat(vocabulary->name(), ": it has no unknown piece"));
  options.unk_score = lowest - kUnknownPenalty;
  options.byte_fallback = file.byte_fallback;
  options.precision = SumPrecision::single;
  options.runs = UnknownRuns::unknown;
  return std::make_unique<Unigram>(std::move(vocabulary), tokens, options);
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
  if (file.model_type == kUnigram) {
    parts.model = make_unigram(file, vocabulary);
  } else {
    parts.model = std::make_unique<SentencePieceBpe>(file, vocabulary);
  }
  parts.normalizers.push_back(sentencepiece_normalizer(file, parts.name));
  parts.decoders = sentencepiece_decoders(file.remove_extra_whitespaces ? FirstSpaces::remove_all
                                          : file.add_dummy_prefix       ? FirstSpaces::remove_one
                                                                        : FirstSpaces::keep);
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
