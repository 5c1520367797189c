// What config.json says in keys that only some families have: the `tweak` of their rows.
#pragma once

#include <cstdint>
#include <limits>

namespace gptq {

class JsonObject;
struct Spec;

// Bounds of what config.json may say
inline constexpr double kHuge = 1e30, kLeast = 1e-30;
inline constexpr int64_t kAny = std::numeric_limits<int64_t>::max(), kMaxWidth = int64_t{1} << 24,
                         kMaxHeads = 65'536;

using Tweak = void(const JsonObject& config, Spec& spec);

Tweak tweak_smollm3, tweak_granite, tweak_hunyuan, tweak_olmo, tweak_olmo3, tweak_exaone4, tweak_cohere,
    tweak_cohere2, tweak_parallel_residual, tweak_gemma, tweak_gemma2, tweak_gemma3, tweak_gemma4;
Tweak tweak_bigcode, tweak_gpt_neox, tweak_gpt_neo, tweak_gptj, tweak_bloom, tweak_falcon, tweak_mpt,
    tweak_opt, tweak_xglm, tweak_persimmon;
Tweak tweak_mixtral, tweak_qwen2_moe, tweak_qwen_moe, tweak_olmoe, tweak_phimoe, tweak_granitemoe, tweak_dbrx,
    tweak_gpt_oss, tweak_glm4_moe, tweak_llama4;
Tweak tweak_deepseek_v2, tweak_deepseek_v3, tweak_minicpm3, tweak_qwen3_next, tweak_qwen3_5;

}  // namespace gptq
