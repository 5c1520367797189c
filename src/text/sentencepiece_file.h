// tokenizer.model: SentencePiece's ModelProto, as far as encoding needs it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gptq {

/// SentencePiece's numbers.
enum class PieceType : uint8_t {
  normal = 1,
  unknown = 2,
  control = 3,
  user_defined = 4,
  unused = 5,
  byte = 6
};

struct SentencePiece {
  std::string_view text;  // borrowed from the file
  float score = 0;
  PieceType type = PieceType::normal;
};

struct SentencePieceFile {
  std::vector<SentencePiece> pieces;  // by id
  int64_t model_type = 1;             // 1 unigram, 2 BPE, 3 word, 4 char
  bool byte_fallback = false;
  bool whitespace_as_suffix = false;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  std::string_view character_map;  // borrowed; Charsmap reads it; empty: identity
};

/// Fault::truncated, format, numeric, range or limit, naming `name`. Borrows `data`.
SentencePieceFile parse_sentencepiece(std::string_view data, std::string_view name);

}  // namespace gptq
