// Families whose MLPs are mixtures of experts.
#include "model/family_table.h"

namespace gptq {
namespace {

using enum Role;

constexpr std::array<Module, 4> kMixtralExperts{{
    {"block_sparse_moe.gate", {router}},
    {"block_sparse_moe.experts.#.w1", {expert_gate}},
    {"block_sparse_moe.experts.#.w3", {expert_up}},
    {"block_sparse_moe.experts.#.w2", {expert_down}},
}};
constexpr std::array<Module, 3> kGraniteExperts{{
    {"block_sparse_moe.router.layer", {router}},
    {"block_sparse_moe.input_linear.#.linear",
     {expert_gate, expert_up},
     2,
     Rows::stacked,
     {"block_sparse_moe.input_linear.weight"}},
    {"block_sparse_moe.output_linear.#.linear",
     {expert_down},
     1,
     Rows::stacked,
     {"block_sparse_moe.output_linear.weight"}},
}};
constexpr std::array<Module, 3> kGptOssExperts{{
    {"mlp.router", {router}},
    {"mlp.experts.gate_up.#",
     {expert_gate, expert_up},
     2,
     Rows::alternating,
     {"mlp.experts.gate_up_proj", "mlp.experts.gate_up_proj_bias", Storage::in_out}},
    {"mlp.experts.down.#",
     {expert_down},
     1,
     Rows::stacked,
     {"mlp.experts.down_proj", "mlp.experts.down_proj_bias", Storage::in_out}},
}};
constexpr Stack kLlama4Gate{"feed_forward.experts.gate_up_proj", {}, Storage::in_out, 0, 2};
constexpr Stack kLlama4Up{"feed_forward.experts.gate_up_proj", {}, Storage::in_out, 1, 2};
constexpr Stack kLlama4Down{"feed_forward.experts.down_proj", {}, Storage::in_out};
constexpr std::array<Module, 10> kLlama4Mlp{{
    {"feed_forward.gate_proj", {gate}},
    {"feed_forward.up_proj", {up}},
    {"feed_forward.down_proj", {down}},
    {"feed_forward.shared_expert.gate_proj", {gate}},
    {"feed_forward.shared_expert.up_proj", {up}},
    {"feed_forward.shared_expert.down_proj", {down}},
    {"feed_forward.router", {router}},
    {"feed_forward.experts.#.gate_proj", {expert_gate}, 1, Rows::stacked, kLlama4Gate},
    {"feed_forward.experts.#.up_proj", {expert_up}, 1, Rows::stacked, kLlama4Up},
    {"feed_forward.experts.#.down_proj", {expert_down}, 1, Rows::stacked, kLlama4Down},
}};
constexpr std::array<Module, 6> kDbrxModules{{
    {"norm_attn_norm.attn.Wqkv", {q, k, v}, 3},
    {"norm_attn_norm.attn.out_proj", {o}},
    {"ffn.router.layer", {router}},
    {"ffn.experts.mlp.#.w1", {expert_gate}, 1, Rows::stacked, {"ffn.experts.mlp.w1"}},
    {"ffn.experts.mlp.#.v1", {expert_up}, 1, Rows::stacked, {"ffn.experts.mlp.v1"}},
    {"ffn.experts.mlp.#.w2", {expert_down}, 1, Rows::stacked, {"ffn.experts.mlp.w2", {}, Storage::in_out}},
}};

constexpr auto kMixtralModules = joined(kAttention, joined(kMixtralExperts, kExperts));
constexpr auto kMoeModules = joined(kAttention, joined(kShared, kExperts));
constexpr auto kQwen2Modules = joined(kMoeModules, kSharedGate);
constexpr auto kGraniteModules = joined(kAttention, kGraniteExperts);
constexpr auto kGptOssModules = joined(kAttention, kGptOssExperts);
constexpr auto kLlama4Modules = joined(kAttention, kLlama4Mlp);

constexpr auto kGlm4Norms = joined(kNorms, kMaybeHeadNorms);
constexpr std::array<NormName, 2> kPlainHeads{
    {{NormPlace::q, "", Need::where_rotating}, {NormPlace::k, "", Need::where_rotating}}};
constexpr auto kLlama4Norms = joined(kNorms, kPlainHeads);
constexpr NormName kDbrxNorms[] = {{NormPlace::attention, "norm_attn_norm.norm_1"},
                                   {NormPlace::mlp, "norm_attn_norm.norm_2"}};
constexpr ExtraName kSinks[] = {{Extra::sinks, "self_attn.sinks"}};

constexpr Names kMixtral = names(kLlamaOuter, kNorms, kMixtralModules);
constexpr Names kMoe = names(kLlamaOuter, kNormsAndHeads, kMoeModules);
constexpr Names kQwen2Moe = names(kLlamaOuter, kNorms, kQwen2Modules);
constexpr Names kGraniteMoe = names(kLlamaOuter, kNorms, kGraniteModules);
constexpr Names kGptOss = names(kLlamaOuter, kNorms, kGptOssModules, kSinks);
constexpr Names kGlm4Moe = names(kLlamaOuter, kGlm4Norms, kMoeModules, kChoiceBias);
constexpr Names kLlama4 = names(kLlamaOuter, kLlama4Norms, kLlama4Modules);
constexpr Names kDbrx = names(outer("transformer.", "wte", "blocks.", "norm_f"), kDbrxNorms, kDbrxModules);

constexpr Family kFamilies[] = {
    family("mixtral", kMixtral, {.windows = Windows::all, .norm_eps = 1e-5}, tweak_mixtral),
    family("olmoe", kMoe, {.qk_norm = QkNorm::row, .norm_eps = 1e-5}, tweak_olmoe),
    family("qwen2_moe", kQwen2Moe, {.windows = Windows::upper}, tweak_qwen2_moe),
    family("qwen3_moe", kMoe, {.windows = Windows::all, .qk_norm = QkNorm::head}, tweak_qwen_moe),
    family("phimoe", kMixtral,
           {.norm = NormKind::layer,
            .windows = Windows::all,
            .router = RouterScore::softmax_near,
            .norm_eps = 1e-5},
           tweak_phimoe),
    family("granitemoe", kGraniteMoe, {.router = RouterScore::softmax_chosen}, tweak_granitemoe),
    family("dbrx", kDbrx, {.norm = NormKind::layer_scale, .norm_eps = 1e-5}, tweak_dbrx),
    family("gpt_oss", kGptOss,
           {.windows = Windows::typed,
            .router = RouterScore::softmax_chosen,
            .norm_eps = 1e-5,
            .window_pattern = 2},
           tweak_gpt_oss),
    family("glm4_moe", kGlm4Moe,
           {.qk_norm = QkNorm::head, .router = RouterScore::sigmoid, .norm_eps = 1e-5, .partial_rotary = 0.5},
           tweak_glm4_moe),
    family("llama4_text", kLlama4,
           {.rope_layout = RopeLayout::pairs,
            .qk_norm = QkNorm::head,
            .qk_norm_time = QkNormTime::after_rope,
            .router = RouterScore::sigmoid,
            .weighed = Weighed::inputs,
            .norm_eps = 1e-5},
           tweak_llama4),
};

}  // namespace

std::span<const Family> expert_families() { return kFamilies; }

}  // namespace gptq
