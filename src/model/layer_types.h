// Which layers see a window, from the keys that say so.
#pragma once

#include "base/json_fwd.h"

namespace gptq {

class JsonObject;
struct Spec;

/// layer_types, an entry for each layer, or null.
const Json* find_layer_types(const JsonObject& config, const Spec& spec);

/// Sets LayerSpec::window by the family's Windows.
void read_windows(const JsonObject& config, Spec& spec);

}  // namespace gptq
