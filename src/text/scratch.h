// What one call of encode() keeps from piece to piece: buffers, and the texts that its steps make.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "text/merge_table.h"
#include "text/regex.h"

namespace gptq {

/// Whether a piece starts where the whole input starts.
enum class AtStart : uint8_t { no, yes };

/// A stretch of text, valid UTF-8, never empty; borrowed from the input or from EncodeScratch::texts.
struct Piece {
  std::string_view text;
  AtStart at_start;
};

/// How Unigram reaches a position of a text.
struct PathStep {
  double score;     // of everything before it
  int32_t id;       // the last token
  uint32_t length;  // its bytes, 0: not reached yet
};

struct EncodeScratch {
  RegexMatcher matcher;
  MergeScratch merging;
  std::vector<Symbol> symbols;
  std::vector<PathStep> steps;
  std::vector<uint32_t> path;  // ends of the tokens, last first
  std::vector<Piece> pieces, next_pieces;
  std::deque<std::string> texts;
};

}  // namespace gptq
