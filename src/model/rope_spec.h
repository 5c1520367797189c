// The rope part of config.json, old spelling (rope_theta, rope_scaling) and new (rope_parameters).
#pragma once

#include "model/spec.h"

namespace gptq {

/// Unknown kinds are Fault::unsupported, numbers without meaning Fault::range.
RopeSpec read_rope(const JsonObject& config, int64_t head_dim, int64_t context);

}  // namespace gptq
