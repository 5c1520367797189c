// Cutting a piece of text at the matches of a pattern.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "text/scratch.h"

namespace gptq {

/// What becomes of the matches: own pieces, dropped, or joined to a neighbour.
enum class SplitBehavior : uint8_t { isolated, removed, merged_with_previous, merged_with_next, contiguous };

/// A part of a text: a match or what lies between matches.
struct Span {
  size_t begin, end;
  bool match;
};

/// Appends the non-empty results of joining or dropping `spans`, which follow each other and cover `piece`.
void split_piece(const Piece& piece, const std::vector<Span>& spans, SplitBehavior behavior,
                 std::vector<Piece>& out);

/// The part [begin, end) of a piece.
inline Piece sub_piece(const Piece& piece, size_t begin, size_t end) {
  return {piece.text.substr(begin, end - begin), begin == 0 ? piece.at_start : AtStart::no};
}

}  // namespace gptq
