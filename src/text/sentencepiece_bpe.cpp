// See sentencepiece_bpe.h.
#include "text/sentencepiece_bpe.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/text.h"
#include "text/byte_token.h"
#include "text/utf8.h"

namespace gptq {

namespace {

constexpr size_t kLongestPiece = 1024;  // bytes; finding the merges of a piece takes the square of its length

bool merges(PieceType type) { return type == PieceType::normal || type == PieceType::unused; }

std::vector<std::pair<std::string_view, int32_t>> user_defined_pieces(const SentencePieceFile& file) {
  std::vector<std::pair<std::string_view, int32_t>> out;
  for (size_t id = 0; id < file.pieces.size(); ++id) {
    if (file.pieces[id].type == PieceType::user_defined)
      out.emplace_back(file.pieces[id].text, static_cast<int32_t>(id));
  }
  return out;
}

}  // namespace

SentencePieceBpe::SentencePieceBpe(const SentencePieceFile& file,
                                   std::shared_ptr<const Vocabulary> vocabulary)
    : vocabulary_(std::move(vocabulary)),
      byte_fallback_(file.byte_fallback),
      mergeable_(file.pieces.size()),
      user_defined_(user_defined_pieces(file)) {
  byte_tokens_.fill(-1);
  if (byte_fallback_) byte_tokens_ = find_byte_tokens(*vocabulary_);
  for (size_t id = 0; id < file.pieces.size(); ++id) {
    const auto& [text, score, type] = file.pieces[id];
    if (text.size() > kLongestPiece) {
      throw Error(Fault::limit, cat(vocabulary_->name(), ": piece ", id, " has ", text.size(),
                                    " bytes, wanted at most ", kLongestPiece));
    }
    if (type == PieceType::unknown) unk_id_ = static_cast<int32_t>(id);
    if (merges(type) || type == PieceType::user_defined) mergeable_.insert(text, static_cast<int32_t>(id));
  }
  if (unk_id_ < 0) throw Error(Fault::format, cat(vocabulary_->name(), ": it has no unknown piece"));
  number_characters(file);
  add_merges(file);
  expand_unused(file);
}

// Characters that are only parts of pieces get numbers too, so that they can merge.
void SentencePieceBpe::number_characters(const SentencePieceFile& file) {
  size_t total = 0;
  for (const SentencePiece& piece : file.pieces) total += piece.text.size();
  characters_ = TextTable(std::min<size_t>(total, 0x110000));
  auto next = static_cast<int32_t>(file.pieces.size());
  for (const SentencePiece& piece : file.pieces) {
    if (!merges(piece.type) && piece.type != PieceType::user_defined) continue;
    for (size_t at = 0; at < piece.text.size();) {
      const std::string_view character = piece.text.substr(at, utf8_sequence_length(piece.text[at]));
      at += character.size();
      if (characters_.find(character) >= 0) continue;
      const int32_t id = mergeable_.find(character);
      characters_.insert(character, id >= 0 ? id : next++);
    }
  }
}

// Pieces of the same score have the same rank: then the leftmost goes first.
void SentencePieceBpe::add_merges(const SentencePieceFile& file) {
  std::vector<int32_t> order;
  size_t splits = 0;
  for (size_t id = 0; id < file.pieces.size(); ++id) {
    const SentencePiece& piece = file.pieces[id];
    if (!merges(piece.type) && piece.type != PieceType::user_defined) continue;
    order.push_back(static_cast<int32_t>(id));
    splits += piece.text.size();
  }
  const auto piece = [&](int32_t id) -> const SentencePiece& { return file.pieces[static_cast<size_t>(id)]; };
  std::sort(order.begin(), order.end(),
            [&](int32_t a, int32_t b) { return piece(a).score > piece(b).score; });
  merges_ = std::make_unique<MergeTable>(splits);
  uint32_t rank = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    if (i > 0 && piece(order[i]).score != piece(order[i - 1]).score) ++rank;
    add_splits(piece(order[i]).text, rank, order[i]);
  }
}

void SentencePieceBpe::add_splits(std::string_view text, uint32_t rank, int32_t result) {
  const auto symbol = [&](std::string_view part) {
    const int32_t id = mergeable_.find(part);
    return id >= 0 ? id : characters_.find(part);
  };
  for (size_t at = utf8_sequence_length(text[0]); at < text.size(); at += utf8_sequence_length(text[at])) {
    const int32_t left = symbol(text.substr(0, at)), right = symbol(text.substr(at));
    if (left < 0 || right < 0) continue;
    size_t last = at;
    previous_code_point(text, last);
    merges_->add(left, right, rank, result, characters_.find(text.substr(last, at - last)),
                 characters_.find(text.substr(at, utf8_sequence_length(text[at]))));
  }
}

// A user-defined piece is cut out whole; returns where it begins, or the end. Symbols with id -1 are characters that
// occur in no piece.
size_t SentencePieceBpe::to_symbols(std::string_view text, EncodeScratch& scratch) const {
  scratch.symbols.clear();
  size_t at = 0;
  while (at < text.size() && user_defined_.longest_prefix(text.substr(at)).first == 0) {
    const size_t n = utf8_sequence_length(text[at]);
    const int32_t id = characters_.find(text.substr(at, n));
    scratch.symbols.push_back({id >= 0 ? id : INT32_MAX, static_cast<uint32_t>(n)});
    at += n;
  }
  return at;
}

// An unused piece takes part in merging, but comes out as the pieces that it was made of.
void SentencePieceBpe::expand_unused(const SentencePieceFile& file) {
  EncodeScratch scratch;
  for (size_t id = 0; id < file.pieces.size(); ++id) {
    if (file.pieces[id].type != PieceType::unused) continue;
    if (unused_.empty()) unused_.resize(file.pieces.size());
    std::vector<int32_t>& parts = unused_[id];
    // the best split into two pieces that are in use, else characters
    const std::string_view text = file.pieces[id].text;
    float best = 0;
    for (size_t at = utf8_sequence_length(text[0]); at < text.size(); at += utf8_sequence_length(text[at])) {
      const int32_t left = mergeable_.find(text.substr(0, at)), right = mergeable_.find(text.substr(at));
      const auto in_use = [&](int32_t part) {
        return part >= 0 && file.pieces[static_cast<size_t>(part)].type != PieceType::unused;
      };
      if (!in_use(left) || !in_use(right)) continue;
      const float score = std::min(file.pieces[static_cast<size_t>(left)].score,
                                   file.pieces[static_cast<size_t>(right)].score);
      if (!parts.empty() && score <= best) continue;
      best = score;
      parts = {left, right};
    }
    if (!parts.empty()) continue;
    for (size_t at = 0; at < text.size();) {
      const size_t n = utf8_sequence_length(text[at]);
      const int32_t character = mergeable_.find(text.substr(at, n));
      const bool known = character >= 0 && static_cast<size_t>(character) != id;
      append_ids(text.substr(at, n), {{known ? character : INT32_MAX, static_cast<uint32_t>(n)}}, 1, parts);
      at += n;
    }
  }
}

// Neighbouring unknown characters are one unknown piece.
void SentencePieceBpe::append_unknown(std::vector<int32_t>& ids) const {
  if (ids.empty() || ids.back() != unk_id_) ids.push_back(unk_id_);
}

void SentencePieceBpe::append_ids(std::string_view text, const std::vector<Symbol>& symbols, size_t count,
                                  std::vector<int32_t>& ids) const {
  size_t at = 0;
  for (size_t i = 0; i < count; ++i) {
    const auto [id, length] = symbols[i];
    const std::string_view part = text.substr(at, length);
    at += length;
    if (id < vocabulary_->size()) {
      const auto index = static_cast<size_t>(id);
      if (index < unused_.size() && !unused_[index].empty()) {
        for (int32_t each : unused_[index]) {
          if (each == unk_id_) {
            append_unknown(ids);
          } else {
            ids.push_back(each);
          }
        }
      } else {
        ids.push_back(id);
      }
    } else if (byte_fallback_) {
      for (char c : part) {
        const int32_t byte = byte_tokens_[static_cast<unsigned char>(c)];
        ids.push_back(byte >= 0 ? byte : unk_id_);
      }
    } else {
      append_unknown(ids);
    }
  }
}

void SentencePieceBpe::encode(std::string_view piece, EncodeScratch& scratch,
                              std::vector<int32_t>& ids) const {
  while (!piece.empty()) {
    const size_t end = to_symbols(piece, scratch);
    const size_t count = merges_->merge(scratch.symbols, scratch.merging);
    append_ids(piece.substr(0, end), scratch.symbols, count, ids);
    piece.remove_prefix(end);
    if (piece.empty()) return;
    const auto [length, id] = user_defined_.longest_prefix(piece);
    ids.push_back(id);
    piece.remove_prefix(length);
  }
}

}  // namespace gptq
