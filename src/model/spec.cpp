#include "model/spec.h"

#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/folder.h"
#include "base/json.h"
#include "base/text.h"
#include "model/rope_spec.h"

namespace gptq {
namespace {

constexpr int64_t kMaxLayers = 10'000, kMaxWidth = int64_t{1} << 24, kMaxVocab = int64_t{1} << 24,
                  kMaxContext = int64_t{1} << 30, kMaxHeads = 65'536;
constexpr int64_t kAny = std::numeric_limits<int64_t>::max();

/// A count of at least 1; above `most` it is a limit of this library, not an error of the file.
int64_t bounded(const JsonObject& config, std::string_view key, int64_t value, int64_t most) {
  if (value > most) config.refuse(Fault::limit, key, cat("at most ", most));
  return value;
}

int64_t count(const JsonObject& config, JsonObject::Keys keys, int64_t most) {
  return bounded(config, *keys.begin(), config.integer(keys, 1, kAny), most);
}

Act read_act(const JsonObject& config, std::string_view otherwise) {
  const std::string name =
      config.string_or({"hidden_act", "activation_function", "hidden_activation"}, otherwise);
  if (name == "silu" || name == "swish") return Act::silu;
  if (name == "gelu") return Act::gelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast") return Act::gelu_tanh;
  if (name == "relu") return Act::relu;
  throw Error(Fault::unsupported, cat(config.name(), ": activation ", quoted(name),
                                      ", wanted silu, gelu, gelu_new, "
                                      "gelu_pytorch_tanh, gelu_fast or relu"));
}

/// [layers] width of the sliding window, 0 for none.
std::vector<int64_t> read_windows(const JsonObject& config, const Spec& spec) {
  std::vector<int64_t> windows(static_cast<size_t>(spec.layers), 0);
  if (spec.family->windows == Windows::none) return windows;
  const bool upper = spec.family->windows == Windows::upper;
  if (upper && !config.boolean_or({"use_sliding_window"}, false)) return windows;
  const auto width = config.maybe_integer({"sliding_window"}, 1, kAny);
  const Json* types = config.find({"layer_types"});
  if (types == nullptr) {
    if (!width) return windows;
    const int64_t first = upper ? config.integer_or({"max_window_layers"}, 0, kAny, 28) : 0;
    for (int64_t i = first; i < spec.layers; ++i) windows[static_cast<size_t>(i)] = *width;
    return windows;
  }
  if (!types->is_array() || types->size() != windows.size()) {
    config.refuse(Fault::mismatch, "layer_types",
                  cat("an array of ", spec.layers, " entries, one per layer"));
  }
  for (size_t i = 0; i < windows.size(); ++i) {
    const Json& type = (*types)[i];
    if (type == "full_attention") continue;
    if (type != "sliding_attention") {
      config.refuse(Fault::unsupported, "layer_types", "'full_attention' or 'sliding_attention'");
    }
    if (!width)
      config.refuse(Fault::mismatch, "sliding_window", "a width, since layer_types has sliding_attention");
    windows[i] = *width;
  }
  return windows;
}

std::vector<int32_t> read_ids(const JsonObject& config, std::string_view key) {
  std::vector<int32_t> ids;
  const Json* value = config.find({key});
  if (value == nullptr) return ids;
  const auto take = [&](const Json& id) {
    if (!id.is_number_integer() || id < 0 || id > std::numeric_limits<int32_t>::max()) {
      config.refuse(Fault::range, key, "token ids");
    }
    ids.push_back(id.get<int32_t>());
  };
  if (value->is_array()) {
    for (const Json& id : *value) take(id);
  } else {
    take(*value);
  }
  return ids;
}

/// What would change the mathematics and is not built.
void refuse_unsupported(const JsonObject& config) {
  if (config.has({"auto_map"})) {
    throw Error(Fault::unsupported,
                cat(config.name(), ": 'auto_map' asks for code from the folder, which is never run"));
  }
  for (std::string_view key :
       {"add_cross_attention", "scale_attn_by_inverse_layer_idx", "is_encoder_decoder"}) {
    if (config.boolean_or({key}, false)) config.refuse(Fault::unsupported, key, "false");
  }
}

void read_sizes(const JsonObject& config, Spec& spec) {
  spec.layers = count(config, {"num_hidden_layers", "n_layer"}, kMaxLayers);
  spec.hidden = count(config, {"hidden_size", "n_embd"}, kMaxWidth);
  spec.vocab = count(config, {"vocab_size"}, kMaxVocab);
  spec.context = count(config, {"max_position_embeddings", "n_positions"}, kMaxContext);
  spec.heads = count(config, {"num_attention_heads", "n_head"}, kMaxHeads);
  spec.kv_heads = bounded(config, "num_key_value_heads",
                          config.integer_or({"num_key_value_heads"}, 1, kAny, spec.heads), kMaxHeads);
  if (spec.heads % spec.kv_heads != 0) {
    config.refuse(Fault::mismatch, "num_key_value_heads",
                  cat("a divisor of the ", spec.heads, " attention heads"));
  }
  const auto head_dim = config.maybe_integer({"head_dim"}, 1, kAny);
  if (!head_dim && spec.hidden % spec.heads != 0) {
    config.refuse(Fault::mismatch, config.has({"n_embd"}) ? "n_embd" : "hidden_size",
                  cat("a multiple of the ", spec.heads, " attention heads"));
  }
  spec.head_dim = bounded(config, "head_dim", head_dim.value_or(spec.hidden / spec.heads), 65'536);
  const bool plain = spec.family->mlp == Mlp::plain;
  spec.intermediate = plain && !config.has({"intermediate_size", "n_inner"})
                          ? 4 * spec.hidden
                          : count(config, {"intermediate_size", "n_inner"}, kMaxWidth);
}

}  // namespace

int64_t Spec::out_features(Role role) const {
  switch (role) {
    case Role::q: return heads * head_dim;
    case Role::k:
    case Role::v: return kv_heads * head_dim;
    case Role::gate:
    case Role::up: return intermediate;
    case Role::o:
    case Role::down: return hidden;
  }
  return 0;
}

int64_t Spec::in_features(Role role) const {
  if (role == Role::o) return heads * head_dim;
  return role == Role::down ? intermediate : hidden;
}

int64_t Spec::out_features(const Module& module) const {
  int64_t rows = 0;
  for (Role role : module.all_roles()) rows += out_features(role);
  return rows;
}

Spec read_spec(const Json& json, const std::string& name) {
  const JsonObject config(json, name);
  Spec spec;
  refuse_unsupported(config);
  spec.family = &find_family(config.string({"model_type"}), name);
  if (const Json* list = config.find({"architectures"});
      list && list->is_array() && !list->empty() && list->front().is_string()) {
    spec.architecture = list->front().get<std::string>();
  }
  spec.dtype = config.string_or({"dtype", "torch_dtype"}, "");
  read_sizes(config, spec);
  spec.norm_eps = config.number_or({"rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps"}, 1e-300, 1.0,
                                   spec.family->default_norm_eps);
  spec.act = read_act(config, spec.family->default_act);
  const bool scaled = config.boolean_or({"scale_attn_weights"}, true);
  spec.attention_scale = scaled ? 1.0 / std::sqrt(static_cast<double>(spec.head_dim)) : 1.0;
  if (spec.family->positions == Positions::rope) spec.rope = read_rope(config, spec.head_dim, spec.context);
  spec.window = read_windows(config, spec);
  if (config.has({"tie_word_embeddings"})) {
    spec.tied = config.boolean_or({"tie_word_embeddings"}, false) ? Tied::yes : Tied::no;
  }
  const auto bos = read_ids(config, "bos_token_id");
  if (!bos.empty()) spec.bos = bos.front();
  spec.eos = read_ids(config, "eos_token_id");
  return spec;
}

Spec load_spec(const fs::path& folder) {
  const std::string name = "config.json";
  Spec spec = read_spec(parse_json(read_text_file(join(folder, name), kMaxConfigBytes), name), name);
  const std::string generation = "generation_config.json";
  if (file_exists(join(folder, generation))) {
    const JsonDocument json =
        parse_json(read_text_file(join(folder, generation), kMaxConfigBytes), generation);
    const auto eos = read_ids(JsonObject(json, generation), "eos_token_id");
    if (!eos.empty()) spec.eos = eos;
  }
  return spec;
}

}  // namespace gptq
