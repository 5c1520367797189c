// Normalizers: what is done to a stretch of text before it is cut into pieces.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "text/scratch.h"

namespace gptq {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void apply(std::string& text, EncodeScratch& scratch) const = 0;
};

using Normalizers = std::vector<std::unique_ptr<const Normalizer>>;

/// The value of "normalizer", null included, as a list of steps. `where` names file and place.
Normalizers read_normalizers(const Json& json, const std::string& where);

}  // namespace gptq
