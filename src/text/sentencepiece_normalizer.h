// What SentencePiece does to a text before it is cut: characters are replaced by the file's map, spaces become U+2581,
// runs of them one, and one is put in front, as the file says.
#pragma once

#include <memory>
#include <string>

#include "text/normalizer.h"
#include "text/sentencepiece_file.h"

namespace gptq {

/// `name` is the file to name in errors: Fault::truncated or format for a broken map.
std::unique_ptr<const Normalizer> sentencepiece_normalizer(const SentencePieceFile& file,
                                                           const std::string& name);

}  // namespace gptq
