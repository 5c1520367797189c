// The Unigram model: of all ways to cut a piece into tokens, the one whose scores have the best sum.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "text/model.h"
#include "text/prefix_trie.h"
#include "text/vocabulary.h"

namespace gptq {

/// How sums are kept; it decides between ways that are as good as each other.
enum class SumPrecision : uint8_t { single, twice };
/// Whether neighbouring unknown characters are looked up together before they count as unknown.
enum class UnknownRuns : uint8_t { unknown, sought };

struct UnigramOptions {
  std::optional<int32_t> unk_id;
  double unk_score = 0;        // of a character that is no token
  bool byte_fallback = false;  // unknown characters become <0xHH> tokens
  SumPrecision precision = SumPrecision::twice;
  UnknownRuns runs = UnknownRuns::sought;
};

struct ScoredToken {
  std::string_view text;
  int32_t id;
  double score;
};

class Unigram : public TokenModel {
 public:
  /// Only `tokens` are cut out; of equal ones the last counts. Fault::limit for tokens that are too long.
  Unigram(std::shared_ptr<const Vocabulary> vocabulary, const std::vector<ScoredToken>& tokens,
          const UnigramOptions& options);

  void encode(std::string_view piece, EncodeScratch& scratch, std::vector<int32_t>& ids) const override;

 private:
  size_t cut_stretch(std::string_view text, double score_before, std::vector<PathStep>& steps) const;
  void append_unknown(std::string_view run, std::vector<int32_t>& ids) const;

  std::shared_ptr<const Vocabulary> vocabulary_;
  UnigramOptions options_;
  std::vector<double> scores_;            // by id
  std::array<int32_t, 256> byte_tokens_;  // <0xHH>; -1 where there is none
  PrefixTrie trie_;
};

}  // namespace gptq
