// The rope part of config.json, old spelling (rope_theta, rope_scaling) and new (rope_parameters).
#pragma once

#include <string_view>

#include "model/spec.h"

namespace gptq {

/// For heads of spec.head_dim. Unknown kinds are Fault::unsupported, numbers without meaning Fault::range.
RopeSpec read_rope(const JsonObject& config, const Spec& spec);

/// Likewise where rope_parameters has an object for each type of layer, and where it has none, with `theta` otherwise.
RopeSpec read_rope_of(const JsonObject& config, const Spec& spec, std::string_view layer_type,
                      int64_t head_dim, double theta);

}  // namespace gptq
