// What config.json says of latents and of the gated delta rule.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "model/layer_types.h"
#include "model/spec.h"
#include "model/tweaks.h"

namespace gptq {
namespace {

constexpr int64_t kMaxState = int64_t{1} << 28;  // elements: 1 GB; Qwen3-Next has 3 * 10^7

void read_latents(const JsonObject& config, Spec& spec) {
  LatentSpec& latent = spec.latent;
  latent = {.q_rank = config.integer_or({"q_lora_rank"}, 1, kMaxWidth, 0),
            .kv_rank = config.integer({"kv_lora_rank"}, 1, kMaxWidth),
            .nope_dim = config.integer({"qk_nope_head_dim"}, 1, kMaxHeads),
            .rope_dim = config.integer({"qk_rope_head_dim"}, 1, kMaxHeads)};
  spec.kv_heads = spec.heads;
  for (LayerSpec& layer : spec.layer) {
    layer.mixer = Mixer::latent;
    layer.key_dim = latent.nope_dim + latent.rope_dim;
    layer.value_dim =
        config.integer_or({"v_head_dim"}, 1, kMaxHeads, std::max<int64_t>(spec.hidden / spec.heads, 1));
  }
  RopeSpec& rope = spec.ropes.front();
  if (!config.boolean_or({"rope_interleave"}, true)) rope.layout = RopeLayout::half;
  spec.head_dim = latent.nope_dim + latent.rope_dim;
  spec.attention_scale = 1.0 / std::sqrt(static_cast<double>(spec.head_dim));
  const auto scaling = config.object({"rope_parameters", "rope_scaling"});
  if (rope.kind == RopeKind::plain || !scaling || rope.factor <= 1) return;
  const double sharper =
      1.0 + 0.1 * scaling->number_or({"mscale_all_dim"}, 0, kHuge, 0) * std::log(rope.factor);
  spec.attention_scale *= sharper * sharper;
}

/// transformers does not ask for the scores, and takes the family's own.
void read_deepseek(const JsonObject& config, std::string_view scores, Spec& spec) {
  if (config.string_or({"scoring_func"}, scores) != scores)
    config.refuse(Fault::unsupported, "scoring_func", scores);
  read_latents(config, spec);
  tweak_glm4_moe(config, spec);
}

}  // namespace

void tweak_deepseek_v3(const JsonObject& config, Spec& spec) { read_deepseek(config, "sigmoid", spec); }

void tweak_deepseek_v2(const JsonObject& config, Spec& spec) {
  read_deepseek(config, "softmax", spec);
  RouterParams& router = spec.router;
  router.renormalize = Renormalize::no;  // whatever norm_topk_prob says, as transformers has it
  router.group_score = GroupScore::best;
  const std::string method = config.string_or({"topk_method"}, "greedy");
  if (method == "greedy") router.groups = router.groups_chosen = 1;
  if (method != "greedy" && method != "group_limited_greedy")
    config.refuse(Fault::unsupported, "topk_method", "'greedy' or 'group_limited_greedy'");
}

void tweak_minicpm3(const JsonObject& config, Spec& spec) {
  read_latents(config, spec);
  const double root = std::sqrt(static_cast<double>(spec.layers)), hidden = static_cast<double>(spec.hidden);
  spec.embed_scale = config.number_or({"scale_emb"}, kLeast, kHuge, 12);
  spec.residual_scale =
      (config.is_null("scale_depth") ? root : config.number_or({"scale_depth"}, kLeast, kHuge, 1.4)) / root;
  spec.head_scale =
      (config.is_null("dim_model_base") ? hidden : config.number_or({"dim_model_base"}, kLeast, kHuge, 256)) /
      hidden;
}

/// layer_types decides, or each full_attention_interval-th layer has attention. Before experts are read: it begins layers
/// anew.
void tweak_qwen3_5(const JsonObject& config, Spec& spec) {
  if (spec.act.act != Act::silu) config.refuse(Fault::unsupported, "hidden_act", "silu");
  spec.conv_kernel = config.integer_or({"linear_conv_kernel_dim"}, 1, 64, 4);
  const LayerSpec delta{.mixer = Mixer::delta,
                        .heads = config.integer_or({"linear_num_value_heads"}, 1, kMaxHeads, 32),
                        .kv_heads = config.integer_or({"linear_num_key_heads"}, 1, kMaxHeads, 16),
                        .key_dim = config.integer_or({"linear_key_head_dim"}, 1, kMaxHeads, 128),
                        .value_dim = config.integer_or({"linear_value_head_dim"}, 1, kMaxHeads, 128),
                        .rope = -1};
  if (delta.heads * delta.key_dim > kMaxState / delta.value_dim / spec.layers)
    config.refuse(Fault::limit, "linear_key_head_dim", cat("at most ", kMaxState, " elements of all states"));
  const int64_t interval = config.integer_or({"full_attention_interval"}, 1, kAny, 4);
  const Json* types = find_layer_types(config, spec);
  for (size_t i = 0; i < spec.layer.size(); ++i) {
    const bool full = types != nullptr ? is_text((*types)[i], "full_attention")
                                       : (static_cast<int64_t>(i) + 1) % interval == 0;
    if (types != nullptr && !full && !is_text((*types)[i], "linear_attention"))
      config.refuse(Fault::unsupported, "layer_types", "'full_attention' or 'linear_attention'");
    if (!full) spec.layer[i] = delta;
  }
}

void tweak_qwen3_next(const JsonObject& config, Spec& spec) {
  tweak_qwen3_5(config, spec);
  tweak_qwen_moe(config, spec);
  spec.router.renormalize = config.boolean_or({"norm_topk_prob"}, true) ? Renormalize::yes : Renormalize::no;
}

}  // namespace gptq
