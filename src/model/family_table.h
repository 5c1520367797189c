// How the tables of families are written.
#pragma once

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
          .positions = {},
          .layers = layers,
          .final_norm = final_norm,
          .head = head,
          .norms = {},
          .modules = {},
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
