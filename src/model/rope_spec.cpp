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
  if (kind == "longrope" || kind == "su") return RopeKind::longrope;
  if (kind == "proportional") return RopeKind::proportional;
  throw Error(Fault::unsupported,
              cat(rope.name(), ": rope type ", quoted(kind),
                  ", wanted default, linear, dynamic, yarn, llama3, longrope or proportional"));
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

std::vector<float> read_factors(const JsonObject& rope, std::string_view key, int64_t count) {
  const Json* list = rope.find({key});
  const std::string wanted = cat("an array of ", count, " numbers of at least 1e-6");
  if (list == nullptr || !list->is_array() || static_cast<int64_t>(list->size()) != count)
    rope.refuse(Fault::mismatch, key, wanted);
  std::vector<float> factors;
  for (const Json& value : *list) {
    if (!value.is_number() || !(value.get<double>() >= 1e-6 && value.get<double>() <= 1e6))
      rope.refuse(Fault::range, key, wanted);
    factors.push_back(static_cast<float>(value.get<double>()));
  }
  return factors;
}

void read_longrope(const JsonObject& rope, int64_t context, RopeSpec& spec) {
  spec.short_factors = read_factors(rope, "short_factor", spec.dim / 2);
  spec.long_factors = read_factors(rope, "long_factor", spec.dim / 2);
  const double stretch = static_cast<double>(context) / static_cast<double>(spec.original_context);
  spec.factor = rope.number_or({"factor"}, 1e-6, 1e6, stretch);
  const double usual =
      spec.factor <= 1
          ? 1.0
          : std::sqrt(1 + std::log(spec.factor) / std::log(static_cast<double>(spec.original_context)));
  spec.attention_factor = rope.number_or({"attention_factor"}, 0, kHuge, usual);
}

void read_scaling(const JsonObject& rope, int64_t context, RopeSpec& spec) {
  if (spec.kind == RopeKind::plain) return;
  if (spec.kind == RopeKind::longrope) return read_longrope(rope, context, spec);
  if (spec.kind == RopeKind::proportional) {
    spec.factor = rope.number_or({"factor"}, 1e-6, 1e6, 1.0);
    return;
  }
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

/// `inner` is the object of the new spelling, or empty.
RopeSpec read(const JsonObject& config, const std::optional<JsonObject>& inner, const Spec& model,
              int64_t head_dim, double theta) {
  constexpr double kLeastTheta = 1e-3;
  constexpr int64_t kAny = std::numeric_limits<int64_t>::max();
  RopeSpec spec;
  spec.layout = model.traits.rope_layout;
  spec.theta = config.number_or({"rope_theta", "rotary_emb_base"}, kLeastTheta, kHuge, theta);
  spec.original_context = config.integer_or({"original_max_position_embeddings"}, 1, kAny, model.context);
  double partial = config.number_or({"partial_rotary_factor", "rotary_pct", "rope_pct"}, 1e-6, 1.0,
                                    model.traits.partial_rotary);
  if (inner) {
    spec.theta = inner->number_or({"rope_theta"}, kLeastTheta, kHuge, spec.theta);
    spec.original_context =
        inner->integer_or({"original_max_position_embeddings"}, 1, kAny, spec.original_context);
    partial = inner->number_or({"partial_rotary_factor"}, 1e-6, 1.0, partial);
    spec.kind = read_kind(*inner);
  }
  spec.dim = static_cast<int64_t>(static_cast<double>(head_dim) * partial);
  if (spec.kind == RopeKind::proportional) {
    spec.turning = spec.dim / 2 * 2;
    spec.dim = head_dim;
  }
  if (spec.dim < 2 || spec.dim % 2 != 0) {
    const bool latent = config.has({"qk_rope_head_dim"});
    config.refuse(Fault::range, latent ? "qk_rope_head_dim" : "head_dim",
                  cat("an even number of rotating elements, found ", spec.dim));
  }
  if (inner) read_scaling(*inner, model.context, spec);
  return spec;
}

}  // namespace

RopeSpec read_rope(const JsonObject& config, const Spec& spec) {
  auto rope = config.object({"rope_parameters", "rope_scaling"});
  // an object for each type of layer instead: read_rope_of() reads them
  if (rope && (rope->has({"full_attention"}) || rope->has({"sliding_attention"}))) rope.reset();
  return read(config, rope, spec, spec.head_dim, 10000.0);
}

RopeSpec read_rope_of(const JsonObject& config, const Spec& spec, std::string_view layer_type,
                      int64_t head_dim, double theta) {
  const auto all = config.object({"rope_parameters"});
  return read(config, all ? all->object({layer_type}) : std::nullopt, spec, head_dim, theta);
}

}  // namespace gptq
