// Families that call their parts as Llama does: norms before attention and MLP, a gated MLP, rotary positions.
#include "model/family.h"

namespace gptq {
namespace {

using enum Role;

constexpr Module kSeparate[] = {
    {"self_attn.q_proj", {q}}, {"self_attn.k_proj", {k}}, {"self_attn.v_proj", {v}},
    {"self_attn.o_proj", {o}}, {"mlp.gate_proj", {gate}}, {"mlp.up_proj", {up}},
    {"mlp.down_proj", {down}},
};
constexpr NormName kTwoNorms[] = {{NormPlace::attention, "input_layernorm"},
                                  {NormPlace::mlp, "post_attention_layernorm"}};
constexpr std::string_view kRotaryBuffer[] = {"self_attn.rotary_emb.inv_freq"};

constexpr Names kLlama{
    .base = "model.",
    .embed = "embed_tokens",
    .positions = {},
    .layers = "layers.",
    .final_norm = "norm",
    .head = "lm_head",
    .norms = kTwoNorms,
    .modules = kSeparate,
    .ignored = kRotaryBuffer,
};

constexpr std::string_view kLlamaTypes[] = {"llama"};
constexpr std::string_view kMistralTypes[] = {"mistral"};
constexpr std::string_view kQwen2Types[] = {"qwen2"};

constexpr Family kFamilies[] = {
    {.name = "llama", .model_types = kLlamaTypes, .names = &kLlama},
    {.name = "mistral", .model_types = kMistralTypes, .names = &kLlama, .traits = {.windows = Windows::all}},
    {.name = "qwen2", .model_types = kQwen2Types, .names = &kLlama, .traits = {.windows = Windows::upper}},
};

}  // namespace

std::span<const Family> llama_families() { return kFamilies; }

}  // namespace gptq
