#include "model/layer_types.h"

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "model/spec.h"
#include "model/tweaks.h"

namespace gptq {
namespace {

void read_types(const JsonObject& config, const Json& types, std::optional<int64_t> width, Spec& spec) {
  for (size_t i = 0; i < spec.layer.size(); ++i) {
    const Json& type = types[i];
    if (is_text(type, "full_attention")) continue;
    if (!is_text(type, "sliding_attention")) {
      config.refuse(Fault::unsupported, "layer_types", "'full_attention' or 'sliding_attention'");
    }
    if (!width)
      config.refuse(Fault::mismatch, "sliding_window", "a width, since layer_types has sliding_attention");
    spec.layer[i].window = *width;
  }
}

}  // namespace

const Json* find_layer_types(const JsonObject& config, const Spec& spec) {
  const Json* types = config.find({"layer_types"});
  if (types != nullptr && (!types->is_array() || types->size() != spec.layer.size()))
    config.refuse(Fault::mismatch, "layer_types",
                  cat("an array of ", spec.layers, " entries, one per layer"));
  return types;
}

void read_windows(const JsonObject& config, Spec& spec) {
  const Windows windows = spec.traits.windows;
  if (windows == Windows::none) return;
  if (windows == Windows::upper && !config.boolean_or({"use_sliding_window"}, false)) return;
  const auto width = config.maybe_integer({"sliding_window"}, 1, kAny);
  if (const Json* types = find_layer_types(config, spec)) return read_types(config, *types, width, spec);
  if (!width) return;
  const int64_t first = windows == Windows::upper ? config.integer_or({"max_window_layers"}, 0, kAny, 28) : 0;
  const int64_t pattern = windows == Windows::typed
                              ? config.integer_or({"sliding_window_pattern", "_sliding_window_pattern"}, 0,
                                                  kAny, spec.traits.window_pattern)
                              : 0;
  for (int64_t i = first; i < spec.layers; ++i) {
    const bool sees_all = pattern > 0 && (i + 1) % pattern == 0;
    if (!sees_all) spec.layer[static_cast<size_t>(i)].window = *width;
  }
}

}  // namespace gptq
