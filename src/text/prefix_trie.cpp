// See prefix_trie.h.
#include "text/prefix_trie.h"

#include <algorithm>

namespace gptq {

namespace {

using Entry = std::pair<std::string_view, int32_t>;

size_t common_prefix(std::string_view a, std::string_view b) {
  size_t n = 0;
  while (n < a.size() && n < b.size() && a[n] == b[n]) ++n;
  return n;
}

std::vector<Entry>& sorted(std::vector<Entry>& entries) {
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.first < b.first; });
  return entries;
}

size_t count_nodes(const std::vector<Entry>& entries) {
  size_t nodes = 0;
  std::string_view previous;
  for (const auto& [text, id] : entries) {
    nodes += text.size() - common_prefix(previous, text);
    previous = text;
  }
  return nodes;
}

}  // namespace

PrefixTrie::PrefixTrie(std::vector<Entry> entries) : children_(count_nodes(sorted(entries))) {
  std::vector<uint32_t> path = {0};  // the nodes of `previous`, the root first
  std::string_view previous;
  uint32_t next = 1;
  for (const auto& [text, id] : entries) {
    if (text.empty()) continue;
    size_t depth = common_prefix(previous, text);
    if (depth == text.size()) --depth;  // the same text again
    path.resize(depth + 1);
    for (; depth < text.size(); ++depth) {
      const bool last = depth + 1 == text.size(), again = last && previous == text;
      const uint32_t child = again ? next - 1 : next++;
      children_.set(path.back(), static_cast<unsigned char>(text[depth]),
                    {child, last ? static_cast<uint32_t>(id) : kNone});
      path.push_back(child);
    }
    previous = text;
  }
}

}  // namespace gptq
