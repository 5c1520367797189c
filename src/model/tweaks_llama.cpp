#include <cmath>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "model/rope_spec.h"
#include "model/spec.h"
#include "model/tweaks.h"

namespace gptq {
namespace {

double multiplier(const JsonObject& config, std::string_view key, double otherwise) {
  return config.number_or({key}, kLeast, kHuge, otherwise);
}

/// 0 where config.json gives none.
double cap(const JsonObject& config, std::string_view key, double otherwise) {
  return config.has({key}) ? config.number({key}, kLeast, kHuge) : otherwise;
}

/// One kind of rotation for layers with a window, the first, and one for those without.
void read_two_ropes(const JsonObject& config, Spec& spec, double local_theta, double global_theta,
                    int64_t global_head_dim) {
  spec.ropes = {read_rope_of(config, spec, "sliding_attention", spec.head_dim, local_theta),
                read_rope_of(config, spec, "full_attention", global_head_dim, global_theta)};
  for (LayerSpec& layer : spec.layer) layer.rope = layer.window > 0 ? 0 : 1;
}

bool has_typed_ropes(const JsonObject& config) {
  const auto rope = config.object({"rope_parameters"});
  return rope && (rope->has({"full_attention"}) || rope->has({"sliding_attention"}));
}

}  // namespace

/// no_rope_layers has a 0 for each layer that does not rotate; without it, or where it is empty, each
/// no_rope_layer_interval-th is one.
void tweak_smollm3(const JsonObject& config, Spec& spec) {
  const int64_t interval = config.integer_or({"no_rope_layer_interval"}, 1, kAny, 4);
  const Json* list = config.find({"no_rope_layers"});
  if (list != nullptr && list->is_array() && list->empty()) list = nullptr;
  if (list != nullptr && (!list->is_array() || list->size() != spec.layer.size()))
    config.refuse(Fault::mismatch, "no_rope_layers", cat("an array of ", spec.layers, " entries"));
  for (size_t i = 0; i < spec.layer.size(); ++i) {
    const bool rotates = list != nullptr ? (*list)[i] != 0 : (static_cast<int64_t>(i) + 1) % interval != 0;
    if (!rotates) spec.layer[i].rope = -1;
  }
}

void tweak_granite(const JsonObject& config, Spec& spec) {
  spec.embed_scale = multiplier(config, "embedding_multiplier", 1.0);
  spec.residual_scale = multiplier(config, "residual_multiplier", 1.0);
  spec.attention_scale = multiplier(config, "attention_multiplier", 1.0);
  spec.logit_scale = 1.0 / multiplier(config, "logits_scaling", 1.0);
}

/// Of the dynamic kind with alpha: theta is stretched once for all lengths.
void tweak_hunyuan(const JsonObject& config, Spec& spec) {
  const auto rope = config.object({"rope_parameters", "rope_scaling"});
  if (!rope || spec.ropes[0].kind != RopeKind::dynamic || !rope->has({"alpha"}) || spec.ropes[0].dim <= 2)
    return;
  const auto dim = static_cast<double>(spec.ropes[0].dim);
  spec.ropes[0].kind = RopeKind::plain;
  spec.ropes[0].theta *= std::pow(rope->number({"alpha"}, 1e-3, 1e6), dim / (dim - 2));
}

void tweak_olmo(const JsonObject& config, Spec& spec) { spec.clip_qkv = cap(config, "clip_qkv", 0); }

void tweak_olmo3(const JsonObject& config, Spec& spec) {
  if (has_typed_ropes(config)) {
    read_two_ropes(config, spec, spec.ropes[0].theta, spec.ropes[0].theta, spec.head_dim);
    return;
  }
  RopeSpec local = spec.ropes[0];  // only layers that see all are stretched
  local.kind = RopeKind::plain;
  local.attention_factor = 1.0;
  spec.ropes.push_back(local);
  for (LayerSpec& layer : spec.layer) layer.rope = layer.window > 0 ? 1 : 0;
}

/// Of a model with windows only the layers that have one rotate.
void tweak_exaone4(const JsonObject& config, Spec& spec) {
  if (!config.has({"sliding_window"})) return;
  for (LayerSpec& layer : spec.layer) {
    if (layer.window == 0) layer.rope = -1;
  }
}

void tweak_cohere(const JsonObject& config, Spec& spec) {
  spec.logit_scale = multiplier(config, "logit_scale", 0.0625);
}

void tweak_cohere2(const JsonObject& config, Spec& spec) {
  tweak_cohere(config, spec);
  for (LayerSpec& layer : spec.layer) {
    if (layer.window == 0) layer.rope = -1;
  }
}

void tweak_gemma(const JsonObject& config, Spec& spec) {
  spec.embed_scale = std::sqrt(static_cast<double>(spec.hidden));
  const Json* bidirectional = config.find({"use_bidirectional_attention"});
  if (bidirectional != nullptr && *bidirectional != false)
    config.refuse(Fault::unsupported, "use_bidirectional_attention", "false");
}

void tweak_gemma2(const JsonObject& config, Spec& spec) {
  tweak_gemma(config, spec);
  spec.attention_scale = 1.0 / std::sqrt(config.number_or({"query_pre_attn_scalar"}, kLeast, kHuge, 256));
  spec.attention_softcap = cap(config, "attn_logit_softcapping", 0);
  spec.logit_softcap = cap(config, "final_logit_softcapping", 0);
}

void tweak_gemma3(const JsonObject& config, Spec& spec) {
  tweak_gemma2(config, spec);
  if (has_typed_ropes(config)) return read_two_ropes(config, spec, 1e4, 1e6, spec.head_dim);
  RopeSpec local = spec.ropes[0];  // rope_theta and rope_scaling are those of the layers that see all
  local.kind = RopeKind::plain;
  local.attention_factor = 1.0;
  local.theta = config.number_or({"rope_local_base_freq"}, 1e-3, 1e300, 1e4);
  if (!config.has({"rope_theta"})) spec.ropes[0].theta = 1e6;
  spec.ropes.insert(spec.ropes.begin(), local);
  for (LayerSpec& layer : spec.layer) layer.rope = layer.window > 0 ? 0 : 1;
}

void tweak_gemma4(const JsonObject& config, Spec& spec) {
  tweak_gemma(config, spec);
  spec.attention_scale = 1.0;
  spec.logit_softcap = cap(config, "final_logit_softcapping", 0);
  for (std::string_view key : {"enable_moe_block", "attention_k_eq_v", "use_double_wide_mlp"})
    config.refuse_unless(key, false);
  for (std::string_view key : {"hidden_size_per_layer_input", "num_kv_shared_layers"}) {
    if (config.integer_or({key}, 0, kAny, 0) != 0) config.refuse(Fault::unsupported, key, "0");
  }
  // layers that see all have longer heads: from per_layer_config, by the number of the layer, or for all of them
  const auto own = config.object({"per_layer_config"});
  const int64_t longer = config.integer_or({"global_head_dim"}, 1, kMaxHeads, own ? spec.head_dim : 512);
  int64_t global_dim = 0;
  for (size_t i = 0; i < spec.layer.size(); ++i) {
    LayerSpec& layer = spec.layer[i];
    const std::string number = std::to_string(i);
    const auto of_layer = own ? own->object({number}) : std::nullopt;
    layer.key_dim = layer.window > 0 ? spec.head_dim : longer;
    if (of_layer) {
      layer.key_dim = of_layer->integer_or({"head_dim"}, 1, kMaxHeads, layer.key_dim);
      layer.kv_heads = of_layer->integer_or({"num_key_value_heads"}, 1, kMaxHeads, spec.kv_heads);
    }
    const bool odd_one =
        layer.window > 0 ? layer.key_dim != spec.head_dim : global_dim != 0 && layer.key_dim != global_dim;
    if (odd_one) config.refuse(Fault::unsupported, "per_layer_config", "one head_dim for each type of layer");
    if (layer.window == 0) global_dim = layer.key_dim;
  }
  read_two_ropes(config, spec, 1e4, 1e6, global_dim == 0 ? spec.head_dim : global_dim);
}

}  // namespace gptq
