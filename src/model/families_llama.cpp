// Families that call their parts as Llama does: self_attn, mlp and separate Linears for q, k, v, gate, up and down.
#include "model/family.h"
#include "model/tweaks.h"

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
constexpr std::string_view kRotaryBuffer[] = {"self_attn.rotary_emb.inv_freq"};

constexpr Names names_with(std::span<const NormName> norms, std::span<const Module> modules = kSeparate) {
  return {.base = "model.",
          .embed = "embed_tokens",
          .positions = {},
          .layers = "layers.",
          .final_norm = "norm",
          .head = "lm_head",
          .norms = norms,
          .modules = modules,
          .ignored = kRotaryBuffer};
}

constexpr NormName kTwo[] = {{NormPlace::attention, "input_layernorm"},
                             {NormPlace::mlp, "post_attention_layernorm"}};
constexpr Names kLlama = names_with(kTwo);
constexpr Names kPhi3 = names_with(kTwo, kFusedOrSeparate);

constexpr NormName kTwoAndHeads[] = {{NormPlace::attention, "input_layernorm"},
                                     {NormPlace::mlp, "post_attention_layernorm"},
                                     {NormPlace::q, "self_attn.q_norm"},
                                     {NormPlace::k, "self_attn.k_norm"}};
constexpr Names kQwen3 = names_with(kTwoAndHeads);

constexpr NormName kHunyuanNorms[] = {{NormPlace::attention, "input_layernorm"},
                                      {NormPlace::mlp, "post_attention_layernorm"},
                                      {NormPlace::q, "self_attn.query_layernorm"},
                                      {NormPlace::k, "self_attn.key_layernorm"}};
constexpr Names kHunyuan = names_with(kHunyuanNorms);

constexpr NormName kGlm4Norms[] = {{NormPlace::attention, "input_layernorm"},
                                   {NormPlace::attention_out, "post_self_attn_layernorm"},
                                   {NormPlace::mlp, "post_attention_layernorm"},
                                   {NormPlace::mlp_out, "post_mlp_layernorm"}};
constexpr Names kGlm4 = names_with(kGlm4Norms, kFusedOrSeparate);

// OLMo 2: no norm before, one behind; it and those of q and k have the same names in EXAONE 4
constexpr NormName kBehind[] = {{NormPlace::attention_out, "post_attention_layernorm"},
                                {NormPlace::mlp_out, "post_feedforward_layernorm"},
                                {NormPlace::q, "self_attn.q_norm"},
                                {NormPlace::k, "self_attn.k_norm"}};
constexpr Names kOlmo2 = names_with(kBehind);

constexpr NormName kPlain[] = {{NormPlace::attention, ""}, {NormPlace::mlp, ""}};
constexpr Names kOlmo{.base = "model.",
                      .embed = "embed_tokens",
                      .positions = {},
                      .layers = "layers.",
                      .final_norm = {},
                      .head = "lm_head",
                      .norms = kPlain,
                      .modules = kSeparate,
                      .ignored = kRotaryBuffer};

constexpr NormName kCohereNorms[] = {{NormPlace::attention, "input_layernorm"},
                                     {NormPlace::q, "self_attn.q_norm", Need::optional},
                                     {NormPlace::k, "self_attn.k_norm", Need::optional}};
constexpr Names kCohere = names_with(kCohereNorms);

constexpr NormName kStableLmNorms[] = {{NormPlace::attention, "input_layernorm"},
                                       {NormPlace::mlp, "post_attention_layernorm", Need::optional},
                                       {NormPlace::q, "self_attn.q_layernorm.norms.#", Need::optional},
                                       {NormPlace::k, "self_attn.k_layernorm.norms.#", Need::optional}};
constexpr Names kStableLm = names_with(kStableLmNorms);

constexpr NormName kApertusNorms[] = {{NormPlace::attention, "attention_layernorm"},
                                      {NormPlace::mlp, "feedforward_layernorm"},
                                      {NormPlace::q, "self_attn.q_norm"},
                                      {NormPlace::k, "self_attn.k_norm"}};
constexpr ExtraName kApertusExtras[] = {{Extra::alpha_p, "mlp.act_fn.alpha_p"},
                                        {Extra::alpha_n, "mlp.act_fn.alpha_n"},
                                        {Extra::beta, "mlp.act_fn.beta"},
                                        {Extra::eps, "mlp.act_fn.eps"}};
constexpr Names kApertus{.base = "model.",
                         .embed = "embed_tokens",
                         .positions = {},
                         .layers = "layers.",
                         .final_norm = "norm",
                         .head = "lm_head",
                         .norms = kApertusNorms,
                         .modules = kSeparate,
                         .ignored = kRotaryBuffer,
                         .extras = kApertusExtras};

constexpr NormName kGemma2Norms[] = {{NormPlace::attention, "input_layernorm"},
                                     {NormPlace::attention_out, "post_attention_layernorm"},
                                     {NormPlace::mlp, "pre_feedforward_layernorm"},
                                     {NormPlace::mlp_out, "post_feedforward_layernorm"}};
constexpr Names kGemma2 = names_with(kGemma2Norms);
constexpr NormName kGemma3Norms[] = {{NormPlace::attention, "input_layernorm"},
                                     {NormPlace::attention_out, "post_attention_layernorm"},
                                     {NormPlace::mlp, "pre_feedforward_layernorm"},
                                     {NormPlace::mlp_out, "post_feedforward_layernorm"},
                                     {NormPlace::q, "self_attn.q_norm"},
                                     {NormPlace::k, "self_attn.k_norm"}};
constexpr Names kGemma3 = names_with(kGemma3Norms);
constexpr NormName kGemma4Norms[] = {{NormPlace::attention, "input_layernorm"},
                                     {NormPlace::attention_out, "post_attention_layernorm"},
                                     {NormPlace::mlp, "pre_feedforward_layernorm"},
                                     {NormPlace::mlp_out, "post_feedforward_layernorm"},
                                     {NormPlace::q, "self_attn.q_norm"},
                                     {NormPlace::k, "self_attn.k_norm"},
                                     {NormPlace::v, ""}};
constexpr ExtraName kGemma4Extras[] = {{Extra::scalar, "layer_scalar"}};
constexpr Names kGemma4{.base = "model.",
                        .embed = "embed_tokens",
                        .positions = {},
                        .layers = "layers.",
                        .final_norm = "norm",
                        .head = "lm_head",
                        .norms = kGemma4Norms,
                        .modules = kSeparate,
                        .ignored = kRotaryBuffer,
                        .extras = kGemma4Extras};

constexpr Family kFamilies[] = {
    {.name = "llama", .model_type = "llama", .names = &kLlama},
    {.name = "mistral", .model_type = "mistral", .names = &kLlama, .traits = {.windows = Windows::all}},
    {.name = "ministral", .model_type = "ministral", .names = &kLlama, .traits = {.windows = Windows::all}},
    {.name = "qwen2", .model_type = "qwen2", .names = &kLlama, .traits = {.windows = Windows::upper}},
    {.name = "qwen3",
     .model_type = "qwen3",
     .names = &kQwen3,
     .traits = {.windows = Windows::upper, .qk_norm = QkNorm::head}},
    {.name = "phi3",
     .model_type = "phi3",
     .names = &kPhi3,
     .traits = {.windows = Windows::all, .norm_eps = 1e-5}},
    {.name = "smollm3",
     .model_type = "smollm3",
     .names = &kLlama,
     .traits = {.windows = Windows::upper, .tied = Tied::yes},
     .tweak = tweak_smollm3},
    {.name = "seed_oss", .model_type = "seed_oss", .names = &kLlama},
    {.name = "ernie4_5",
     .model_type = "ernie4_5",
     .names = &kLlama,
     .traits = {.rope_layout = RopeLayout::pairs, .tied = Tied::yes, .norm_eps = 1e-5}},
    {.name = "helium",
     .model_type = "helium",
     .names = &kLlama,
     .traits = {.rope_layout = RopeLayout::pairs, .norm_eps = 1e-8}},
    {.name = "granite", .model_type = "granite", .names = &kLlama, .tweak = tweak_granite},
    {.name = "hunyuan_v1_dense",
     .model_type = "hunyuan_v1_dense",
     .names = &kHunyuan,
     .traits = {.qk_norm = QkNorm::head, .qk_norm_time = QkNormTime::after_rope, .norm_eps = 1e-5},
     .tweak = tweak_hunyuan},
    {.name = "arcee",
     .model_type = "arcee",
     .names = &kLlama,
     .traits = {.mlp = Mlp::plain, .norm_eps = 1e-5, .act = "relu2"}},
    {.name = "nemotron",
     .model_type = "nemotron",
     .names = &kLlama,
     .traits = {.norm = NormKind::layer_plus_one,
                .mlp = Mlp::plain,
                .norm_eps = 1e-5,
                .act = "relu2",
                .partial_rotary = 0.5}},
    {.name = "apertus",
     .model_type = "apertus",
     .names = &kApertus,
     .traits = {.mlp = Mlp::plain, .qk_norm = QkNorm::head, .norm_eps = 1e-5, .act = "xielu"}},
    {.name = "glm",
     .model_type = "glm",
     .names = &kPhi3,
     .traits = {.rope_layout = RopeLayout::pairs, .norm_eps = 1.5625e-7, .partial_rotary = 0.5}},
    {.name = "glm4",
     .model_type = "glm4",
     .names = &kGlm4,
     .traits = {.rope_layout = RopeLayout::pairs, .norm_eps = 1.5625e-7, .partial_rotary = 0.5}},
    {.name = "olmo",
     .model_type = "olmo",
     .names = &kOlmo,
     .traits = {.norm = NormKind::layer_plain, .norm_eps = 1e-5},
     .tweak = tweak_olmo},
    {.name = "olmo2",
     .model_type = "olmo2",
     .names = &kOlmo2,
     .traits = {.qk_norm = QkNorm::row, .norm_eps = 1e-5}},
    {.name = "olmo3",
     .model_type = "olmo3",
     .names = &kOlmo2,
     .traits = {.windows = Windows::typed, .qk_norm = QkNorm::row, .norm_eps = 1e-5, .window_pattern = 4},
     .tweak = tweak_olmo3},
    {.name = "exaone4",
     .model_type = "exaone4",
     .names = &kOlmo2,
     .traits = {.windows = Windows::typed, .qk_norm = QkNorm::head, .norm_eps = 1e-5, .window_pattern = 4},
     .tweak = tweak_exaone4},
    {.name = "cohere",
     .model_type = "cohere",
     .names = &kCohere,
     .traits = {.norm = NormKind::layer_scale,
                .flow = Flow::parallel,
                .rope_layout = RopeLayout::pairs,
                .qk_norm = QkNorm::each_head,
                .tied = Tied::yes,
                .norm_eps = 1e-5},
     .tweak = tweak_cohere},
    {.name = "cohere2",
     .model_type = "cohere2",
     .names = &kCohere,
     .traits = {.norm = NormKind::layer_scale,
                .flow = Flow::parallel,
                .rope_layout = RopeLayout::pairs,
                .windows = Windows::typed,
                .tied = Tied::yes,
                .norm_eps = 1e-5,
                .window_pattern = 4},
     .tweak = tweak_cohere2},
    {.name = "stablelm",
     .model_type = "stablelm",
     .names = &kStableLm,
     .traits =
         {.norm = NormKind::layer, .qk_norm = QkNorm::each_head, .norm_eps = 1e-5, .partial_rotary = 0.25},
     .tweak = tweak_parallel_residual},
    {.name = "gemma",
     .model_type = "gemma",
     .names = &kLlama,
     .traits =
         {.norm = NormKind::rms_plus_one, .tied = Tied::yes, .act = "gelu_pytorch_tanh", .head_dim = 256},
     .tweak = tweak_gemma},
    {.name = "gemma2",
     .model_type = "gemma2",
     .names = &kGemma2,
     .traits = {.norm = NormKind::rms_plus_one,
                .windows = Windows::typed,
                .tied = Tied::yes,
                .act = "gelu_pytorch_tanh",
                .head_dim = 256,
                .window_pattern = 2},
     .tweak = tweak_gemma2},
    {.name = "gemma3",
     .model_type = "gemma3_text",
     .names = &kGemma3,
     .traits = {.norm = NormKind::rms_plus_one,
                .windows = Windows::typed,
                .qk_norm = QkNorm::head,
                .tied = Tied::yes,
                .act = "gelu_pytorch_tanh",
                .head_dim = 256,
                .window_pattern = 6},
     .tweak = tweak_gemma3},
    {.name = "gemma4",
     .model_type = "gemma4_text",
     .names = &kGemma4,
     .traits = {.windows = Windows::typed,
                .qk_norm = QkNorm::head,
                .tied = Tied::yes,
                .act = "gelu_pytorch_tanh",
                .head_dim = 256,
                .window_pattern = 6},
     .tweak = tweak_gemma4},
};

}  // namespace

std::span<const Family> llama_families() { return kFamilies; }

}  // namespace gptq
