// A set of texts that finds which of them a text begins with.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "text/flat_table.h"

namespace gptq {

class PrefixTrie {
 public:
  /// Texts and their ids (>= 0); empty texts are left out, of equal ones the last counts. Fault::limit if texts collide
  /// more than chance would make them.
  explicit PrefixTrie(std::vector<std::pair<std::string_view, int32_t>> entries);

  /// Calls use(length, id) for each text that `text` begins with, shortest first.
  template <class Use>
  void for_each_prefix(std::string_view text, const Use& use) const {
    uint32_t node = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      const PairTable::Value* child = children_.find(node, static_cast<unsigned char>(text[i]));
      if (child == nullptr) return;
      node = child->rank;
      if (child->result != kNone) use(i + 1, static_cast<int32_t>(child->result));
    }
  }

  /// Whether a text may begin with `byte`.
  bool may_begin(unsigned char byte) const { return children_.find(0, byte) != nullptr; }

  /// The longest; {0, -1} if there is none.
  std::pair<size_t, int32_t> longest_prefix(std::string_view text) const {
    std::pair<size_t, int32_t> longest = {0, -1};
    for_each_prefix(text, [&](size_t length, int32_t id) { longest = {length, id}; });
    return longest;
  }

 private:
  static constexpr uint32_t kNone = ~uint32_t{0};
  PairTable children_;  // node and byte to the number of the child and its id
};

}  // namespace gptq
