// Families of GPT-2's line: layer norms, a plain MLP, and their own names for everything.
#include "model/family_table.h"

namespace gptq {
namespace {

using enum Role;

constexpr Names with_positions(Names names, std::string_view positions) {
  names.positions = positions;
  return names;
}

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

constexpr Names kTransformer = outer("transformer.", "wte", "h.", "ln_f", "lm_head", kMasks);
constexpr Names kPositions = with_positions(kTransformer, "wpe");
constexpr Names kGpt2 = names(kPositions, kLn12, kGpt2Modules);
constexpr Names kBigcode = names(kPositions, kLn12, kBigcodeModules);
constexpr Names kNeo = names(kPositions, kLn12, kNeoModules);
constexpr Names kJ = names(kTransformer, kLn1, kJModules);
constexpr Names kCodegen = names(kTransformer, kLn1, kCodegenModules);

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
constexpr NormName kFalconNorms[] = {{NormPlace::attention, "input_layernorm", Need::one_of_place},
                                     {NormPlace::attention, "ln_attn", Need::one_of_place},
                                     {NormPlace::mlp, "post_attention_layernorm", Need::optional},
                                     {NormPlace::mlp, "ln_mlp", Need::optional}};
constexpr std::array<NormName, 2> kHeadLayerNorms{{{NormPlace::q, "self_attn.q_layernorm", Need::optional},
                                                   {NormPlace::k, "self_attn.k_layernorm", Need::optional}}};
constexpr auto kPersimmonNorms = joined(kNorms, kHeadLayerNorms);
constexpr std::string_view kNeoxIgnored[] = {"attention.bias", "attention.masked_bias",
                                             "attention.rotary_emb.inv_freq"};
constexpr Names kNeox =
    names(outer("gpt_neox.", "embed_in", "layers.", "final_layer_norm", "embed_out", kNeoxIgnored), kNorms,
          kNeoxModules);
constexpr Names kBloom = [] {
  Names bloom = names(outer("transformer.", "word_embeddings", "h.", "ln_f"), kNorms, kBloomModules);
  bloom.embed_norm = "word_embeddings_layernorm";
  return bloom;
}();
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
constexpr Names kOpt = [] {
  Names opt =
      names(outer("model.decoder.", "embed_tokens", "layers.", "final_layer_norm"), kOptNorms, kOptModules);
  opt.positions = "embed_positions";
  opt.project_in = "project_in";
  opt.project_out = "project_out";
  return opt;
}();
constexpr Names kXglm =
    names(outer("model.", "embed_tokens", "layers.", "layer_norm"), kOptNorms, kOptModules);

constexpr Module kPhiModules[] = {{"self_attn.q_proj", {q}}, {"self_attn.k_proj", {k}},
                                  {"self_attn.v_proj", {v}}, {"self_attn.dense", {o}},
                                  {"mlp.fc1", {up}},         {"mlp.fc2", {down}}};
constexpr auto kPhiNorms = joined(kOneNorm, kHeadLayerNorms);
constexpr Names kPhi =
    names(outer("model.", "embed_tokens", "layers.", "final_layernorm", "lm_head", kRotaryBuffer), kPhiNorms,
          kPhiModules);

constexpr Module kStarcoderModules[] = {{"self_attn.q_proj", {q}}, {"self_attn.k_proj", {k}},
                                        {"self_attn.v_proj", {v}}, {"self_attn.o_proj", {o}},
                                        {"mlp.c_fc", {up}},        {"mlp.c_proj", {down}}};
constexpr Names kStarcoder = names(kLlamaOuter, kNorms, kStarcoderModules);

/// Layer norms and a plain MLP.
constexpr Traits gpt(Traits traits) {
  if (traits.norm == NormKind::rms) traits.norm = NormKind::layer;
  traits.mlp = Mlp::plain;
  traits.norm_eps = 1e-5;
  return traits;
}
constexpr Traits kJTraits =
    gpt({.flow = Flow::parallel, .rope_layout = RopeLayout::pairs, .act = "gelu_new"});

constexpr Family kFamilies[] = {
    family("gpt2", kGpt2,
           gpt({.positions = Positions::learned,
                .storage = Storage::in_out,
                .tied = Tied::yes,
                .act = "gelu_new"})),
    family("gpt_bigcode", kBigcode,
           gpt({.positions = Positions::learned, .tied = Tied::yes, .act = "gelu_pytorch_tanh"}),
           tweak_bigcode),
    family("gpt_neo", kNeo, gpt({.positions = Positions::learned, .tied = Tied::yes, .act = "gelu_new"}),
           tweak_gpt_neo),
    family("gptj", kJ, kJTraits, tweak_gptj),
    family("codegen", kCodegen, kJTraits, tweak_gptj),
    family("gpt_neox", kNeox, gpt({.flow = Flow::parallel, .act = "gelu", .partial_rotary = 0.25}),
           tweak_gpt_neox),
    family(
        "bloom", kBloom,
        gpt({.positions = Positions::alibi, .tied = Tied::yes, .act = "gelu_pytorch_tanh", .context = 2048}),
        tweak_bloom),
    family("falcon", kFalcon, gpt({.tied = Tied::yes, .act = "gelu", .context = 2048}), tweak_falcon),
    family(
        "mpt", kMpt,
        gpt({.norm = NormKind::layer_scale, .positions = Positions::alibi, .tied = Tied::yes, .act = "gelu"}),
        tweak_mpt),
    family("opt", kOpt,
           gpt({.positions = Positions::learned, .tied = Tied::yes, .act = "relu", .position_offset = 2}),
           tweak_opt),
    family("xglm", kXglm,
           gpt({.positions = Positions::sinusoidal, .tied = Tied::yes, .act = "gelu", .position_offset = 2}),
           tweak_xglm),
    family("phi", kPhi,
           gpt({.flow = Flow::parallel, .qk_norm = QkNorm::head, .act = "gelu_new", .partial_rotary = 0.5})),
    family("persimmon", kPersimmon, gpt({.qk_norm = QkNorm::head, .act = "relu2", .partial_rotary = 0.5}),
           tweak_persimmon),
    family("starcoder2", kStarcoder,
           gpt({.windows = Windows::all, .tied = Tied::yes, .act = "gelu_pytorch_tanh"})),
};

}  // namespace

std::span<const Family> gpt_families() { return kFamilies; }

}  // namespace gptq
