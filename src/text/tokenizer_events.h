// Reading tokenizer.json without a tree of its two huge parts: "model.vocab" and "model.merges" go straight into
// compact tables, everything else into a small Json.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/bpe.h"

namespace gptq {

/// Spellings and ids as the file has them, unchecked.
class VocabList {
 public:
  void add(std::string_view text, int64_t id);
  size_t size() const { return entries_.size(); }
  template <class Use>
  void for_each(const Use& use) const {
    size_t at = 0;
    for (const auto& [length, id] : entries_) {
      use(std::string_view(texts_).substr(at, length), id);
      at += length;
    }
  }

 private:
  struct Entry {
    uint32_t length;
    int64_t id;
  };
  std::string texts_;
  std::vector<Entry> entries_;
};

struct TokenizerJson {
  JsonDocument rest;  // without model.vocab (if it is an object) and model.merges
  bool has_vocab = false, has_merges = false;
  VocabList vocab;
  MergeList merges;
};

TokenizerJson parse_tokenizer_json(std::string_view text, std::string_view name);

}  // namespace gptq
