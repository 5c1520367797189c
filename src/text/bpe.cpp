// See bpe.h.
#include "text/bpe.h"

#include "base/error.h"
#include "base/text.h"
#include "text/byte_level.h"
#include "text/byte_token.h"
#include "text/utf8.h"

namespace gptq {

namespace {

constexpr size_t kLongestWhole = 64;  // bytes of the tokens that are tried as whole pieces

}  // namespace

void MergeList::add(std::string_view left, std::string_view right) {
  lengths_.push_back({static_cast<uint32_t>(left.size()), static_cast<uint32_t>(right.size())});
  texts_ += left;
  texts_ += right;
}

Bpe::Bpe(std::shared_ptr<const Vocabulary> vocabulary, const MergeList& merges, const BpeOptions& options)
    : vocabulary_(std::move(vocabulary)),
      options_(options),
      merges_(merges.size()),
      whole_(static_cast<size_t>(vocabulary_->size())) {
  byte_tokens_.fill(-1);
  if (options_.byte_fallback) byte_tokens_ = find_byte_tokens(*vocabulary_);
  index_characters();
  add_merges(merges);
  index_whole_tokens();
}

void Bpe::index_characters() {
  byte_ids_.fill(-1);
  const bool bytes = options_.input == ModelInput::bytes;
  for (size_t i = 0; i < (bytes ? 256u : 128u); ++i) {
    std::string character;
    append_utf8(character, bytes ? byte_level_char(static_cast<uint8_t>(i)) : static_cast<char32_t>(i));
    byte_ids_[i] = vocabulary_->find(character).value_or(-1);
  }
}

int32_t Bpe::character_id(std::string_view character) const {
  const auto byte = static_cast<unsigned char>(character[0]);
  if (options_.input == ModelInput::bytes || byte < 0x80) return byte_ids_[byte];
  return vocabulary_->find(character).value_or(-1);
}

// `token` is as the vocabulary spells it.
int32_t Bpe::edge_symbol(std::string_view token, bool last) const {
  if (token.empty()) return -1;
  size_t begin = last ? token.size() : 0, end = 0;
  if (last) {
    end = begin;
    previous_code_point(token, begin);
  } else {
    next_code_point(token, end);
  }
  return vocabulary_->find(token.substr(begin, end - begin)).value_or(-1);
}

void Bpe::add_merges(const MergeList& merges) {
  std::vector<bool> never_from_text(static_cast<size_t>(vocabulary_->size()));
  for (int32_t id : byte_tokens_) {
    if (id >= 0) never_from_text[static_cast<size_t>(id)] = true;
  }
  if (options_.unk_id && *options_.unk_id < vocabulary_->size())
    never_from_text[static_cast<size_t>(*options_.unk_id)] = true;
  if (options_.any_affix()) merges_.never_cut();
  std::string joined;
  merges.for_each([&](size_t i, std::string_view left, std::string_view right) {
    const auto find = [&](std::string_view token) {
      const auto id = vocabulary_->find(token);
      if (id) return *id;
      throw Error(Fault::format, cat(vocabulary_->name(), ": model.merges[", i, "] needs the token ",
                                     quoted(token), ", which is not in model.vocab"));
    };
    joined.assign(left);
    joined += right.starts_with(options_.continuing_prefix) ? right.substr(options_.continuing_prefix.size())
                                                            : right;
    const int32_t left_id = find(left), right_id = find(right), result = find(joined);
    if (left.empty() || right.empty()) {
      throw Error(Fault::format, cat(vocabulary_->name(), ": model.merges[", i, "] has an empty part"));
    }
    if (never_from_text[static_cast<size_t>(left_id)] || never_from_text[static_cast<size_t>(right_id)])
      merges_.never_cut();
    merges_.add(left_id, right_id, static_cast<uint32_t>(i), result, edge_symbol(left, true),
                edge_symbol(right, false));
  });
}

// A piece always becomes the same ids, so a token that its own spelling becomes can be looked up instead.
void Bpe::index_whole_tokens() {
  EncodeScratch scratch;
  std::string bytes;
  for (int32_t id = 0; id < vocabulary_->size(); ++id) {
    std::string_view text = vocabulary_->text(id);
    if (text.empty()) continue;
    if (options_.input == ModelInput::bytes) {
      bytes.clear();
      if (!from_byte_level(text, bytes)) continue;
      text = bytes;
    }
    if (!options_.ignore_merges) {
      if (options_.any_affix()) return;
      if (text.size() > kLongestWhole || to_symbols(text, scratch.symbols) == Known::no) continue;
      if (merges_.merge(scratch.symbols, scratch.merging) != 1 || scratch.symbols[0].id != id) continue;
    }
    whole_.insert(text, id);
  }
}

/// Characters to symbols; unknown characters wait, so that neighbours can become one.
class Bpe::Symbolizer {
 public:
  Symbolizer(const Bpe& bpe, std::vector<Symbol>& symbols) : bpe_(bpe), symbols_(symbols) {}

  void known(int32_t id, size_t length) {
    flush();
    symbols_.push_back({id, static_cast<uint32_t>(length)});
  }

  /// `spelling`: as the vocabulary would spell it.
  void unknown(std::string_view spelling, size_t length) {
    if (as_bytes(spelling)) return;
    if (!bpe_.options_.unk_id) return;  // left out
    if (!bpe_.options_.fuse_unk) flush();
    waiting_ += static_cast<uint32_t>(length);
  }

  void flush() {
    if (waiting_ > 0) symbols_.push_back({*bpe_.options_.unk_id, waiting_});
    waiting_ = 0;
  }

 private:
  // Unknown characters that wait go behind the bytes: the reference implementation does the same.
  bool as_bytes(std::string_view spelling) {
    if (!bpe_.options_.byte_fallback) return false;
    for (char c : spelling) {
      if (bpe_.byte_tokens_[static_cast<uint8_t>(c)] < 0) return false;
    }
    for (char c : spelling) symbols_.push_back({bpe_.byte_tokens_[static_cast<uint8_t>(c)], 1});
    return true;
  }

  const Bpe& bpe_;
  std::vector<Symbol>& symbols_;
  uint32_t waiting_ = 0;  // bytes of unknown characters
};

/// The character [begin, end) of a piece of `size` bytes.
std::string Bpe::with_affixes(std::string_view spelling, size_t begin, size_t end, size_t size) const {
  return cat(begin > 0 ? options_.continuing_prefix : "", spelling, end == size ? options_.end_suffix : "");
}

Bpe::Known Bpe::to_symbols(std::string_view piece, std::vector<Symbol>& symbols) const {
  symbols.clear();
  Known all = Known::yes;
  Symbolizer to(*this, symbols);
  std::string spelling;
  for (size_t at = 0; at < piece.size();) {
    const bool bytes = options_.input == ModelInput::bytes;
    const size_t n = bytes ? 1 : utf8_sequence_length(piece[at]);
    const std::string_view character = piece.substr(at, n);
    at += n;
    int32_t id = options_.any_affix() ? -1 : character_id(character);
    if (id < 0) {
      spelling.assign(character);
      if (bytes) {
        spelling.clear();
        append_byte_level(spelling, character);
      }
      if (options_.any_affix()) {
        spelling = with_affixes(spelling, at - n, at, piece.size());
        id = vocabulary_->find(spelling).value_or(-1);
      }
    }
    if (id >= 0) {
      to.known(id, n);
      continue;
    }
    all = Known::no;
    to.unknown(spelling, n);
  }
  to.flush();
  return all;
}

void Bpe::encode(std::string_view piece, EncodeScratch& scratch, std::vector<int32_t>& ids) const {
  const int32_t whole = whole_.find(piece);
  if (whole >= 0) {
    ids.push_back(whole);
    return;
  }
  to_symbols(piece, scratch.symbols);
  const size_t count = merges_.merge(scratch.symbols, scratch.merging);
  for (size_t i = 0; i < count; ++i) ids.push_back(scratch.symbols[i].id);
}

}  // namespace gptq
