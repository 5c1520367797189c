#include "model/rope_spec.h"

#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"

namespace gptq {
namespace {

constexpr double kHuge = 1e300;

RopeKind read_kind(const JsonObject& rope) {
  const std::string kind = rope.string_or({"rope_type", "type"}, "default");
  if (kind == "default") return RopeKind::plain;
  if (kind == "linear") return RopeKind::linear;
  if (kind == "dynamic") return RopeKind::dynamic;
  if (kind == "yarn") return RopeKind::yarn;
  if (kind == "llama3") return RopeKind::llama3;
  throw Error(Fault::unsupported, cat(rope.name(), ": rope type ", quoted(kind),
                                      ", wanted default, linear, dynamic, yarn or llama3"));
}

/// Yarn's attention temperature: as given, or from mscale (DeepSeek), or 0.1 ln(factor) + 1.
double yarn_attention_factor(const JsonObject& rope, double factor) {
  const auto temperature = [&](double mscale) {
    return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
  };
  const double given = rope.number_or({"attention_factor"}, 0, kHuge, 0);
  if (given > 0) return given;
  const double mscale = rope.number_or({"mscale"}, 0, kHuge, 0);
  const double mscale_all_dim = rope.number_or({"mscale_all_dim"}, 0, kHuge, 0);
  if (mscale != 0 && mscale_all_dim != 0) return temperature(mscale) / temperature(mscale_all_dim);
  return temperature(1.0);
}

void read_scaling(const JsonObject& rope, int64_t context, RopeSpec& spec) {
  if (spec.kind == RopeKind::plain) return;
  spec.factor = spec.kind == RopeKind::yarn && !rope.has({"factor"})
                    ? static_cast<double>(context) / static_cast<double>(spec.original_context)
                    : rope.number({"factor"}, 1e-6, 1e6);
  if (spec.kind == RopeKind::dynamic) spec.original_context = context;
  if (spec.kind == RopeKind::yarn) {
    spec.attention_factor = yarn_attention_factor(rope, spec.factor);
    spec.beta_fast = rope.number_or({"beta_fast"}, 1e-6, kHuge, 32.0);
    spec.beta_slow = rope.number_or({"beta_slow"}, 1e-6, kHuge, 1.0);
    spec.truncate = rope.boolean_or({"truncate"}, true);
  }
  if (spec.kind == RopeKind::llama3) {
    spec.low_freq_factor = rope.number({"low_freq_factor"}, 1e-6, kHuge);
    spec.high_freq_factor = rope.number({"high_freq_factor"}, 1e-6, kHuge);
    if (spec.high_freq_factor <= spec.low_freq_factor) {
      rope.refuse(Fault::range, "high_freq_factor", "more than low_freq_factor");
    }
  }
}

}  // namespace

RopeSpec read_rope(const JsonObject& config, int64_t head_dim, int64_t context) {
  constexpr double kLeastTheta = 1e-3;
  constexpr int64_t kAny = std::numeric_limits<int64_t>::max();
  RopeSpec spec;
  spec.theta = config.number_or({"rope_theta"}, kLeastTheta, kHuge, 10000.0);
  spec.original_context = config.integer_or({"original_max_position_embeddings"}, 1, kAny, context);
  double partial = config.number_or({"partial_rotary_factor"}, 1e-6, 1.0, 1.0);
  if (const auto rope = config.object({"rope_parameters", "rope_scaling"})) {
    spec.theta = rope->number_or({"rope_theta"}, kLeastTheta, kHuge, spec.theta);
    spec.original_context =
        rope->integer_or({"original_max_position_embeddings"}, 1, kAny, spec.original_context);
    partial = rope->number_or({"partial_rotary_factor"}, 1e-6, 1.0, partial);
    spec.kind = read_kind(*rope);
    read_scaling(*rope, context, spec);
  }
  spec.dim = static_cast<int64_t>(static_cast<double>(head_dim) * partial);
  if (spec.dim < 2 || spec.dim % 2 != 0) {
    config.refuse(Fault::range, "head_dim", cat("an even number of rotating elements, found ", spec.dim));
  }
  return spec;
}

}  // namespace gptq
