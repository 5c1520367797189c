// What config.json says of experts, and of the families that have some.
#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "model/spec.h"
#include "model/tweaks.h"

namespace gptq {
namespace {

constexpr int64_t kAny = std::numeric_limits<int64_t>::max(), kMaxWidth = int64_t{1} << 24,
                  kMaxExperts = 65'536;

bool lists(const JsonObject& config, std::string_view key, int64_t layer) {
  const Json* list = config.find({key});
  if (list == nullptr) return false;
  if (!list->is_array()) config.refuse(Fault::range, key, "an array of layers");
  return std::any_of(list->begin(), list->end(), [&](const Json& one) { return one == layer; });
}

/// Layers without experts come first, or are listed, or lie between others.
bool has_experts(const JsonObject& config, int64_t layer) {
  if (config.has({"moe_layers"})) return lists(config, "moe_layers", layer);
  if (lists(config, "mlp_only_layers", layer)) return false;
  if (layer < config.integer_or({"first_k_dense_replace"}, 0, kAny, 0)) return false;
  return (layer + 1) % config.integer_or({"decoder_sparse_step", "interleave_moe_layer_step"}, 1, kAny, 1) ==
         0;
}

void read_router(const JsonObject& config, int64_t experts, Renormalize usual, Spec& spec) {
  RouterParams& router = spec.router;
  router.score = spec.traits.router;
  router.chosen = config.integer({"num_experts_per_tok", "moe_top_k"}, 1, experts);
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
  const int64_t experts = config.integer(number, 1, kMaxExperts);
  const int64_t width =
      config.integer({"moe_intermediate_size", "intermediate_size", "ffn_hidden_size"}, 1, kMaxWidth);
  read_router(config, experts, usual, spec);
  for (int64_t i = 0; i < spec.layers; ++i) {
    if (!has_experts(config, i)) continue;
    LayerSpec& layer = spec.layer[static_cast<size_t>(i)];
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
  const bool normalized = mlp->has({"moe_normalize_expert_weights"});
  if (normalized && mlp->number({"moe_normalize_expert_weights"}, 0, 1e30) != 1.0)
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
  spec.skipped_layers = config.integer_or({"num_nextn_predict_layers"}, 0, 1024, 0);
}

/// Layers that rotate see chunks, and have norms on queries and keys; the others see all.
void tweak_llama4(const JsonObject& config, Spec& spec) {
  tweak_smollm3(config, spec);
  const int64_t width = spec.intermediate;
  spec.intermediate = config.integer({"intermediate_size_mlp"}, 1, kMaxWidth);  // of layers without experts
  read_experts(config, Renormalize::no, width, spec);
  const auto chunk = config.maybe_integer({"attention_chunk_size"}, 1, kAny);
  const Json* types = config.find({"layer_types"});
  if (types != nullptr && (!types->is_array() || types->size() != spec.layer.size()))
    config.refuse(Fault::mismatch, "layer_types", cat("an array of ", spec.layers, " entries"));
  for (size_t i = 0; i < spec.layer.size(); ++i) {
    LayerSpec& layer = spec.layer[i];
    const bool chunked = types != nullptr ? (*types)[i] == "chunked_attention" : layer.rope >= 0;
    if (chunked) layer.chunk = chunk.value_or(0);
  }
  if (!config.boolean_or({"use_qk_norm"}, true)) spec.traits.qk_norm = QkNorm::none;
  const Json* tuning = config.find({"attn_temperature_tuning"});  // true, or, in early files, 4
  if (tuning != nullptr && (*tuning == false || *tuning == 0)) return;
  spec.temperature_scale = config.number_or({"attn_scale"}, 0, 1e30, 0.1);
  spec.temperature_floor = config.number_or({"floor_scale"}, 1, 1e30, 8192);
}

}  // namespace gptq
