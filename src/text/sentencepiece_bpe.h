// SentencePiece's BPE: neighbours join when together they are a piece, the highest score first.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/flat_table.h"
#include "text/merge_table.h"
#include "text/model.h"
#include "text/prefix_trie.h"
#include "text/sentencepiece_file.h"
#include "text/vocabulary.h"

namespace gptq {

class SentencePieceBpe : public TokenModel {
 public:
  /// Fault::limit for pieces that are too long to be merged, Fault::format for a file without an unknown piece.
  SentencePieceBpe(const SentencePieceFile& file, std::shared_ptr<const Vocabulary> vocabulary);

  void encode(std::string_view piece, EncodeScratch& scratch, std::vector<int32_t>& ids) const override;

 private:
  void number_characters(const SentencePieceFile& file);
  void add_merges(const SentencePieceFile& file);
  void add_splits(std::string_view text, uint32_t rank, int32_t result);
  void expand_unused(const SentencePieceFile& file);
  size_t to_symbols(std::string_view text, EncodeScratch& scratch) const;
  void append_ids(std::string_view text, const std::vector<Symbol>& symbols, size_t count,
                  std::vector<int32_t>& ids) const;
  void append_unknown(std::vector<int32_t>& ids) const;

  std::shared_ptr<const Vocabulary> vocabulary_;
  bool byte_fallback_;
  int32_t unk_id_ = -1;
  std::array<int32_t, 256> byte_tokens_;
  TextTable mergeable_;  // normal, unused and user-defined pieces
  PrefixTrie user_defined_;
  TextTable characters_;  // single characters to symbols: pieces, or numbers behind the vocabulary
  std::unique_ptr<MergeTable> merges_;
  std::vector<std::vector<int32_t>> unused_;  // by id: what an unused piece stands for; empty for all others
};

}  // namespace gptq
