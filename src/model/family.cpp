#include "model/family.h"

#include <vector>

#include "base/error.h"
#include "base/text.h"

namespace gptq {
namespace {

using enum Role;

constexpr Module kSeparate[] = {
    {"self_attn.q_proj", {q}}, {"self_attn.k_proj", {k}}, {"self_attn.v_proj", {v}},
    {"self_attn.o_proj", {o}}, {"mlp.gate_proj", {gate}}, {"mlp.up_proj", {up}},
    {"mlp.down_proj", {down}},
};
constexpr std::string_view kLlamaIgnored[] = {"self_attn.rotary_emb.inv_freq"};
constexpr Names kLlama{
    .base = "model.",
    .embed = "embed_tokens",
    .positions = {},
    .layers = "layers.",
    .attention_norm = "input_layernorm",
    .mlp_norm = "post_attention_layernorm",
    .final_norm = "norm",
    .head = "lm_head",
    .modules = kSeparate,
    .ignored = kLlamaIgnored,
};

constexpr Module kGpt2Modules[] = {
    {"attn.c_attn", {q, k, v}, 3}, {"attn.c_proj", {o}}, {"mlp.c_fc", {up}}, {"mlp.c_proj", {down}}};
constexpr std::string_view kGpt2Ignored[] = {"attn.bias", "attn.masked_bias"};  // the causal mask
constexpr Names kGpt2{
    .base = "transformer.",
    .embed = "wte",
    .positions = "wpe",
    .layers = "h.",
    .attention_norm = "ln_1",
    .mlp_norm = "ln_2",
    .final_norm = "ln_f",
    .head = "lm_head",
    .modules = kGpt2Modules,
    .ignored = kGpt2Ignored,
};

constexpr std::string_view kLlamaTypes[] = {"llama"};
constexpr std::string_view kMistralTypes[] = {"mistral"};
constexpr std::string_view kQwen2Types[] = {"qwen2"};
constexpr std::string_view kGpt2Types[] = {"gpt2"};

constexpr Family kFamilies[] = {
    {.name = "llama", .model_types = kLlamaTypes, .names = &kLlama},
    {.name = "mistral", .model_types = kMistralTypes, .names = &kLlama, .windows = Windows::all},
    {.name = "qwen2", .model_types = kQwen2Types, .names = &kLlama, .windows = Windows::upper},
    {.name = "gpt2",
     .model_types = kGpt2Types,
     .names = &kGpt2,
     .norm = Norm::layer,
     .mlp = Mlp::plain,
     .positions = Positions::learned,
     .storage = Storage::in_out,
     .tied_by_default = Tied::yes,
     .default_norm_eps = 1e-5,
     .default_act = "gelu_new"},
};

}  // namespace

const Family& find_family(std::string_view model_type, std::string_view file) {
  std::vector<std::string_view> known;
  for (const Family& family : kFamilies) {
    for (std::string_view type : family.model_types) {
      if (type == model_type) return family;
      known.push_back(type);
    }
  }
  std::string message = cat(file, ": model_type ", quoted(model_type), " is not known",
                            nearest_hint(model_type, known), "; known are");
  for (std::string_view type : known) message += cat(type == known.front() ? " " : ", ", type);
  throw Error(Fault::unsupported, message);
}

}  // namespace gptq
