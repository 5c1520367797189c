// A tokenizer's model: one piece of text to ids. BPE is one; others can be added beside it.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "text/scratch.h"

namespace gptq {

class TokenModel {
 public:
  virtual ~TokenModel() = default;
  /// Appends the ids of `piece` (valid UTF-8, not empty).
  virtual void encode(std::string_view piece, EncodeScratch& scratch, std::vector<int32_t>& ids) const = 0;
};

}  // namespace gptq
