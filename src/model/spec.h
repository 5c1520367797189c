// The numbers of one model, from its config.json: strict about what changes the mathematics.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json_fwd.h"
#include "model/family.h"

namespace gptq {

enum class RopeKind : uint8_t { plain, linear, dynamic, yarn, llama3 };

/// Rotary embedding (arXiv 2104.09864) and its context extensions, as transformers names and computes them.
struct RopeSpec {
  RopeKind kind = RopeKind::plain;
  int64_t dim = 0;  // elements of a head that rotate
  double theta = 10000.0;
  double factor = 1.0;            // by which the context is stretched
  int64_t original_context = 0;   // positions before stretching
  double attention_factor = 1.0;  // yarn (arXiv 2309.00071): on cos and sin
  double beta_fast = 32.0, beta_slow = 1.0;
  bool truncate = true;                                  // yarn: correction range rounded to whole dimensions
  double low_freq_factor = 1.0, high_freq_factor = 4.0;  // llama3
  RopeLayout layout = RopeLayout::half;
};

struct Spec {
  const Family* family = nullptr;
  std::string architecture;  // "LlamaForCausalLM"
  std::string dtype;         // as config.json says; informative
  int64_t layers = 0, hidden = 0, intermediate = 0, vocab = 0, context = 0;
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  double norm_eps = 0;
  Act act = Act::silu;
  double attention_scale = 1.0;
  RopeSpec rope;
  std::vector<int64_t> window;  // per layer; 0: no sliding window
  std::optional<Tied> tied;     // empty: config.json does not say, the presence of the head decides
  std::optional<int32_t> bos;
  std::vector<int32_t> eos;  // any of them ends a text

  /// Most positions that can be told apart: learned ones end with the table.
  int64_t context_limit() const {
    return family->positions == Positions::learned ? context : int64_t{1} << 30;
  }
  /// Output rows of the Linear in `role`, and its input columns.
  int64_t out_features(Role role) const;
  int64_t in_features(Role role) const;
  int64_t out_features(const Module& module) const;
  int64_t in_features(const Module& module) const { return in_features(module.roles[0]); }
};

/// Most bytes of config.json and generation_config.json.
inline constexpr size_t kMaxConfigBytes = size_t{16} << 20;

/// `config` is the parsed config.json, `name` its name for messages. Faults: range, limit, mismatch, unsupported.
Spec read_spec(const Json& config, const std::string& name);

/// config.json of the folder, and the end-of-text ids of generation_config.json (which win).
Spec load_spec(const fs::path& folder);

}  // namespace gptq
