// Families whose layers mix tokens otherwise than by plain attention: MLA and the gated delta rule.
#include "model/family_table.h"

namespace gptq {
namespace {

using enum Role;

constexpr std::array<Module, 6> kLatent{{
    {"self_attn.q_a_proj", {q_a}},
    {"self_attn.q_b_proj", {q_b}},
    {"self_attn.q_proj", {q}},
    {"self_attn.kv_a_proj_with_mqa", {kv_a, k_rope}, 2},
    {"self_attn.kv_b_proj", {k_b, v_b}, 2, Rows::per_head},
    {"self_attn.o_proj", {o}},
}};
constexpr std::array<NormName, 2> kLatentNorms{
    {{NormPlace::q_latent, "self_attn.q_a_layernorm"}, {NormPlace::kv_latent, "self_attn.kv_a_layernorm"}}};
constexpr auto kMlaNorms = joined(kNorms, kLatentNorms);
constexpr auto kMlaModules = joined(kLatent, kShared);
constexpr auto kMlaMoeModules = joined(kMlaModules, kExperts);

constexpr std::array<Module, 4> kGatedAttention{{
    {"self_attn.q_proj", {q, out_gate}, 2, Rows::per_head, {}, Mixer::attention},
    {"self_attn.k_proj", {k}, 1, Rows::stacked, {}, Mixer::attention},
    {"self_attn.v_proj", {v}, 1, Rows::stacked, {}, Mixer::attention},
    {"self_attn.o_proj", {o}, 1, Rows::stacked, {}, Mixer::attention},
}};
// Qwen 3.5 has them apart
constexpr std::array<Module, 7> kDelta{{
    {"linear_attn.in_proj_qkvz", {q, k, v, out_gate}, 4, Rows::per_kv_head, {}, Mixer::delta},
    {"linear_attn.in_proj_ba", {beta, decay}, 2, Rows::per_kv_head, {}, Mixer::delta},
    {"linear_attn.in_proj_qkv", {q, k, v}, 3, Rows::stacked, {}, Mixer::delta},
    {"linear_attn.in_proj_z", {out_gate}, 1, Rows::stacked, {}, Mixer::delta},
    {"linear_attn.in_proj_b", {beta}, 1, Rows::stacked, {}, Mixer::delta},
    {"linear_attn.in_proj_a", {decay}, 1, Rows::stacked, {}, Mixer::delta},
    {"linear_attn.out_proj", {o}, 1, Rows::stacked, {}, Mixer::delta},
}};
constexpr ExtraName kDeltaExtras[] = {{Extra::a_log, "linear_attn.A_log"},
                                      {Extra::dt_bias, "linear_attn.dt_bias"},
                                      {Extra::conv, "linear_attn.conv1d.weight"},
                                      {Extra::out_norm, "linear_attn.norm.weight"}};
constexpr auto kDeltaModules = joined(joined(kGatedAttention, kDelta), kShared);
constexpr auto kDeltaMoeModules = joined(kDeltaModules, joined(kExperts, kSharedGate));
constexpr Stack kGates{"mlp.experts.gate_up_proj", {}, Storage::out_in, 0, 2};
constexpr Stack kUps{"mlp.experts.gate_up_proj", {}, Storage::out_in, 1, 2};
constexpr std::array<Module, 4> kStackedExperts{{
    {"mlp.gate", {router}},
    {"mlp.experts.#.gate_proj", {expert_gate}, 1, Rows::stacked, kGates},
    {"mlp.experts.#.up_proj", {expert_up}, 1, Rows::stacked, kUps},
    {"mlp.experts.#.down_proj", {expert_down}, 1, Rows::stacked, {"mlp.experts.down_proj"}},
}};
constexpr auto kStackedModules = joined(kDeltaModules, joined(kStackedExperts, kSharedGate));

/// Files have the layers of multi-token prediction, too.
constexpr Names with_mtp(Names names) {
  names.skipped = "mtp.";
  return names;
}

constexpr Names kMla = names(kLlamaOuter, kMlaNorms, kMlaModules);
constexpr Names kMlaMoe = names(kLlamaOuter, kMlaNorms, kMlaMoeModules);
constexpr Names kMlaBiasedMoe = names(kLlamaOuter, kMlaNorms, kMlaMoeModules, kChoiceBias);
constexpr Names kQwen3Next = with_mtp(names(kLlamaOuter, kNormsAndHeads, kDeltaMoeModules, kDeltaExtras));
constexpr Names kQwen35 = with_mtp(names(kLlamaOuter, kNormsAndHeads, kDeltaModules, kDeltaExtras));
constexpr Names kQwen35Moe = with_mtp(names(kLlamaOuter, kNormsAndHeads, kStackedModules, kDeltaExtras));

constexpr Traits kDeltaTraits{.norm = NormKind::rms_plus_one,
                              .qk_norm = QkNorm::head,
                              .out_gate = OutGate::yes,
                              .partial_rotary = 0.25,
                              .head_dim = 256};

constexpr Family kFamilies[] = {
    family("deepseek_v2", kMlaMoe, {.rope_layout = RopeLayout::pairs}, tweak_deepseek_v2),
    family("deepseek_v3", kMlaBiasedMoe, {.rope_layout = RopeLayout::pairs, .router = RouterScore::sigmoid},
           tweak_deepseek_v3),
    family("minicpm3", kMla, {.tied = Tied::yes, .norm_eps = 1e-5}, tweak_minicpm3),
    family("qwen3_next", kQwen3Next, kDeltaTraits, tweak_qwen3_next),
    family("qwen3_5_text", kQwen35, kDeltaTraits, tweak_qwen3_5),
    family("qwen3_5_moe_text", kQwen35Moe, kDeltaTraits, tweak_qwen3_next),
};

}  // namespace

std::span<const Family> mixer_families() { return kFamilies; }

}  // namespace gptq
