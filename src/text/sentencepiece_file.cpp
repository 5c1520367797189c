// See sentencepiece_file.h. Field numbers are those of sentencepiece_model.proto.
#include "text/sentencepiece_file.h"

#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "text/protobuf.h"

namespace gptq {

namespace {

constexpr size_t kMostPieces = size_t{1} << 24;

SentencePiece read_piece(std::string_view message, size_t id, std::string_view name) {
  const std::string place = cat(name, ": piece ", id);
  SentencePiece piece;
  ProtobufReader reader(message, name);
  while (reader.next()) {
    if (reader.field() == 1) piece.text = reader.bytes();
    if (reader.field() == 2) piece.score = reader.number();
    if (reader.field() == 3) {
      const int64_t type = reader.integer();
      if (type < 1 || type > 6) throw Error(Fault::range, cat(place, ": type ", type, ", wanted 1 to 6"));
      piece.type = static_cast<PieceType>(type);
    }
  }
  if (piece.text.empty() || !is_utf8(piece.text)) {
    throw Error(Fault::format, cat(place, " is ", quoted(piece.text), ", wanted UTF-8 text"));
  }
  if (std::isnan(piece.score)) throw Error(Fault::numeric, cat(place, ": its score is not a number"));
  return piece;
}

void read_trainer_spec(std::string_view message, std::string_view name, SentencePieceFile& file) {
  ProtobufReader reader(message, name);
  while (reader.next()) {
    if (reader.field() == 3) file.model_type = reader.integer();
    if (reader.field() == 24) file.whitespace_as_suffix = reader.integer() != 0;
    if (reader.field() == 35) file.byte_fallback = reader.integer() != 0;
  }
}

void read_normalizer_spec(std::string_view message, std::string_view name, SentencePieceFile& file) {
  ProtobufReader reader(message, name);
  while (reader.next()) {
    if (reader.field() == 2) file.character_map = reader.bytes();
    if (reader.field() == 3) file.add_dummy_prefix = reader.integer() != 0;
    if (reader.field() == 4) file.remove_extra_whitespaces = reader.integer() != 0;
    if (reader.field() == 5) file.escape_whitespaces = reader.integer() != 0;
  }
}

}  // namespace

SentencePieceFile parse_sentencepiece(std::string_view data, std::string_view name) {
  SentencePieceFile file;
  ProtobufReader reader(data, name);
  while (reader.next()) {
    if (reader.field() == 1) {
      if (file.pieces.size() >= kMostPieces)
        throw Error(Fault::limit, cat(name, ": more than ", kMostPieces, " pieces"));
      file.pieces.push_back(read_piece(reader.bytes(), file.pieces.size(), name));
    }
    if (reader.field() == 2) read_trainer_spec(reader.bytes(), name, file);
    if (reader.field() == 3) read_normalizer_spec(reader.bytes(), name, file);
  }
  if (file.pieces.empty()) throw Error(Fault::format, cat(name, ": it has no pieces"));
  return file;
}

}  // namespace gptq
