// Layers of a model that lie on one device, and the devices of a model that lies on several.
//
// The layers of a segment run one behind the other; what the last of them leaves goes on to the next segment. The embedding,
// with all that comes before the first layer, is on the device of the first segment; the last norm and the output head are
// on that of the last.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"

namespace gptq {

/// Layers [first, first + count).
struct LayerRange {
  int64_t first = 0, count = 0;

  int64_t end() const { return first + count; }
};

struct LayerSegment {
  std::shared_ptr<const Backend> backend;
  LayerRange layers;     // at least one
  std::string device{};  // "cuda:1"
};

/// All layers of a model, in their order.
using LayerSegments = std::vector<LayerSegment>;

}  // namespace gptq
