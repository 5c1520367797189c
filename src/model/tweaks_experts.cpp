// What config.json says of experts, and of the families that have some.

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "model/layer_types.h"
#include "model/spec.h"
#include "model/tweaks.h"

namespace gptq {
namespace {

/// Of all layers together, of one, and of one token.
constexpr int64_t kMaxExperts = int64_t{1} << 17, kMaxOfLayer = 4096, kMaxChosen = 256;

/// Which layers a list of config.json names; empty where it is absent.
std::vector<uint8_t> listed(const JsonObject& config, std::string_view key, int64_t layers) {
  const Json* list = config.find({key});
  if (list == nullptr) return {};
  if (!list->is_array()) config.refuse(Fault::range, key, "an array of layers");
  std::vector<uint8_t> named(static_cast<size_t>(layers));
  for (const Json& one : *list) {
    if (!one.is_number_integer() || one < 0 || one >= layers)
      config.refuse(Fault::range, key, cat("layers 0 to ", layers - 1));
    named[one.get<size_t>()] = 1;
  }
  return named;
}

/// [layers] Layers without experts come first, or are listed, or lie between others.
std::vector<uint8_t> layers_with_experts(const JsonObject& config, int64_t layers) {
  std::vector<uint8_t> with = listed(config, "moe_layers", layers);
  if (!with.empty()) return with;
  const std::vector<uint8_t> without = listed(config, "mlp_only_layers", layers);
  const int64_t first = config.integer_or({"first_k_dense_replace"}, 0, kAny, 0);
  const int64_t step = config.integer_or({"decoder_sparse_step", "interleave_moe_layer_step"}, 1, kAny, 1);
  for (int64_t i = 0; i < layers; ++i) {
    const bool plain = !without.empty() && without[static_cast<size_t>(i)] != 0;
    with.push_back(!plain && i >= first && (i + 1) % step == 0 ? 1 : 0);
  }
  return with;
}

void read_router(const JsonObject& config, int64_t experts, Renormalize usual, Spec& spec) {
  RouterParams& router = spec.router;
  router.score = spec.traits.router;
  router.chosen = config.integer({"num_experts_per_tok", "moe_top_k"}, 1, experts);
  if (router.chosen > kMaxChosen)
    config.refuse(Fault::limit, "num_experts_per_tok", cat("at most ", kMaxChosen));
  router.renormalize =
      config.boolean_or({"norm_topk_prob"}, usual == Renormalize::yes) ? Renormalize::yes : Renormalize::no;
  router.factor = static_cast<float>(config.number_or({"routed_scaling_factor"}, 1e-30, 1e30, 1.0));
  router.groups = config.integer_or({"n_group"}, 1, experts, 1);
  router.groups_chosen = config.integer_or({"topk_group"}, 1, router.groups, router.groups);
  if (experts % router.groups != 0)
    config.refuse(Fault::mismatch, "n_group", cat("a divisor of the ", experts, " experts"));
  if (router.chosen > experts / router.groups * router.groups_chosen)
    config.refuse(Fault::mismatch, "topk_group", cat("groups that hold ", router.chosen, " experts"));
}

/// `shared`: width of what all tokens go through, too; 0: nothing.
void read_experts(const JsonObject& config, Renormalize usual, int64_t shared, Spec& spec) {
  const JsonObject::Keys number = {"num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"};
  const int64_t experts = config.integer(number, 1, kAny);
  if (experts > kMaxExperts / spec.layers)
    config.refuse(Fault::limit, *number.begin(), cat("at most ", kMaxExperts, " in all layers together"));
  if (experts > kMaxOfLayer) config.refuse(Fault::limit, *number.begin(), cat("at most ", kMaxOfLayer));
  const int64_t width =
      config.integer({"moe_intermediate_size", "intermediate_size", "ffn_hidden_size"}, 1, kMaxWidth);
  read_router(config, experts, usual, spec);
  const std::vector<uint8_t> with = layers_with_experts(config, spec.layers);
  for (size_t i = 0; i < with.size(); ++i) {
    if (with[i] == 0) continue;
    LayerSpec& layer = spec.layer[i];
    layer.experts = experts;
    layer.expert_intermediate = width;
    layer.intermediate = shared;
  }
}

}  // namespace

void tweak_mixtral(const JsonObject& config, Spec& spec) { read_experts(config, Renormalize::yes, 0, spec); }

void tweak_qwen_moe(const JsonObject& config, Spec& spec) {
  read_experts(config, Renormalize::no,
               config.integer_or({"shared_expert_intermediate_size"}, 1, kMaxWidth, 0), spec);
  if (config.boolean_or({"use_sliding_window"}, false)) return;
  for (LayerSpec& layer : spec.layer) layer.window = 0;
}

/// Without layer_types every second layer has a window, the first one included, up to max_window_layers.
void tweak_qwen2_moe(const JsonObject& config, Spec& spec) {
  tweak_qwen_moe(config, spec);
  if (!config.boolean_or({"use_sliding_window"}, false) || config.has({"layer_types"})) return;
  const int64_t width = config.integer_or({"sliding_window"}, 1, kAny, 4096);
  const int64_t end = config.integer_or({"max_window_layers"}, 0, kAny, 28);
  for (int64_t i = 0; i < spec.layers; ++i)
    spec.layer[static_cast<size_t>(i)].window = i % 2 == 0 && i < end ? width : 0;
}

void tweak_olmoe(const JsonObject& config, Spec& spec) {
  tweak_olmo(config, spec);
  read_experts(config, Renormalize::no, 0, spec);
}

void tweak_phimoe(const JsonObject& config, Spec& spec) {
  read_experts(config, Renormalize::no, 0, spec);
  spec.router.jitter = static_cast<float>(config.number_or({"router_jitter_noise"}, 0, 1, 0.01));
  if (spec.router.chosen != 2) config.refuse(Fault::unsupported, "num_experts_per_tok", "2");
  const auto rope = config.object({"rope_parameters", "rope_scaling"});
  if (!rope || !rope->has({"short_mscale"})) return;
  const double factor = rope->number({"short_mscale"}, 1e-30, 1e30);
  if (rope->number_or({"long_mscale"}, 1e-30, 1e30, factor) != factor)
    rope->refuse(Fault::unsupported, "long_mscale", cat("short_mscale, ", factor));
  spec.ropes[0].attention_factor = factor;
}

void tweak_granitemoe(const JsonObject& config, Spec& spec) {
  tweak_granite(config, spec);
  read_experts(config, Renormalize::no, 0, spec);
}

void tweak_dbrx(const JsonObject& config, Spec& spec) {
  const auto attention = config.object({"attn_config"}), mlp = config.object({"ffn_config"});
  if (!attention || !mlp)
    config.refuse(Fault::mismatch, attention ? "ffn_config" : "attn_config", "an object");
  spec.kv_heads = attention->integer_or({"kv_n_heads"}, 1, spec.heads, 1);
  if (attention->has({"clip_qkv"})) spec.clip_qkv = attention->number({"clip_qkv"}, 1e-30, 1e30);
  if (!config.has({"rope_parameters"}))
    spec.ropes[0].theta = attention->number_or({"rope_theta"}, 1e-3, 1e300, 1e4);
  const auto act = mlp->object({"ffn_act_fn"});
  if (act && act->string_or({"name"}, "silu") != "silu") act->refuse(Fault::unsupported, "name", "silu");
  const bool normalized = !mlp->is_null("moe_normalize_expert_weights");
  if (normalized && mlp->number_or({"moe_normalize_expert_weights"}, 0, 1e30, 1.0) != 1.0)
    mlp->refuse(Fault::unsupported, "moe_normalize_expert_weights", "1 or null");
  read_experts(*mlp, normalized ? Renormalize::yes : Renormalize::no, 0, spec);
}

void tweak_gpt_oss(const JsonObject& config, Spec& spec) {
  read_experts(config, Renormalize::no, 0, spec);
  spec.act = Act::clamped_silu;
  spec.act.a = static_cast<float>(config.number_or({"swiglu_alpha"}, 0, 1e30, 1.702));
  spec.act.d = static_cast<float>(config.number_or({"swiglu_limit"}, 0, 1e30, 7.0));
}

void tweak_glm4_moe(const JsonObject& config, Spec& spec) {
  const int64_t width = config.integer({"moe_intermediate_size"}, 1, kMaxWidth);
  read_experts(config, Renormalize::yes, width * config.integer_or({"n_shared_experts"}, 0, 1024, 1), spec);
  spec.router.group_score = GroupScore::two_best;
  spec.skipped_layers = config.integer_or({"num_nextn_predict_layers"}, 0, 64, 0);
}

/// Layers that rotate see chunks, and have norms on queries and keys; the others see all.
void tweak_llama4(const JsonObject& config, Spec& spec) {
  tweak_smollm3(config, spec);
  const int64_t width = spec.intermediate;
  spec.intermediate = config.integer({"intermediate_size_mlp"}, 1, kMaxWidth);  // of layers without experts
  read_experts(config, Renormalize::no, width, spec);
  const int64_t chunk =
      config.is_null("attention_chunk_size") ? 0 : config.integer_or({"attention_chunk_size"}, 1, kAny, 8192);
  const Json* types = find_layer_types(config, spec);
  for (size_t i = 0; i < spec.layer.size(); ++i) {
    LayerSpec& layer = spec.layer[i];
    const bool chunked = types != nullptr ? is_text((*types)[i], "chunked_attention") : layer.rope >= 0;
    if (types != nullptr && !chunked && !is_text((*types)[i], "full_attention"))
      config.refuse(Fault::unsupported, "layer_types", "'full_attention' or 'chunked_attention'");
    if (chunked) layer.chunk = chunk;
  }
  if (!config.boolean_or({"use_qk_norm"}, true)) spec.traits.qk_norm = QkNorm::none;
  const Json* tuning = config.find({"attn_temperature_tuning"});  // true, or, in early files, 4
  if (tuning != nullptr && (*tuning == false || *tuning == 0)) return;
  spec.temperature_scale = config.number_or({"attn_scale"}, 0, 1e30, 0.1);
  spec.temperature_floor = config.number_or({"floor_scale"}, 1, 1e30, 8192);
}

}  // namespace gptq
