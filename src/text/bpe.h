// The BPE model of tokenizer.json: characters or bytes, joined by a ranked list of merges.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/flat_table.h"
#include "text/merge_table.h"
#include "text/model.h"
#include "text/pre_tokenizer.h"
#include "text/vocabulary.h"

namespace gptq {

/// "model.merges": pairs of spellings, best first.
class MergeList {
 public:
  void add(std::string_view left, std::string_view right);
  size_t size() const { return lengths_.size(); }
  /// Calls use(index, left, right) in order.
  template <class Use>
  void for_each(const Use& use) const {
    size_t at = 0;
    for (size_t i = 0; i < lengths_.size(); ++i) {
      const auto [left, right] = lengths_[i];
      use(i, std::string_view(texts_).substr(at, left), std::string_view(texts_).substr(at + left, right));
      at += left + right;
    }
  }

 private:
  struct Lengths {
    uint32_t left, right;
  };
  std::string texts_;
  std::vector<Lengths> lengths_;
};

struct BpeOptions {
  ModelInput input = ModelInput::text;
  bool byte_fallback = false;  // characters without a token become <0xHH> tokens
  bool fuse_unk = false;       // neighbouring unknown characters become one unknown token
  bool ignore_merges = false;  // a piece that is a token is taken as it is
  std::optional<int32_t> unk_id;
  std::string continuing_prefix;  // before characters that do not begin a piece, and parts of merges
  std::string end_suffix;         // behind the character that ends a piece

  bool any_affix() const { return !continuing_prefix.empty() || !end_suffix.empty(); }
};

class Bpe : public TokenModel {
 public:
  /// Fault::format for a merge whose parts or result are not in `vocabulary`.
  Bpe(std::shared_ptr<const Vocabulary> vocabulary, const MergeList& merges, const BpeOptions& options);

  void encode(std::string_view piece, EncodeScratch& scratch, std::vector<int32_t>& ids) const override;

 private:
  class Symbolizer;
  enum class Known : uint8_t { no, yes };

  void index_characters();
  void add_merges(const MergeList& merges);
  void index_whole_tokens();
  /// The symbol of one character (or byte); -1 if it has no token.
  int32_t character_id(std::string_view character) const;
  std::string with_affixes(std::string_view spelling, size_t begin, size_t end, size_t size) const;
  int32_t edge_symbol(std::string_view token, bool last) const;
  Known to_symbols(std::string_view piece, std::vector<Symbol>& symbols) const;

  std::shared_ptr<const Vocabulary> vocabulary_;
  BpeOptions options_;
  std::array<int32_t, 256> byte_tokens_;  // <0xHH>; -1 where there is none
  std::array<int32_t, 256>
      byte_ids_;  // symbols of single bytes (ASCII only when the input is text); -1: none
  MergeTable merges_;
  TextTable whole_;  // pieces that are sure to become exactly one token
};

}  // namespace gptq
