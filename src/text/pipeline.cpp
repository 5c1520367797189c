// See pipeline.h.
#include "text/pipeline.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "text/utf8.h"

namespace gptq {

namespace {

void check_added(const TokenizerParts& parts) {
  TextTable contents(parts.added.size());
  std::vector<int32_t> ids;
  for (const AddedToken& token : parts.added) ids.push_back(token.id);
  std::sort(ids.begin(), ids.end());
  if (const auto twice = std::adjacent_find(ids.begin(), ids.end()); twice != ids.end()) {
    throw Error(Fault::duplicate, cat(parts.name, ": added_tokens has two tokens with id ", *twice));
  }
  const Vocabulary& vocabulary = *parts.vocabulary;
  for (size_t i = 0; i < parts.added.size(); ++i) {
    const AddedToken& token = parts.added[i];
    const std::string place = cat(parts.name, ": added_tokens[", i, "] ", quoted(token.content));
    if (token.content.empty())
      throw Error(Fault::format, cat(place, " is empty: it would be found everywhere"));
    if (!contents.insert(token.content, static_cast<int32_t>(i)))
      throw Error(Fault::duplicate, cat(place, " is there twice"));
    const auto known = vocabulary.find(token.content);
    if (known && *known != token.id) {
      throw Error(Fault::mismatch, cat(place, " has id ", token.id, ", but ", *known, " in the vocabulary"));
    }
    if (!known && vocabulary.has(token.id)) {
      throw Error(Fault::duplicate, cat(place, " has id ", token.id, ", which is taken by ",
                                        quoted(vocabulary.text(token.id))));
    }
  }
}

class PipelineTokenizer : public Tokenizer {
 public:
  explicit PipelineTokenizer(TokenizerParts parts);

  std::vector<int32_t> encode(std::string_view text, AddSpecial add, ParseSpecial parse) const override;
  std::string decode(std::span<const int32_t> ids, SkipSpecial skip) const override;
  std::unique_ptr<TokenStream> start_decoding(SkipSpecial skip) const override;

  int32_t vocab_size() const override {
    return std::max(parts_.vocabulary->size(), added_vocabulary_.size());
  }
  std::string_view token_text(int32_t id) const override {
    return added_vocabulary_.has(id) ? added_vocabulary_.text(id) : parts_.vocabulary->text(id);
  }
  std::optional<int32_t> token_id(std::string_view token) const override {
    const auto id = added_vocabulary_.find(token);
    return id ? id : parts_.vocabulary->find(token);
  }
  bool is_special(int32_t id) const override {
    const AddedToken* token = added_token(id);
    return token != nullptr && token->special;
  }
  std::optional<int32_t> bos_id() const override { return parts_.bos_id; }
  std::optional<int32_t> eos_id() const override { return parts_.eos_id; }

  const Decoders& decoders() const { return parts_.decoders; }
  /// The spelling, or nothing if `skip` leaves the token out. Fault::range for an unknown id.
  std::optional<std::string_view> shown(int32_t id, SkipSpecial skip) const;

 private:
  void encode_original(const Piece& piece, ParseSpecial parse, EncodeScratch& scratch,
                       std::vector<int32_t>& ids) const;
  void encode_normalized(const Piece& piece, EncodeScratch& scratch, std::vector<int32_t>& ids) const;

  const AddedToken* added_token(int32_t id) const {
    if (id < 0 || static_cast<size_t>(id) >= added_by_id_.size()) return nullptr;
    const int32_t index = added_by_id_[static_cast<size_t>(id)];
    return index < 0 ? nullptr : &added_.tokens()[static_cast<size_t>(index)];
  }

  TokenizerParts parts_;
  AddedTokens added_;
  Vocabulary added_vocabulary_;
  std::vector<int32_t> added_by_id_;  // indices into added_.tokens(), -1 for other tokens
};

class PipelineStream : public TokenStream {
 public:
  PipelineStream(const PipelineTokenizer& tokenizer, SkipSpecial skip)
      : tokenizer_(tokenizer), skip_(skip), pipeline_(tokenizer.decoders()) {}
  void push(int32_t id) override {
    if (const auto token = tokenizer_.shown(id, skip_)) pipeline_.push(*token);
  }
  void finish() override { pipeline_.finish(); }
  std::string take() override { return pipeline_.take(); }

 private:
  const PipelineTokenizer& tokenizer_;
  SkipSpecial skip_;
  DecodePipeline pipeline_;
};

PipelineTokenizer::PipelineTokenizer(TokenizerParts parts)
    : parts_(std::move(parts)),
      added_(std::move(parts_.added), parts_.normalizers, parts_.name),
      added_vocabulary_(added_.tokens().size() + static_cast<size_t>(parts_.vocabulary->size()),
                        parts_.name) {
  for (const AddedToken& token : added_.tokens()) added_vocabulary_.add(token.content, token.id);
  added_by_id_.resize(static_cast<size_t>(vocab_size()), -1);
  for (size_t i = 0; i < added_.tokens().size(); ++i) {
    added_by_id_[static_cast<size_t>(added_.tokens()[i].id)] = static_cast<int32_t>(i);
  }
}

void PipelineTokenizer::encode_normalized(const Piece& piece, EncodeScratch& scratch,
                                          std::vector<int32_t>& ids) const {
  auto& pieces = scratch.pieces;
  auto& next = scratch.next_pieces;
  pieces.assign(1, piece);
  for (const auto& step : parts_.pre_tokenizers.steps) {
    next.clear();
    for (const Piece& p : pieces) step->split(p, next, scratch);
    std::swap(pieces, next);
  }
  for (const Piece& p : pieces) {
    if (p.text.size() > INT32_MAX) throw Error(Fault::limit, "encode: a piece of more than 2^31 - 1 bytes");
    parts_.model->encode(p.text, scratch, ids);
  }
  scratch.texts.clear();
}

// A stretch without added tokens of the original text.
void PipelineTokenizer::encode_original(const Piece& piece, ParseSpecial parse, EncodeScratch& scratch,
                                        std::vector<int32_t>& ids) const {
  std::string normalized;
  Piece whole = piece;
  if (!parts_.normalizers.empty()) {
    normalized = piece.text;
    for (const auto& step : parts_.normalizers) step->apply(normalized, scratch);
    whole.text = normalized;
  }
  if (whole.text.empty()) return;
  if (!added_.any_normalized()) return encode_normalized(whole, scratch, ids);
  std::vector<Segment> segments;
  added_.find_normalized(whole.text, parse, segments);
  for (const Segment& segment : segments) {
    if (segment.id >= 0) {
      ids.push_back(segment.id);
    } else {
      const AtStart start = segment.begin == 0 ? whole.at_start : AtStart::no;
      encode_normalized({whole.text.substr(segment.begin, segment.end - segment.begin), start}, scratch, ids);
    }
  }
}

std::vector<int32_t> PipelineTokenizer::encode(std::string_view text, AddSpecial add,
                                               ParseSpecial parse) const {
  if (text.size() > INT32_MAX) {
    throw Error(Fault::limit, cat("encode: a text of ", text.size(), " bytes, wanted at most ", INT32_MAX));
  }
  std::string repaired;
  if (!is_utf8(text)) {
    repaired = repaired_utf8(text);
    text = repaired;
  }
  std::vector<int32_t> ids;
  std::vector<Segment> segments;
  EncodeScratch scratch;
  added_.find_original(text, parse, segments);
  for (const Segment& segment : segments) {
    if (segment.id >= 0) {
      ids.push_back(segment.id);
    } else {
      const AtStart start = segment.begin == 0 ? AtStart::yes : AtStart::no;
      encode_original({text.substr(segment.begin, segment.end - segment.begin), start}, parse, scratch, ids);
    }
  }
  if (add == AddSpecial::yes) parts_.post_processor.apply(ids);
  return ids;
}

std::optional<std::string_view> PipelineTokenizer::shown(int32_t id, SkipSpecial skip) const {
  if (const AddedToken* token = added_token(id)) {
    return skip == SkipSpecial::yes && token->special ? std::nullopt
                                                      : std::optional<std::string_view>(token->shown);
  }
  if (!parts_.vocabulary->has(id)) {
    throw Error(Fault::range,
                cat("decode: token id ", id, " is not in ", parts_.name, ", wanted 0 to ", vocab_size() - 1));
  }
  return parts_.vocabulary->text(id);
}

std::unique_ptr<TokenStream> PipelineTokenizer::start_decoding(SkipSpecial skip) const {
  return std::make_unique<PipelineStream>(*this, skip);
}

std::string PipelineTokenizer::decode(std::span<const int32_t> ids, SkipSpecial skip) const {
  PipelineStream stream(*this, skip);
  for (int32_t id : ids) stream.push(id);
  stream.finish();
  return stream.take();
}

}  // namespace

std::shared_ptr<const Tokenizer> make_tokenizer(TokenizerParts parts) {
  check_added(parts);
  return std::make_shared<PipelineTokenizer>(std::move(parts));
}

}  // namespace gptq
