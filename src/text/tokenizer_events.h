// Reading tokenizer.json without a tree of its two huge parts: "model.vocab" (an object of ids, or Unigram's list of
// tokens and scores) and "model.merges" go straight into compact tables, everything else into a small Json.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/bpe.h"

namespace gptq {

/// Spellings with their ids, or with their scores, as the file has them, unchecked.
template <class Number>
class TextNumbers {
 public:
  void add(std::string_view text, Number number) {
    texts_ += text;
    entries_.push_back({static_cast<uint32_t>(text.size()), number});
  }
  size_t size() const { return entries_.size(); }
  /// Calls use(text, number) in order.
  template <class Use>
  void for_each(const Use& use) const {
    size_t at = 0;
    for (const auto& [length, number] : entries_) {
      use(std::string_view(texts_).substr(at, length), number);
      at += length;
    }
  }

 private:
  struct Entry {
    uint32_t length;
    Number number;
  };
  std::string texts_;
  std::vector<Entry> entries_;
};

struct TokenizerJson {
  JsonDocument rest;  // without model.vocab and model.merges
  bool has_vocab = false, has_scores = false, has_merges = false;
  TextNumbers<int64_t> vocab;  // if model.vocab is an object
  TextNumbers<double> scores;  // if it is a list: by id
  MergeList merges;
};

TokenizerJson parse_tokenizer_json(std::string_view text, std::string_view name);

}  // namespace gptq
