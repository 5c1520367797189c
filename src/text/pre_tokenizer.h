// Pre-tokenizers: they cut normalized text into the pieces that the model sees one by one.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "text/scratch.h"

namespace gptq {

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  /// Appends what becomes of `piece`; no empty pieces.
  virtual void split(const Piece& piece, std::vector<Piece>& out, EncodeScratch& scratch) const = 0;
};

/// Whether the model gets raw bytes, which it maps to byte-level characters itself, or the text as it is.
enum class ModelInput : uint8_t { text, bytes };

struct PreTokenizers {
  std::vector<std::unique_ptr<const PreTokenizer>> steps;
  ModelInput model_input = ModelInput::text;  // bytes if the last step is ByteLevel
};

/// The value of "pre_tokenizer", null included. `where` names file and place.
PreTokenizers read_pre_tokenizers(const Json& json, const std::string& where);

}  // namespace gptq
