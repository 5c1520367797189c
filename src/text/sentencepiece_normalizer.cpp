// See sentencepiece_normalizer.h.
#include "text/sentencepiece_normalizer.h"

#include <array>

#include "base/error.h"
#include "base/text.h"
#include "text/charsmap.h"
#include "text/prefix_trie.h"
#include "text/utf8.h"

namespace gptq {

namespace {

std::vector<std::pair<std::string_view, int32_t>> user_defined_pieces(const SentencePieceFile& file) {
  std::vector<std::pair<std::string_view, int32_t>> out;
  for (const SentencePiece& piece : file.pieces) {
    if (piece.type == PieceType::user_defined) out.emplace_back(piece.text, 0);
  }
  return out;
}

class SentencePieceNormalizer : public Normalizer {
 public:
  SentencePieceNormalizer(const SentencePieceFile& file, const std::string& name)
      : kept_(user_defined_pieces(file)),
        prefix_(file.add_dummy_prefix),
        join_(file.remove_extra_whitespaces),
        space_(file.escape_whitespaces ? "\xE2\x96\x81" : " ") {
    if (!file.character_map.empty()) map_ = Charsmap(file.character_map, name);
    for (size_t i = 0; i < plain_.size(); ++i) {
      const auto byte = static_cast<unsigned char>(i);
      plain_[i] = !kept_.may_begin(byte) && !map_.may_begin(byte);
    }
  }

  void apply(std::string& text, EncodeScratch&) const override {
    std::string_view rest = text;
    while (join_ && !rest.empty()) {
      const Step step = next(rest);
      if (step.by != " ") break;
      rest.remove_prefix(step.length);
    }
    std::string out;
    out.reserve(rest.size() + rest.size() / 2 + 3);
    if (prefix_ && !rest.empty()) out += space_;
    bool after_space = join_;
    while (!rest.empty()) {
      Step step = next(rest);
      rest.remove_prefix(step.length);
      while (after_space && step.by.starts_with(' ')) step.by.remove_prefix(1);
      if (step.by.empty()) continue;
      for (char c : step.by) {
        if (c == ' ') {
          out += space_;
        } else {
          out += c;
        }
      }
      if (out.size() > INT32_MAX)
        throw Error(Fault::limit, "tokenizer: normalizing makes the text longer than 2 GiB");
      after_space = join_ && step.by.ends_with(' ');
    }
    while (join_ && out.ends_with(space_)) out.resize(out.size() - space_.size());
    text = std::move(out);
  }

 private:
  struct Step {
    size_t length;        // bytes of the text
    std::string_view by;  // what they become
  };

  /// User-defined pieces stay as they are, then the longest sequence of the map counts.
  Step next(std::string_view text) const {
    const size_t character = utf8_sequence_length(text[0]);
    if (plain_[static_cast<unsigned char>(text[0])]) return {character, text.substr(0, character)};
    if (const size_t kept = kept_.longest_prefix(text).first; kept > 0) return {kept, text.substr(0, kept)};
    if (const auto [length, by] = map_.longest(text); length > 0) return {length, by};
    return {character, text.substr(0, character)};
  }

  PrefixTrie kept_;
  Charsmap map_;
  std::array<bool, 256> plain_;  // by first byte: characters that nothing can replace
  bool prefix_, join_;
  std::string space_;
};

}  // namespace

std::unique_ptr<const Normalizer> sentencepiece_normalizer(const SentencePieceFile& file,
                                                           const std::string& name) {
  return std::make_unique<SentencePieceNormalizer>(file, name);
}

}  // namespace gptq
