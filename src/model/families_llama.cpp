// Families that call their parts as Llama does: self_attn, mlp and separate Linears for q, k, v, gate, up and down.
#include "model/family_table.h"

namespace gptq {
namespace {

using enum Role;

constexpr Module kSeparate[] = {
    {"self_attn.q_proj", {q}}, {"self_attn.k_proj", {k}}, {"self_attn.v_proj", {v}},
    {"self_attn.o_proj", {o}}, {"mlp.gate_proj", {gate}}, {"mlp.up_proj", {up}},
    {"mlp.down_proj", {down}},
};
// Phi 3 and GLM; programs that quantize them may take the fused ones apart
constexpr Module kFusedOrSeparate[] = {
    {"self_attn.qkv_proj", {q, k, v}, 3},
    {"self_attn.q_proj", {q}},
    {"self_attn.k_proj", {k}},
    {"self_attn.v_proj", {v}},
    {"self_attn.o_proj", {o}},
    {"mlp.gate_up_proj", {gate, up}, 2},
    {"mlp.gate_proj", {gate}},
    {"mlp.up_proj", {up}},
    {"mlp.down_proj", {down}},
};

constexpr Names kLlama = names(kLlamaOuter, kNorms, kSeparate);
constexpr Names kPhi3 = names(kLlamaOuter, kNorms, kFusedOrSeparate);

constexpr Names kQwen3 = names(kLlamaOuter, kNormsAndHeads, kSeparate);

constexpr NormName kHunyuanNorms[] = {{NormPlace::attention, "input_layernorm"},
                                      {NormPlace::mlp, "post_attention_layernorm"},
                                      {NormPlace::q, "self_attn.query_layernorm"},
                                      {NormPlace::k, "self_attn.key_layernorm"}};
constexpr Names kHunyuan = names(kLlamaOuter, kHunyuanNorms, kSeparate);

constexpr NormName kGlm4Norms[] = {{NormPlace::attention, "input_layernorm"},
                                   {NormPlace::attention_out, "post_self_attn_layernorm"},
                                   {NormPlace::mlp, "post_attention_layernorm"},
                                   {NormPlace::mlp_out, "post_mlp_layernorm"}};
constexpr Names kGlm4 = names(kLlamaOuter, kGlm4Norms, kFusedOrSeparate);

// OLMo 2: no norm before, one behind; it and those of q and k have the same names in EXAONE 4
constexpr std::array<NormName, 2> kBehind{{{NormPlace::attention_out, "post_attention_layernorm"},
                                           {NormPlace::mlp_out, "post_feedforward_layernorm"}}};
constexpr auto kBehindAndHeads = joined(kBehind, kHeadNorms);
constexpr Names kOlmo2 = names(kLlamaOuter, kBehindAndHeads, kSeparate);

constexpr NormName kPlain[] = {{NormPlace::attention, ""}, {NormPlace::mlp, ""}};
constexpr Names kOlmo =
    names(outer("model.", "embed_tokens", "layers.", {}, "lm_head", kRotaryBuffer), kPlain, kSeparate);

constexpr auto kCohereNorms = joined(kOneNorm, kMaybeHeadNorms);
constexpr Names kCohere = names(kLlamaOuter, kCohereNorms, kSeparate);

constexpr NormName kStableLmNorms[] = {{NormPlace::attention, "input_layernorm"},
                                       {NormPlace::mlp, "post_attention_layernorm", Need::optional},
                                       {NormPlace::q, "self_attn.q_layernorm.norms.#", Need::optional},
                                       {NormPlace::k, "self_attn.k_layernorm.norms.#", Need::optional}};
constexpr Names kStableLm = names(kLlamaOuter, kStableLmNorms, kSeparate);

constexpr NormName kApertusNorms[] = {{NormPlace::attention, "attention_layernorm"},
                                      {NormPlace::mlp, "feedforward_layernorm"},
                                      {NormPlace::q, "self_attn.q_norm"},
                                      {NormPlace::k, "self_attn.k_norm"}};
constexpr ExtraName kApertusExtras[] = {{Extra::alpha_p, "mlp.act_fn.alpha_p"},
                                        {Extra::alpha_n, "mlp.act_fn.alpha_n"},
                                        {Extra::act_beta, "mlp.act_fn.beta"},
                                        {Extra::act_eps, "mlp.act_fn.eps"}};
constexpr Names kApertus = names(kLlamaOuter, kApertusNorms, kSeparate, kApertusExtras);

constexpr std::array<NormName, 4> kGemma2Norms{{{NormPlace::attention, "input_layernorm"},
                                                {NormPlace::attention_out, "post_attention_layernorm"},
                                                {NormPlace::mlp, "pre_feedforward_layernorm"},
                                                {NormPlace::mlp_out, "post_feedforward_layernorm"}}};
constexpr Names kGemma2 = names(kLlamaOuter, kGemma2Norms, kSeparate);
constexpr auto kGemma3Norms = joined(kGemma2Norms, kHeadNorms);
constexpr Names kGemma3 = names(kLlamaOuter, kGemma3Norms, kSeparate);
constexpr std::array<NormName, 1> kPlainValues{{{NormPlace::v, ""}}};
constexpr auto kGemma4Norms = joined(kGemma3Norms, kPlainValues);
constexpr ExtraName kGemma4Extras[] = {{Extra::scalar, "layer_scalar"}};
constexpr Names kGemma4 = names(kLlamaOuter, kGemma4Norms, kSeparate, kGemma4Extras);

constexpr Family kFamilies[] = {
    family("llama", kLlama),
    family("mistral", kLlama, {.windows = Windows::all}),
    family("ministral", kLlama, {.windows = Windows::all}),
    family("qwen2", kLlama, {.windows = Windows::upper}),
    family("qwen3", kQwen3, {.windows = Windows::upper, .qk_norm = QkNorm::head}),
    family("phi3", kPhi3, {.windows = Windows::all, .norm_eps = 1e-5}),
    family("smollm3", kLlama, {.windows = Windows::upper, .tied = Tied::yes}, tweak_smollm3),
    family("seed_oss", kLlama),
    family("ernie4_5", kLlama, {.rope_layout = RopeLayout::pairs, .tied = Tied::yes, .norm_eps = 1e-5}),
    family("helium", kLlama, {.rope_layout = RopeLayout::pairs, .norm_eps = 1e-8}),
    family("granite", kLlama, {}, tweak_granite),
    family("hunyuan_v1_dense", kHunyuan,
           {.qk_norm = QkNorm::head, .qk_norm_time = QkNormTime::after_rope, .norm_eps = 1e-5},
           tweak_hunyuan),
    family("arcee", kLlama, {.mlp = Mlp::plain, .norm_eps = 1e-5, .act = "relu2"}),
    family("nemotron", kLlama,
           {.norm = NormKind::layer_plus_one,
            .mlp = Mlp::plain,
            .norm_eps = 1e-5,
            .act = "relu2",
            .partial_rotary = 0.5}),
    family("apertus", kApertus,
           {.mlp = Mlp::plain, .qk_norm = QkNorm::head, .norm_eps = 1e-5, .act = "xielu"}),
    family("glm", kPhi3, {.rope_layout = RopeLayout::pairs, .norm_eps = 1.5625e-7, .partial_rotary = 0.5}),
    family("glm4", kGlm4, {.rope_layout = RopeLayout::pairs, .norm_eps = 1.5625e-7, .partial_rotary = 0.5}),
    family("olmo", kOlmo, {.norm = NormKind::layer_plain, .norm_eps = 1e-5}, tweak_olmo),
    family("olmo2", kOlmo2, {.qk_norm = QkNorm::row, .norm_eps = 1e-5}),
    family("olmo3", kOlmo2,
           {.windows = Windows::typed, .qk_norm = QkNorm::row, .norm_eps = 1e-5, .window_pattern = 4},
           tweak_olmo3),
    family("exaone4", kOlmo2,
           {.windows = Windows::typed, .qk_norm = QkNorm::head, .norm_eps = 1e-5, .window_pattern = 4},
           tweak_exaone4),
    family("cohere", kCohere,
           {.norm = NormKind::layer_scale,
            .flow = Flow::parallel,
            .rope_layout = RopeLayout::pairs,
            .qk_norm = QkNorm::each_head,
            .tied = Tied::yes,
            .norm_eps = 1e-5},
           tweak_cohere),
    family("cohere2", kCohere,
           {.norm = NormKind::layer_scale,
            .flow = Flow::parallel,
            .rope_layout = RopeLayout::pairs,
            .windows = Windows::typed,
            .tied = Tied::yes,
            .norm_eps = 1e-5,
            .window_pattern = 4},
           tweak_cohere2),
    family("stablelm", kStableLm,
           {.norm = NormKind::layer, .qk_norm = QkNorm::each_head, .norm_eps = 1e-5, .partial_rotary = 0.25},
           tweak_parallel_residual),
    family("gemma", kLlama,
           {.norm = NormKind::rms_plus_one, .tied = Tied::yes, .act = "gelu_pytorch_tanh", .head_dim = 256},
           tweak_gemma),
    family("gemma2", kGemma2,
           {.norm = NormKind::rms_plus_one,
            .windows = Windows::typed,
            .tied = Tied::yes,
            .act = "gelu_pytorch_tanh",
            .head_dim = 256,
            .window_pattern = 2},
           tweak_gemma2),
    family("gemma3_text", kGemma3,
           {.norm = NormKind::rms_plus_one,
            .windows = Windows::typed,
            .qk_norm = QkNorm::head,
            .tied = Tied::yes,
            .act = "gelu_pytorch_tanh",
            .head_dim = 256,
            .window_pattern = 6},
           tweak_gemma3),
    family("gemma4_text", kGemma4,
           {.windows = Windows::typed,
            .qk_norm = QkNorm::head,
            .tied = Tied::yes,
            .act = "gelu_pytorch_tanh",
            .head_dim = 256,
            .window_pattern = 6},
           tweak_gemma4),
};

}  // namespace

std::span<const Family> llama_families() { return kFamilies; }

}  // namespace gptq
