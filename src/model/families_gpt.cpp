// Families of GPT-2's line: layer norms, a plain MLP, and their own names for everything.
#include "model/family_table.h"

namespace gptq {
namespace {

using enum Role;

// --- GPT-2 and those that kept its names

constexpr Module kGpt2Modules[] = {
    {"attn.c_attn", {q, k, v}, 3}, {"attn.c_proj", {o}}, {"mlp.c_fc", {up}}, {"mlp.c_proj", {down}}};
constexpr Module kBigcodeModules[] = {{"attn.c_attn", {q, k, v}, 3, Rows::per_kv_head},
                                      {"attn.c_proj", {o}},
                                      {"mlp.c_fc", {up}},
                                      {"mlp.c_proj", {down}}};
constexpr Module kNeoModules[] = {{"attn.attention.q_proj", {q}},
                                  {"attn.attention.k_proj", {k}},
                                  {"attn.attention.v_proj", {v}},
                                  {"attn.attention.out_proj", {o}},
                                  {"mlp.c_fc", {up}},
                                  {"mlp.c_proj", {down}}};
constexpr Module kJModules[] = {{"attn.q_proj", {q}},   {"attn.k_proj", {k}}, {"attn.v_proj", {v}},
                                {"attn.out_proj", {o}}, {"mlp.fc_in", {up}},  {"mlp.fc_out", {down}}};
constexpr Module kCodegenModules[] = {{"attn.qkv_proj", {q, v, k}, 3, Rows::in_quarters},
                                      {"attn.out_proj", {o}},
                                      {"mlp.fc_in", {up}},
                                      {"mlp.fc_out", {down}}};
constexpr NormName kLn12[] = {{NormPlace::attention, "ln_1"}, {NormPlace::mlp, "ln_2"}};
constexpr NormName kLn1[] = {{NormPlace::attention, "ln_1"}};
constexpr std::string_view kMasks[] = {"attn.bias", "attn.masked_bias", "attn.attention.bias",
                                       "attn.attention.masked_bias", "attn.causal_mask"};

constexpr Names gpt2_names(std::string_view positions, std::span<const NormName> norms,
                           std::span<const Module> modules) {
  return {.base = "transformer.",
          .embed = "wte",
          .positions = positions,
          .layers = "h.",
          .final_norm = "ln_f",
          .head = "lm_head",
          .norms = norms,
          .modules = modules,
          .ignored = kMasks};
}
constexpr Names kGpt2 = gpt2_names("wpe", kLn12, kGpt2Modules);
constexpr Names kBigcode = gpt2_names("wpe", kLn12, kBigcodeModules);
constexpr Names kNeo = gpt2_names("wpe", kLn12, kNeoModules);
constexpr Names kJ = gpt2_names({}, kLn1, kJModules);
constexpr Names kCodegen = gpt2_names({}, kLn1, kCodegenModules);

// --- GPT-NeoX, BLOOM, Falcon, Persimmon: one Linear for q, k and v, head by head

constexpr Module kNeoxModules[] = {{"attention.query_key_value", {q, k, v}, 3, Rows::per_head},
                                   {"attention.dense", {o}},
                                   {"mlp.dense_h_to_4h", {up}},
                                   {"mlp.dense_4h_to_h", {down}}};
constexpr Module kBloomModules[] = {{"self_attention.query_key_value", {q, k, v}, 3, Rows::per_kv_head},
                                    {"self_attention.dense", {o}},
                                    {"mlp.dense_h_to_4h", {up}},
                                    {"mlp.dense_4h_to_h", {down}}};
constexpr Module kPersimmonModules[] = {{"self_attn.query_key_value", {q, k, v}, 3, Rows::per_head},
                                        {"self_attn.dense", {o}},
                                        {"mlp.dense_h_to_4h", {up}},
                                        {"mlp.dense_4h_to_h", {down}}};
constexpr NormName kTwoNorms[] = {{NormPlace::attention, "input_layernorm"},
                                  {NormPlace::mlp, "post_attention_layernorm"}};
constexpr NormName kFalconNorms[] = {{NormPlace::attention, "input_layernorm", Need::one_of_place},
                                     {NormPlace::attention, "ln_attn", Need::one_of_place},
                                     {NormPlace::mlp, "post_attention_layernorm", Need::optional},
                                     {NormPlace::mlp, "ln_mlp", Need::optional}};
constexpr NormName kPersimmonNorms[] = {{NormPlace::attention, "input_layernorm"},
                                        {NormPlace::mlp, "post_attention_layernorm"},
                                        {NormPlace::q, "self_attn.q_layernorm", Need::optional},
                                        {NormPlace::k, "self_attn.k_layernorm", Need::optional}};
constexpr std::string_view kNeoxIgnored[] = {"attention.bias", "attention.masked_bias",
                                             "attention.rotary_emb.inv_freq"};
constexpr Names kNeox =
    names(outer("gpt_neox.", "embed_in", "layers.", "final_layer_norm", "embed_out", kNeoxIgnored), kTwoNorms,
          kNeoxModules);
constexpr Names kBloom{.base = "transformer.",
                       .embed = "word_embeddings",
                       .positions = {},
                       .layers = "h.",
                       .final_norm = "ln_f",
                       .head = "lm_head",
                       .norms = kTwoNorms,
                       .modules = kBloomModules,
                       .ignored = {},
                       .embed_norm = "word_embeddings_layernorm"};
constexpr std::string_view kFalconIgnored[] = {"self_attention.rotary_emb.inv_freq"};
constexpr Names kFalcon =
    names(outer("transformer.", "word_embeddings", "h.", "ln_f", "lm_head", kFalconIgnored), kFalconNorms,
          kBloomModules);
constexpr Names kPersimmon =
    names(outer("model.", "embed_tokens", "layers.", "final_layernorm", "lm_head", kRotaryBuffer),
          kPersimmonNorms, kPersimmonModules);

// --- MPT, OPT, XGLM, Phi, StarCoder 2

constexpr Module kMptModules[] = {
    {"attn.Wqkv", {q, k, v}, 3}, {"attn.out_proj", {o}}, {"ffn.up_proj", {up}}, {"ffn.down_proj", {down}}};
constexpr NormName kMptNorms[] = {{NormPlace::attention, "norm_1"}, {NormPlace::mlp, "norm_2"}};
constexpr Names kMpt = names(outer("transformer.", "wte", "blocks.", "norm_f"), kMptNorms, kMptModules);

constexpr Module kOptModules[] = {{"self_attn.q_proj", {q}},
                                  {"self_attn.k_proj", {k}},
                                  {"self_attn.v_proj", {v}},
                                  {"self_attn.out_proj", {o}},
                                  {"fc1", {up}},
                                  {"fc2", {down}}};
constexpr NormName kOptNorms[] = {{NormPlace::attention, "self_attn_layer_norm"},
                                  {NormPlace::mlp, "final_layer_norm"}};
constexpr Names kOpt{.base = "model.decoder.",
                     .embed = "embed_tokens",
                     .positions = "embed_positions",
                     .layers = "layers.",
                     .final_norm = "final_layer_norm",
                     .head = "lm_head",
                     .norms = kOptNorms,
                     .modules = kOptModules,
                     .ignored = {},
                     .project_in = "project_in",
                     .project_out = "project_out"};
constexpr Names kXglm =
    names(outer("model.", "embed_tokens", "layers.", "layer_norm"), kOptNorms, kOptModules);

constexpr Module kPhiModules[] = {{"self_attn.q_proj", {q}}, {"self_attn.k_proj", {k}},
                                  {"self_attn.v_proj", {v}}, {"self_attn.dense", {o}},
                                  {"mlp.fc1", {up}},         {"mlp.fc2", {down}}};
constexpr NormName kPhiNorms[] = {{NormPlace::attention, "input_layernorm"},
                                  {NormPlace::q, "self_attn.q_layernorm", Need::optional},
                                  {NormPlace::k, "self_attn.k_layernorm", Need::optional}};
constexpr Names kPhi =
    names(outer("model.", "embed_tokens", "layers.", "final_layernorm", "lm_head", kRotaryBuffer), kPhiNorms,
          kPhiModules);

constexpr Module kStarcoderModules[] = {{"self_attn.q_proj", {q}}, {"self_attn.k_proj", {k}},
                                        {"self_attn.v_proj", {v}}, {"self_attn.o_proj", {o}},
                                        {"mlp.c_fc", {up}},        {"mlp.c_proj", {down}}};
constexpr Names kStarcoder = names(kLlamaOuter, kTwoNorms, kStarcoderModules);

/// Layer norms, a plain MLP, tied unless config.json says otherwise.
constexpr Traits gpt(Positions positions, std::string_view act, Tied tied, Flow flow = Flow::sequential) {
  return {.norm = NormKind::layer,
          .flow = flow,
          .mlp = Mlp::plain,
          .positions = positions,
          .tied = tied,
          .norm_eps = 1e-5,
          .act = act};
}
constexpr Traits with_storage(Traits traits, Storage storage) {
  traits.storage = storage;
  return traits;
}
constexpr Traits with_layout(Traits traits, RopeLayout layout) {
  traits.rope_layout = layout;
  return traits;
}
constexpr Traits with_partial(Traits traits, double partial, QkNorm qk_norm = QkNorm::none) {
  traits.partial_rotary = partial;
  traits.qk_norm = qk_norm;
  return traits;
}
constexpr Traits with_offset(Traits traits, int64_t offset) {
  traits.position_offset = offset;
  return traits;
}
constexpr Traits with_context(Traits traits, int64_t context) {
  traits.context = context;
  return traits;
}
constexpr Traits with_windows(Traits traits, Windows windows) {
  traits.windows = windows;
  return traits;
}
constexpr Traits with_norm(Traits traits, NormKind norm) {
  traits.norm = norm;
  return traits;
}

constexpr Family kFamilies[] = {
    family("gpt2", kGpt2, with_storage(gpt(Positions::learned, "gelu_new", Tied::yes), Storage::in_out)),
    family("gpt_bigcode", kBigcode, gpt(Positions::learned, "gelu_pytorch_tanh", Tied::yes), tweak_bigcode),
    family("gpt_neo", kNeo, gpt(Positions::learned, "gelu_new", Tied::yes), tweak_gpt_neo),
    family("gptj", kJ,
           with_layout(gpt(Positions::rope, "gelu_new", Tied::no, Flow::parallel), RopeLayout::pairs),
           tweak_gptj),
    family("codegen", kCodegen,
           with_layout(gpt(Positions::rope, "gelu_new", Tied::no, Flow::parallel), RopeLayout::pairs),
           tweak_gptj),
    family("gpt_neox", kNeox, with_partial(gpt(Positions::rope, "gelu", Tied::no, Flow::parallel), 0.25),
           tweak_gpt_neox),
    family("bloom", kBloom, with_context(gpt(Positions::alibi, "gelu_pytorch_tanh", Tied::yes), 2048),
           tweak_bloom),
    family("falcon", kFalcon, with_context(gpt(Positions::rope, "gelu", Tied::yes), 2048), tweak_falcon),
    family("mpt", kMpt, with_norm(gpt(Positions::alibi, "gelu", Tied::yes), NormKind::layer_scale),
           tweak_mpt),
    family("opt", kOpt, with_offset(gpt(Positions::learned, "relu", Tied::yes), 2), tweak_opt),
    family("xglm", kXglm, with_offset(gpt(Positions::sinusoidal, "gelu", Tied::yes), 2), tweak_xglm),
    family("phi", kPhi,
           with_partial(gpt(Positions::rope, "gelu_new", Tied::no, Flow::parallel), 0.5, QkNorm::head)),
    family("persimmon", kPersimmon, with_partial(gpt(Positions::rope, "relu2", Tied::no), 0.5, QkNorm::head),
           tweak_persimmon),
    family("starcoder2", kStarcoder,
           with_windows(gpt(Positions::rope, "gelu_pytorch_tanh", Tied::yes), Windows::all)),
};

}  // namespace

std::span<const Family> gpt_families() { return kFamilies; }

}  // namespace gptq
