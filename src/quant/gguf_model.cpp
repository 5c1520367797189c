#include "quant/gguf_model.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"

namespace gptq {
namespace {

using enum Role;

constexpr Role kAll[] = {q, k, v, o, gate, up, down};
constexpr Role kAttention[] = {q, k, v};

constexpr GgufArch kArchs[] = {
    {"llama", "LlamaForCausalLM", "llama", HeadRows::pairs, kAll},
    {"mistral", "MistralForCausalLM", "llama", HeadRows::pairs, kAll},
    {"qwen2", "Qwen2ForCausalLM", "qwen2", HeadRows::halves, kAttention},
    {"gpt2", "GPT2LMHeadModel", "gpt2", HeadRows::halves, kAll},
};

}  // namespace

const GgufArch& gguf_arch_of(const Family& family) {
  for (const GgufArch& arch : kArchs) {
    if (arch.family == family.name) return arch;
  }
  throw Error(Fault::unsupported,
              cat("models of the family ", family.name,
                  " can't be written as GGUF; those of llama, mistral, qwen2 and gpt2 can"));
}

const GgufArch& gguf_arch_named(std::string_view name, std::string_view file) {
  for (const GgufArch& arch : kArchs) {
    if (arch.name == name) return arch;
  }
  throw Error(Fault::unsupported,
              cat(file, ": general.architecture is ", quoted(name), ", wanted llama, qwen2 or gpt2"));
}

std::string gguf_layer_name(int64_t layer, std::string_view part) { return cat("blk.", layer, ".", part); }

std::string_view gguf_part(const Module& module) {
  if (module.role_count > 1) return "attn_qkv";
  switch (module.roles[0]) {
    case q: return "attn_q";
    case k: return "attn_k";
    case v: return "attn_v";
    case o: return "attn_output";
    case gate: return "ffn_gate";
    case up: return "ffn_up";
    case down: return "ffn_down";
    default: return {};  // of experts: no architecture that is written has any
  }
}

bool has_paired_rows(const GgufArch& arch, const Module& module) {
  return arch.head_rows == HeadRows::pairs && module.role_count == 1 &&
         (module.roles[0] == q || module.roles[0] == k);
}

}  // namespace gptq
