#include <cmath>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "model/rope_spec.h"
#include "model/spec.h"
#include "model/tweaks.h"

namespace gptq {
void tweak_parallel_residual(const JsonObject& config, Spec& spec) {
  const bool otherwise = spec.family->traits.flow == Flow::parallel;
  spec.traits.flow =
      config.boolean_or({"use_parallel_residual"}, otherwise) ? Flow::parallel : Flow::sequential;
}

void tweak_gpt_neox(const JsonObject& config, Spec& spec) {
  tweak_parallel_residual(config, spec);
  spec.kv_heads = spec.heads;
}

void tweak_bigcode(const JsonObject& config, Spec& spec) {
  if (config.boolean_or({"multi_query"}, true)) spec.kv_heads = 1;
}

/// attention_layers has a kind for each layer, attention_types the same in short: [[["global", "local"], 12]].
void tweak_gpt_neo(const JsonObject& config, Spec& spec) {
  spec.attention_scale = 1.0;
  const int64_t window = config.integer_or({"window_size"}, 1, kAny, 256);
  const Json* list = config.find({"attention_layers"});
  std::vector<bool> local;
  const auto take = [&](const Json& kind) {
    if (!is_text(kind, "global") && !is_text(kind, "local"))
      config.refuse(Fault::unsupported, "attention_types", "'global' or 'local'");
    if (local.size() <= spec.layer.size()) local.push_back(is_text(kind, "local"));
  };
  if (list != nullptr && list->is_array()) {
    for (const Json& kind : *list) take(kind);
  } else if (const Json* types = config.find({"attention_types"}); types != nullptr && types->is_array()) {
    for (const Json& type : *types) {
      if (!type.is_array() || type.size() != 2 || !type[0].is_array() || !type[1].is_number_integer())
        config.refuse(Fault::range, "attention_types", "pairs of kinds and how often they come");
      for (int64_t n = type[1].get<int64_t>(); n > 0 && local.size() <= spec.layer.size(); --n) {
        if (type[0].empty()) break;
        for (const Json& kind : type[0]) take(kind);
      }
    }
  }
  if (local.size() != spec.layer.size())
    config.refuse(Fault::mismatch, "attention_types", cat("kinds for ", spec.layers, " layers"));
  for (size_t i = 0; i < local.size(); ++i) {
    if (local[i]) spec.layer[i].window = window;
  }
}

void tweak_gptj(const JsonObject& config, Spec& spec) {
  const int64_t dim = config.integer_or({"rotary_dim"}, 2, spec.head_dim, spec.head_dim);
  if (dim % 2 != 0) config.refuse(Fault::range, "rotary_dim", "an even number");
  spec.ropes[0].dim = dim;
}

void tweak_bloom(const JsonObject& config, Spec&) {
  config.refuse_unless("apply_residual_connection_post_layernorm", false);
}

/// Three shapes: with new_decoder_architecture groups of heads share keys (40B); else one key head for all (7B), or one
/// for each (RW).
void tweak_falcon(const JsonObject& config, Spec& spec) {
  const bool grouped = config.boolean_or({"new_decoder_architecture"}, false);
  const bool shared = config.boolean_or({"multi_query"}, true);
  const bool parallel = grouped || config.boolean_or({"parallel_attn"}, true);
  spec.kv_heads = shared ? 1 : spec.heads;
  if (grouped) spec.kv_heads = config.integer_or({"num_kv_heads", "n_head_kv"}, 1, kMaxHeads, spec.heads);
  spec.traits.flow = parallel ? Flow::parallel : Flow::sequential;
  if (config.boolean_or({"alibi"}, false)) {
    spec.traits.positions = Positions::alibi;
    spec.traits.slopes = SlopeKind::rounded;
    // once with the scores, as trained, and once more with the mask: transformers' eager attention, the reference, does
    // both (its sdpa only the latter)
    spec.alibi_factor = 2 * spec.attention_scale;
    spec.ropes.clear();
  }
}

void tweak_mpt(const JsonObject& config, Spec& spec) {
  spec.intermediate = 4 * spec.hidden;  // whatever expansion_ratio says
  const auto attention = config.object({"attn_config"});
  if (!attention) return;
  attention->refuse_unless("alibi", true);
  attention->refuse_unless("qk_ln", false);
  attention->refuse_unless("prefix_lm", false);
  if (attention->has({"clip_qkv"})) spec.clip_qkv = attention->number({"clip_qkv"}, kLeast, kHuge);
  if (attention->has({"softmax_scale"}))
    spec.attention_scale = attention->number({"softmax_scale"}, kLeast, kHuge);
  spec.alibi_bias_max = attention->number_or({"alibi_bias_max"}, 0, 1e3, 8);
}

void tweak_opt(const JsonObject& config, Spec& spec) {
  config.refuse_unless("layer_norm_elementwise_affine", true);
  const bool before = config.boolean_or({"do_layer_norm_before"}, true);
  spec.traits.flow = before ? Flow::sequential : Flow::post;
  if (!before || config.boolean_or({"_remove_final_layer_norm"}, false))
    spec.traits.final_norm = FinalNorm::no;
  spec.embed_dim = config.integer_or({"word_embed_proj_dim"}, 1, kMaxWidth, spec.hidden);
}

void tweak_xglm(const JsonObject& config, Spec& spec) {
  if (config.boolean_or({"scale_embedding"}, true))
    spec.embed_scale = std::sqrt(static_cast<double>(spec.hidden));
}

void tweak_persimmon(const JsonObject&, Spec& spec) { spec.kv_heads = spec.heads; }

}  // namespace gptq
