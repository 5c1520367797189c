#include "quant/gguf_settings.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "model/rope.h"

namespace gptq {
namespace {

[[noreturn]] void refuse(std::string_view what) {
  throw Error(Fault::unsupported, cat("llama.cpp can't run this model: ", what));
}

void check_runs(const Spec& spec, const GgufArch& arch) {
  const bool gpt2 = spec.traits.positions == Positions::learned;
  const Act wanted = gpt2 ? Act::gelu_tanh : Act::silu;
  if (spec.act.act != wanted)
    refuse(cat("its own ", arch.name, " has the activation ", gpt2 ? "gelu_new" : "silu"));
  const double scale = 1.0 / std::sqrt(static_cast<double>(spec.head_dim));
  if (spec.attention_scale != scale) refuse("attention is not scaled by 1 / sqrt(head_dim)");
  if (arch.name != "llama" && spec.head_dim * spec.heads != spec.hidden) {
    refuse(cat("heads of ", spec.head_dim, " are not hidden_size / num_attention_heads"));
  }
  if (!gpt2 && spec.rope().dim != spec.head_dim) refuse("only a part of each head rotates");
  if (spec.rope().kind == RopeKind::longrope || spec.rope().kind == RopeKind::proportional)
    refuse("its rope is of another kind than this architecture's");
  if (spec.rope().kind != RopeKind::yarn) return;
  const RopeSpec usual;
  if (!spec.rope().truncate) refuse("yarn without rounding its range ('truncate' is false)");
  if (spec.rope().beta_fast != usual.beta_fast || spec.rope().beta_slow != usual.beta_slow)
    refuse("yarn with other bounds than 'beta_fast' 32 and 'beta_slow' 1");
}

void warn_of_differences(const Spec& spec) {
  int64_t narrowest = spec.context;
  for (const LayerSpec& layer : spec.layer) {
    if (layer.window > 0) narrowest = std::min(narrowest, layer.window);
  }
  if (narrowest < spec.context) {
    log(LogLevel::warning,
        cat("llama.cpp runs this architecture without its sliding window: it computes something "
            "else for texts of more than ",
            narrowest, " tokens"));
  }
  if (spec.rope().kind == RopeKind::dynamic) {
    log(LogLevel::warning,
        cat("llama.cpp has no 'dynamic' rope: it computes something else for texts of more than ",
            spec.rope().original_context, " tokens"));
  }
}

void add_rope(GgufSettings& settings, const std::string& prefix, const RopeSpec& rope) {
  settings.integer(prefix + "rope.dimension_count", static_cast<uint32_t>(rope.dim));
  settings.number(prefix + "rope.freq_base", static_cast<float>(rope.theta));
  if (rope.original_context > UINT32_MAX)
    refuse(cat("'original_max_position_embeddings' is ", rope.original_context, ", above ", UINT32_MAX));
  if (rope.kind == RopeKind::llama3) {  // not read by llama.cpp, which has the factors; an import needs it
    settings.integer(prefix + "rope.scaling.original_context_length",
                     static_cast<uint32_t>(rope.original_context));
  }
  if (rope.kind != RopeKind::linear && rope.kind != RopeKind::yarn) return;
  const bool yarn = rope.kind == RopeKind::yarn;
  settings.text(prefix + "rope.scaling.type", yarn ? "yarn" : "linear");
  settings.number(prefix + "rope.scaling.factor", static_cast<float>(rope.factor));
  if (!yarn) return;
  settings.integer(prefix + "rope.scaling.original_context_length",
                   static_cast<uint32_t>(rope.original_context));
  // llama.cpp multiplies this by the factor of the paper
  const double usual = 1 + 0.1 * std::log(rope.factor);
  if (std::fabs(rope.attention_factor - usual) > 1e-6 * usual)
    settings.number(prefix + "rope.scaling.attn_factor", static_cast<float>(rope.attention_factor / usual));
}

}  // namespace

uint32_t gguf_file_type(GgufType most) {
  switch (most) {
    case GgufType::f32: return 0;
    case GgufType::f16: return 1;
    case GgufType::q4_0: return 2;
    case GgufType::q4_1: return 3;
    case GgufType::q8_0: return 7;
    case GgufType::q6_k: return 18;
    case GgufType::bf16: return 32;
  }
  return 0;
}

GgufSettings gguf_model_settings(const Spec& spec, const GgufArch& arch, std::string_view name) {
  check_runs(spec, arch);
  warn_of_differences(spec);
  GgufSettings settings;
  settings.text("general.architecture", arch.name);
  settings.text("general.type", "model");
  settings.text("general.name", name);
  settings.integer("general.alignment", static_cast<uint32_t>(kGgufAlignment));
  settings.integer("general.quantization_version", 2);
  const std::string prefix = cat(arch.name, ".");
  const auto count = [&](std::string_view key, int64_t value) {
    settings.integer(cat(prefix, key), static_cast<uint32_t>(value));
  };
  count("vocab_size", spec.vocab);
  count("context_length", spec.context);
  count("embedding_length", spec.hidden);
  count("block_count", spec.layers);
  count("feed_forward_length", spec.intermediate);
  count("attention.head_count", spec.heads);
  count("attention.head_count_kv", spec.kv_heads);
  if (spec.head_dim * spec.heads != spec.hidden) {
    count("attention.key_length", spec.head_dim);
    count("attention.value_length", spec.head_dim);
  }
  settings.number(cat(prefix, spec.traits.norm == NormKind::rms ? "attention.layer_norm_rms_epsilon"
                                                                : "attention.layer_norm_epsilon"),
                  static_cast<float>(spec.norm_eps));
  if (spec.traits.positions == Positions::rope) add_rope(settings, prefix, spec.rope());
  return settings;
}

std::vector<float> gguf_rope_factors(const RopeSpec& rope) {
  if (rope.kind != RopeKind::llama3) return {};
  RopeSpec plain = rope;
  plain.kind = RopeKind::plain;
  const std::vector<float> before = Rope(plain).frequencies(1), after = Rope(rope).frequencies(1);
  std::vector<float> factors(before.size());
  for (size_t i = 0; i < factors.size(); ++i) factors[i] = before[i] / after[i];
  return factors;
}

}  // namespace gptq
