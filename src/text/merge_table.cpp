// See merge_table.h.
#include "text/merge_table.h"

#include <algorithm>
#include <cstring>

namespace gptq {

namespace {

constexpr size_t kFew = 32;  // up to here a scan beats a heap
constexpr uint32_t kNoRank = ~uint32_t{0};

bool after(const MergeScratch::Candidate& a, const MergeScratch::Candidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
}

}  // namespace

void MergeTable::add(int32_t left, int32_t right, uint32_t rank, int32_t result, int32_t last,
                     int32_t first) {
  pairs_.set(static_cast<uint32_t>(left), static_cast<uint32_t>(right),
             {rank, static_cast<uint32_t>(result)});
  joints_.set(static_cast<uint32_t>(last), static_cast<uint32_t>(first), {0, 0});
}

size_t MergeTable::merge(std::span<Symbol> symbols, MergeScratch& scratch) const {
  const size_t n = symbols.size();
  if (n <= 8) return merge_few(symbols.data(), n);
  size_t out = 0;
  for (size_t begin = 0; begin < n;) {
    size_t end = begin + 1;
    while (end < n && !(cut_ && joints_.find(static_cast<uint32_t>(symbols[end - 1].id),
                                             static_cast<uint32_t>(symbols[end].id)) == nullptr)) {
      ++end;
    }
    const auto run = symbols.subspan(begin, end - begin);
    const size_t left = run.size() <= kFew ? merge_few(run.data(), run.size()) : merge_many(run, scratch);
    if (out != begin) std::memmove(&symbols[out], run.data(), left * sizeof(Symbol));
    out += left;
    begin = end;
  }
  return out;
}

size_t MergeTable::merge_few(Symbol* symbols, size_t count) const {
  uint32_t ranks[kFew], results[kFew];  // of the pairs (i, i + 1)
  const auto look_up = [&](size_t i) {
    const auto* pair = find(symbols[i], symbols[i + 1]);
    ranks[i] = pair != nullptr ? pair->rank : kNoRank;
    results[i] = pair != nullptr ? pair->result : 0;
  };
  for (size_t i = 0; i + 1 < count; ++i) look_up(i);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i) best = ranks[i] < ranks[best] ? i : best;
    if (ranks[best] == kNoRank) break;
    symbols[best] = {static_cast<int32_t>(results[best]), symbols[best].length + symbols[best + 1].length};
    for (size_t i = best + 1; i + 1 < count; ++i) {
      symbols[i] = symbols[i + 1];
      ranks[i] = ranks[i + 1];
      results[i] = results[i + 1];
    }
    --count;
    if (best + 1 < count) look_up(best);
    if (best > 0) look_up(best - 1);
  }
  return count;
}

void MergeTable::push_candidate(std::span<const Symbol> symbols, size_t left, size_t right,
                                MergeScratch& scratch) const {
  const auto* pair = find(symbols[left], symbols[right]);
  if (pair == nullptr) return;
  scratch.heap.push_back(
      {pair->rank, static_cast<uint32_t>(left), symbols[left].length + symbols[right].length, pair->result});
}

// Symbols are a linked list by position; a symbol that was swallowed has length 0. A candidate is out of date when
// the length of its pair is no longer what it was: pairs only ever grow.
size_t MergeTable::merge_many(std::span<Symbol> symbols, MergeScratch& scratch) const {
  const size_t n = symbols.size();
  auto& heap = scratch.heap;
  auto& previous = scratch.previous;
  auto& next = scratch.next;
  heap.clear();
  previous.resize(n);
  next.resize(n);
  for (size_t i = 0; i < n; ++i) {
    previous[i] = static_cast<int32_t>(i) - 1;
    next[i] = i + 1 < n ? static_cast<int32_t>(i + 1) : -1;
    if (i + 1 < n) push_candidate(symbols, i, i + 1, scratch);
  }
  std::make_heap(heap.begin(), heap.end(), after);
  const auto push = [&](size_t left, size_t right) {
    const size_t before = heap.size();
    push_candidate(symbols, left, right, scratch);
    if (heap.size() > before) std::push_heap(heap.begin(), heap.end(), after);
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), after);
    const auto top = heap.back();
    heap.pop_back();
    const size_t at = top.position;
    if (symbols[at].length == 0 || next[at] < 0) continue;
    const auto right = static_cast<size_t>(next[at]);
    if (symbols[at].length + symbols[right].length != top.length) continue;
    symbols[at] = {static_cast<int32_t>(top.result), top.length};
    symbols[right].length = 0;
    next[at] = next[right];
    if (next[at] >= 0) {
      previous[static_cast<size_t>(next[at])] = static_cast<int32_t>(at);
      push(at, static_cast<size_t>(next[at]));
    }
    if (previous[at] >= 0) push(static_cast<size_t>(previous[at]), at);
  }
  size_t out = 0;
  for (size_t i = 0; i < n; ++i) {
    if (symbols[i].length != 0) symbols[out++] = symbols[i];
  }
  return out;
}

}  // namespace gptq
