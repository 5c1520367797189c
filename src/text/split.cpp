// See split.h.
#include "text/split.h"

#include <algorithm>

namespace gptq {

namespace {

// From right to left, so that a match joins what follows it.
std::vector<Span> join_with_next(const std::vector<Span>& spans) {
  std::vector<Span> joined;
  bool previous_match = false;
  for (auto span = spans.rbegin(); span != spans.rend(); ++span) {
    if (span->match && !previous_match && !joined.empty()) {
      joined.back().begin = span->begin;
    } else {
      joined.push_back(*span);
    }
    previous_match = span->match;
  }
  std::reverse(joined.begin(), joined.end());
  return joined;
}

std::vector<Span> join(const std::vector<Span>& spans, SplitBehavior behavior) {
  std::vector<Span> joined;
  bool previous_match = false;
  for (const Span& span : spans) {
    const bool joins =
        behavior == SplitBehavior::contiguous ? span.match == previous_match : span.match && !previous_match;
    if (joins && !joined.empty()) {
      joined.back().end = span.end;
    } else {
      joined.push_back(span);
    }
    previous_match = span.match;
  }
  return joined;
}

}  // namespace

void split_piece(const Piece& piece, const std::vector<Span>& spans, SplitBehavior behavior,
                 std::vector<Piece>& out) {
  const auto emit = [&](const std::vector<Span>& list, bool drop_matches) {
    for (const Span& span : list) {
      if (span.begin != span.end && !(drop_matches && span.match))
        out.push_back(sub_piece(piece, span.begin, span.end));
    }
  };
  switch (behavior) {
    case SplitBehavior::isolated: return emit(spans, false);
    case SplitBehavior::removed: return emit(spans, true);
    case SplitBehavior::merged_with_next: return emit(join_with_next(spans), false);
    case SplitBehavior::merged_with_previous:
    case SplitBehavior::contiguous: return emit(join(spans, behavior), false);
  }
}

}  // namespace gptq
