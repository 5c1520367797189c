// Byte pair merging: joins neighbouring symbols, best pair first, until no pair is known.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "text/flat_table.h"

namespace gptq {

/// A stretch of text during merging.
struct Symbol {
  int32_t id;
  uint32_t length;  // bytes of text, > 0
};

/// Buffers for merging, kept from word to word.
struct MergeScratch {
  struct Candidate {
    uint32_t rank, position, length, result;
  };
  std::vector<Candidate> heap;
  std::vector<int32_t> previous, next;
};

class MergeTable {
 public:
  /// Room for `count` merges.
  explicit MergeTable(size_t count) : pairs_(count), joints_(count) {}

  /// left + right -> result; smaller ranks go first, among equals the leftmost. `last` is the unmerged symbol that
  /// `left` ends with, `first` the one that `right` begins with: two unmerged neighbours that are no such joint of
  /// any merge stay apart for ever, and the text is cut between them.
  void add(int32_t left, int32_t right, uint32_t rank, int32_t result, int32_t last, int32_t first);
  /// For merges whose ends are not known to add(): texts are no longer cut.
  void never_cut() { cut_ = false; }

  /// Merges within `symbols` in place; returns how many are left, at the front. O(n log n).
  size_t merge(std::span<Symbol> symbols, MergeScratch& scratch) const;

 private:
  size_t merge_few(Symbol* symbols, size_t count) const;
  size_t merge_many(std::span<Symbol> symbols, MergeScratch& scratch) const;
  void push_candidate(std::span<const Symbol> symbols, size_t left, size_t right,
                      MergeScratch& scratch) const;
  const PairTable::Value* find(const Symbol& left, const Symbol& right) const {
    return pairs_.find(static_cast<uint32_t>(left.id), static_cast<uint32_t>(right.id));
  }

  PairTable pairs_;
  PairTable joints_;  // a set
  bool cut_ = true;
};

}  // namespace gptq
