// Families of GPT-2's line: layer norms, a plain MLP, and their own names for everything.
#include "model/family.h"

namespace gptq {
namespace {

using enum Role;

constexpr Module kGpt2Modules[] = {
    {"attn.c_attn", {q, k, v}, 3}, {"attn.c_proj", {o}}, {"mlp.c_fc", {up}}, {"mlp.c_proj", {down}}};
constexpr NormName kGpt2Norms[] = {{NormPlace::attention, "ln_1"}, {NormPlace::mlp, "ln_2"}};
constexpr std::string_view kGpt2Ignored[] = {"attn.bias", "attn.masked_bias"};  // the causal mask
constexpr Names kGpt2{
    .base = "transformer.",
    .embed = "wte",
    .positions = "wpe",
    .layers = "h.",
    .final_norm = "ln_f",
    .head = "lm_head",
    .norms = kGpt2Norms,
    .modules = kGpt2Modules,
    .ignored = kGpt2Ignored,
};

constexpr std::string_view kGpt2Types[] = {"gpt2"};

constexpr Family kFamilies[] = {
    {.name = "gpt2",
     .model_types = kGpt2Types,
     .names = &kGpt2,
     .traits = {.norm = NormKind::layer,
                .mlp = Mlp::plain,
                .positions = Positions::learned,
                .storage = Storage::in_out,
                .tied = Tied::yes,
                .norm_eps = 1e-5,
                .act = "gelu_new"}},
};

}  // namespace

std::span<const Family> gpt_families() { return kFamilies; }

}  // namespace gptq
