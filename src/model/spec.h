// The numbers of one model, from its config.json: strict about what changes the mathematics.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json_fwd.h"
#include "model/family.h"

namespace gptq {

/// longrope: factors for each dimension, one set for short and one for long texts. proportional: frequencies of the
/// whole head, of which the first part turns (Gemma 4).
enum class RopeKind : uint8_t { plain, linear, dynamic, yarn, llama3, longrope, proportional };

/// Rotary embedding (arXiv 2104.09864) and its context extensions, as transformers names and computes them.
struct RopeSpec {
  RopeKind kind = RopeKind::plain;
  int64_t dim = 0;  // elements of a head that rotate
  double theta = 10000.0;
  double factor = 1.0;            // by which the context is stretched
  int64_t original_context = 0;   // positions before stretching
  double attention_factor = 1.0;  // yarn (arXiv 2309.00071), longrope: on cos and sin
  double beta_fast = 32.0, beta_slow = 1.0;
  bool truncate = true;                                  // yarn: correction range rounded to whole dimensions
  double low_freq_factor = 1.0, high_freq_factor = 4.0;  // llama3
  RopeLayout layout = RopeLayout::half;
  std::vector<float> short_factors{}, long_factors{};  // longrope: [dim / 2]
  int64_t turning = 0;                                 // proportional: elements that turn, of dim

  bool operator==(const RopeSpec&) const = default;
};

/// What may differ from layer to layer.
struct LayerSpec {
  Mixer mixer = Mixer::attention;
  // delta: heads are those of values, kv_heads those of queries and keys
  int64_t heads = 0, kv_heads = 0, key_dim = 0, value_dim = 0;
  int64_t intermediate = 0;
  int64_t window = 0;                            // 0: no sliding window
  int64_t chunk = 0;                             // 0: none; only positions of the same chunk are seen
  int rope = 0;                                  // of Spec::ropes; -1: queries and keys do not rotate
  int64_t experts = 0, expert_intermediate = 0;  // intermediate: of what all tokens go through; 0: nothing

  /// Widths of queries, keys and values, and of what comes of them.
  int64_t queries() const { return (mixer == Mixer::delta ? kv_heads : heads) * key_dim; }
  int64_t keys() const { return kv_heads * key_dim; }
  int64_t values() const { return (mixer == Mixer::delta ? heads : kv_heads) * value_dim; }
  int64_t mixed() const { return heads * value_dim; }
};

/// Widths of the latents of Mixer::latent, and of the parts of a head of queries and keys that rotate or don't.
struct LatentSpec {
  int64_t q_rank = 0;  // 0: queries have none
  int64_t kv_rank = 0, nope_dim = 0, rope_dim = 0;
};

struct Spec {
  const Family* family = nullptr;
  Traits traits;             // the family's, as config.json changes them
  std::string architecture;  // "LlamaForCausalLM"
  std::string dtype;         // as config.json says; informative
  int64_t layers = 0, hidden = 0, intermediate = 0, vocab = 0, context = 0;
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  int64_t embed_dim = 0;  // width of the embedding and of what the head reads; mostly hidden
  double norm_eps = 0;
  Activation act;
  double attention_scale = 1.0;
  double attention_softcap = 0, logit_softcap = 0;  // 0: none
  double clip_qkv = 0;  // 0: none; queries, keys and values are cut to [-clip, clip]
  LatentSpec latent;
  int64_t conv_kernel = 0;  // of Mixer::delta: positions that its convolution sees
  RouterParams router;      // of layers with experts; its choice_bias comes with their weights
  double embed_scale = 1.0, residual_scale = 1.0, head_scale = 1.0, logit_scale = 1.0;
  // queries that do not rotate are multiplied with 1 + scale ln(1 + floor((position + 1) / floor)); 0: they are not
  double temperature_scale = 0, temperature_floor = 0;
  int64_t skipped_layers = 0;  // that files have behind the last one, for other ways to generate text
  double alibi_bias_max = 8.0, alibi_factor = 1.0;
  std::vector<RopeSpec> ropes;   // the kinds that layers have; empty without rotation
  std::vector<LayerSpec> layer;  // [layers]
  std::optional<Tied> tied;      // empty: config.json does not say, the presence of the head decides
  std::optional<int32_t> bos;
  std::vector<int32_t> eos;  // any of them ends a text

  /// Of a model whose layers all rotate alike.
  RopeSpec rope() const { return ropes.empty() ? RopeSpec{} : ropes.front(); }
  const LayerSpec& at(int64_t index) const { return layer[static_cast<size_t>(index)]; }
  /// Most positions that can be told apart: learned ones end with the table.
  int64_t context_limit() const {
    return traits.positions == Positions::learned ? context : int64_t{1} << 30;
  }
  /// Roles that a layer must have.
  std::vector<Role> roles(int64_t index) const;
  /// Output rows of the Linear in `role`, and its input columns.
  int64_t out_features(Role role, int64_t index) const;
  int64_t in_features(Role role, int64_t index) const;
  int64_t out_features(const Module& module, int64_t index) const;
  int64_t in_features(const Module& module, int64_t index) const {
    return in_features(module.roles[0], index);
  }
  /// Blocks of rows of a module, see Rows.
  int64_t row_blocks(const Module& module, int64_t index) const;
  /// The most of any layer.
  int64_t most(int64_t (*of)(const LayerSpec& layer)) const;
};

/// Most bytes of config.json and generation_config.json.
inline constexpr size_t kMaxConfigBytes = size_t{16} << 20;

/// `config` is the parsed config.json, `name` its name for messages. Faults: range, limit, mismatch, unsupported.
Spec read_spec(const Json& config, const std::string& name);

/// config.json of the folder, and the end-of-text ids of generation_config.json (which win).
Spec load_spec(const fs::path& folder);

}  // namespace gptq
