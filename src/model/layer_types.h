// Which layers see a window, from the keys that say so.
#pragma once

namespace gptq {

class JsonObject;
struct Spec;

/// Sets LayerSpec::window by the family's Windows.
void read_windows(const JsonObject& config, Spec& spec);

}  // namespace gptq
