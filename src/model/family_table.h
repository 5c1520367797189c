// How the tables of families are written.
#pragma once

#include <array>

#include "model/family.h"
#include "model/tweaks.h"

namespace gptq {

inline constexpr std::string_view kRotaryBuffer[] = {"self_attn.rotary_emb.inv_freq"};

/// What stands outside the layers.
constexpr Names outer(std::string_view base, std::string_view embed, std::string_view layers,
                      std::string_view final_norm, std::string_view head = "lm_head",
                      std::span<const std::string_view> ignored = {}) {
  return {.base = base,
          .embed = embed,
          .layers = layers,
          .final_norm = final_norm,
          .head = head,
          .ignored = ignored};
}
inline constexpr Names kLlamaOuter =
    outer("model.", "embed_tokens", "layers.", "norm", "lm_head", kRotaryBuffer);

constexpr Names names(Names outer, std::span<const NormName> norms, std::span<const Module> modules,
                      std::span<const ExtraName> extras = {}) {
  outer.norms = norms;
  outer.modules = modules;
  outer.extras = extras;
  return outer;
}

template <class T, size_t A, size_t B>
constexpr std::array<T, A + B> joined(const std::array<T, A>& a, const std::array<T, B>& b) {
  std::array<T, A + B> all{};
  for (size_t i = 0; i < A; ++i) all[i] = a[i];
  for (size_t i = 0; i < B; ++i) all[A + i] = b[i];
  return all;
}

// What many families have in common
inline constexpr std::array<NormName, 2> kNorms{
    {{NormPlace::attention, "input_layernorm"}, {NormPlace::mlp, "post_attention_layernorm"}}};
inline constexpr std::array<NormName, 1> kOneNorm{{{NormPlace::attention, "input_layernorm"}}};
inline constexpr std::array<NormName, 2> kHeadNorms{
    {{NormPlace::q, "self_attn.q_norm"}, {NormPlace::k, "self_attn.k_norm"}}};
inline constexpr std::array<NormName, 2> kMaybeHeadNorms{
    {{NormPlace::q, "self_attn.q_norm", Need::optional}, {NormPlace::k, "self_attn.k_norm", Need::optional}}};
inline constexpr auto kNormsAndHeads = joined(kNorms, kHeadNorms);
inline constexpr std::array<Module, 4> kAttention{{
    {"self_attn.q_proj", {Role::q}},
    {"self_attn.k_proj", {Role::k}},
    {"self_attn.v_proj", {Role::v}},
    {"self_attn.o_proj", {Role::o}},
}};
// of layers without experts, and of the one for all tokens
inline constexpr std::array<Module, 9> kShared{{
    {"mlp.gate_proj", {Role::gate}},
    {"mlp.up_proj", {Role::up}},
    {"mlp.down_proj", {Role::down}},
    {"mlp.shared_expert.gate_proj", {Role::gate}},
    {"mlp.shared_expert.up_proj", {Role::up}},
    {"mlp.shared_expert.down_proj", {Role::down}},
    {"mlp.shared_experts.gate_proj", {Role::gate}},
    {"mlp.shared_experts.up_proj", {Role::up}},
    {"mlp.shared_experts.down_proj", {Role::down}},
}};
inline constexpr std::array<Module, 4> kExperts{{
    {"mlp.gate", {Role::router}},
    {"mlp.experts.#.gate_proj", {Role::expert_gate}},
    {"mlp.experts.#.up_proj", {Role::expert_up}},
    {"mlp.experts.#.down_proj", {Role::expert_down}},
}};
inline constexpr std::array<Module, 1> kSharedGate{{{"mlp.shared_expert_gate", {Role::shared}}}};
inline constexpr ExtraName kChoiceBias[] = {{Extra::choice_bias, "mlp.gate.e_score_correction_bias"}};

/// A row. The family is named by its model_type, less "_text".
constexpr Family family(std::string_view type, const Names& names, const Traits& traits = {},
                        Tweak* tweak = nullptr) {
  return {.name = type.substr(0, type.size() - (type.ends_with("_text") ? 5 : 0)),
          .model_type = type,
          .names = &names,
          .traits = traits,
          .tweak = tweak};
}

}  // namespace gptq
