#include "model/spec.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/folder.h"
#include "base/json.h"
#include "base/text.h"
#include "model/layer_types.h"
#include "model/rope_spec.h"
#include "model/tweaks.h"

namespace gptq {
namespace {

constexpr int64_t kMaxLayers = 10'000, kMaxVocab = int64_t{1} << 24, kMaxContext = int64_t{1} << 30;
/// A count of at least 1; above `most` it is a limit of this library, not an error of the file.
int64_t bounded(const JsonObject& config, std::string_view key, int64_t value, int64_t most) {
  if (value > most) config.refuse(Fault::limit, key, cat("at most ", most));
  return value;
}

int64_t count(const JsonObject& config, JsonObject::Keys keys, int64_t most) {
  return bounded(config, *keys.begin(), config.integer(keys, 1, kAny), most);
}

Activation read_act(const JsonObject& config, std::string_view otherwise) {
  const std::string name =
      config.string_or({"hidden_act", "activation_function", "hidden_activation", "activation"}, otherwise);
  if (name == "silu" || name == "swish") return Act::silu;
  if (name == "gelu" || name == "gelu_python") return Act::gelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast" ||
      name == "gelu_python_tanh" || name == "gelu_accurate")
    return Act::gelu_tanh;
  if (name == "relu") return Act::relu;
  if (name == "relu2") return Act::relu2;
  if (name == "xielu") return Act::xielu;
  throw Error(Fault::unsupported, cat(config.name(), ": activation ", quoted(name),
                                      ", wanted silu, gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, relu, "
                                      "relu2 or xielu"));
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
  for (std::string_view key :
       {"add_cross_attention", "scale_attn_by_inverse_layer_idx", "is_encoder_decoder"}) {
    if (config.boolean_or({key}, false)) config.refuse(Fault::unsupported, key, "false");
  }
}

/// Models of known families may come with code, too, which nobody needs.
const Family& family_of(const JsonObject& config) {
  const std::string type = config.string({"model_type"});
  try {
    return find_family(type, config.name());
  } catch (const Error&) {
    if (!config.has({"auto_map"})) throw;
    throw Error(Fault::unsupported,
                cat(config.name(), ": model_type ", quoted(type),
                    " is not known, and 'auto_map' asks for code from the folder, which is never run"));
  }
}

void read_heads(const JsonObject& config, Spec& spec) {
  spec.heads =
      count(config, {"num_attention_heads", "n_head", "num_heads", "n_heads", "attention_heads"}, kMaxHeads);
  spec.kv_heads = bounded(config, "num_key_value_heads",
                          config.integer_or({"num_key_value_heads"}, 1, kAny, spec.heads), kMaxHeads);
  // where latents leave a part of each head that rotates: that part, for the rotation; tweaks_mixers.cpp has the rest
  auto head_dim = config.maybe_integer({"qk_rope_head_dim", "head_dim"}, 1, kAny);
  if (!head_dim && spec.traits.head_dim > 0) head_dim = spec.traits.head_dim;
  if (!head_dim && spec.hidden % spec.heads != 0) {
    config.refuse(Fault::mismatch, config.has({"n_embd"}) ? "n_embd" : "hidden_size",
                  cat("a multiple of the ", spec.heads, " attention heads"));
  }
  spec.head_dim = bounded(config, "head_dim", head_dim.value_or(spec.hidden / spec.heads), 65'536);
}

void read_sizes(const JsonObject& config, Spec& spec) {
  spec.layers = count(config, {"num_hidden_layers", "n_layer", "num_layers", "n_layers"}, kMaxLayers);
  spec.hidden = count(config, {"hidden_size", "n_embd", "n_embed", "d_model"}, kMaxWidth);
  spec.embed_dim = spec.hidden;
  spec.vocab = count(config, {"vocab_size"}, kMaxVocab);
  const JsonObject::Keys context = {"max_position_embeddings", "n_positions", "max_seq_len", "seq_length"};
  spec.context = spec.traits.context > 0 && !config.has(context) ? spec.traits.context
                                                                 : count(config, context, kMaxContext);
  read_heads(config, spec);
  const bool plain = spec.traits.mlp == Mlp::plain;
  const JsonObject::Keys intermediate = {"intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"};
  const bool elsewhere = config.has({"ffn_config", "moe_intermediate_size"});  // for the family's tweak
  spec.intermediate = (plain || elsewhere) && !config.has(intermediate)
                          ? 4 * spec.hidden
                          : count(config, intermediate, kMaxWidth);
  spec.layer.assign(static_cast<size_t>(spec.layers), {});
}

/// What follows from the numbers once the tweak has had its say, for layers that are all alike but for windows and rope.
void fill_layers(const JsonObject& config, Spec& spec) {
  for (LayerSpec& layer : spec.layer) {
    if (layer.heads == 0) layer.heads = spec.heads;
    if (layer.kv_heads == 0) layer.kv_heads = spec.kv_heads;
    if (layer.key_dim == 0) layer.key_dim = spec.head_dim;
    if (layer.value_dim == 0) layer.value_dim = layer.key_dim;
    if (layer.intermediate == 0 && layer.experts == 0) layer.intermediate = spec.intermediate;
    if (layer.heads % layer.kv_heads == 0) continue;
    const bool delta = layer.mixer == Mixer::delta;
    config.refuse(Fault::mismatch, delta ? "linear_num_key_heads" : "num_key_value_heads",
                  cat("a divisor of the ", layer.heads, delta ? " heads of values" : " attention heads"));
  }
}

}  // namespace

std::vector<Role> Spec::roles(int64_t index) const {
  using enum Role;
  const LayerSpec& layer = at(index);
  const bool gated = traits.mlp == Mlp::gated;
  std::vector<Role> result;
  switch (layer.mixer) {
    case Mixer::attention: result = {q, k, v, o}; break;
    case Mixer::latent: result = {latent.q_rank > 0 ? q_b : q, kv_a, k_rope, k_b, v_b, o}; break;
    case Mixer::delta: result = {q, k, v, o, out_gate, beta, decay}; break;
  }
  if (layer.mixer == Mixer::attention && traits.out_gate == OutGate::yes) result.push_back(out_gate);
  if (layer.mixer == Mixer::latent && latent.q_rank > 0) result.push_back(q_a);
  if (layer.intermediate > 0) result.insert(result.end(), {up, down});
  if (layer.intermediate > 0 && gated) result.push_back(gate);
  if (layer.experts == 0) return result;
  result.insert(result.end(), {router, expert_up, expert_down});
  if (gated) result.push_back(expert_gate);
  const auto modules = family->names->modules;
  if (std::any_of(modules.begin(), modules.end(), [](const Module& m) { return m.roles[0] == shared; }))
    result.push_back(shared);
  return result;
}

int64_t Spec::out_features(Role role, int64_t index) const {
  const LayerSpec& layer = at(index);
  switch (role) {
    case Role::q:
    case Role::q_b: return layer.queries();
    case Role::k: return layer.keys();
    case Role::v:
    case Role::v_b: return layer.values();
    case Role::out_gate: return layer.mixed();
    case Role::q_a: return latent.q_rank;
    case Role::kv_a: return latent.kv_rank;
    case Role::k_rope: return latent.rope_dim;
    case Role::k_b: return layer.heads * latent.nope_dim;
    case Role::beta:
    case Role::decay: return layer.heads;
    case Role::gate:
    case Role::up: return layer.intermediate;
    case Role::expert_gate:
    case Role::expert_up: return layer.expert_intermediate;
    case Role::router: return layer.experts;
    case Role::shared: return 1;
    case Role::o:
    case Role::down:
    case Role::expert_down: return hidden;
  }
  return 0;
}

int64_t Spec::in_features(Role role, int64_t index) const {
  switch (input_of(role)) {
    case Input::q_latent: return latent.q_rank;
    case Input::kv_latent: return latent.kv_rank;
    case Input::attention_out: return at(index).mixed();
    case Input::mlp_out: return at(index).intermediate;
    case Input::expert_out: return at(index).expert_intermediate;
    case Input::attention:
    case Input::mlp:
    case Input::expert: return hidden;
  }
  return hidden;
}

int64_t Spec::out_features(const Module& module, int64_t index) const {
  int64_t rows = 0;
  for (Role role : module.all_roles()) rows += out_features(role, index);
  return rows;
}

int64_t Spec::row_blocks(const Module& module, int64_t index) const {
  switch (module.rows) {
    case Rows::stacked: return 1;
    case Rows::per_head: return at(index).heads;
    case Rows::per_kv_head: return at(index).kv_heads;
    case Rows::in_quarters: return 4;
    case Rows::alternating: return out_features(module.roles[0], index);
  }
  return 1;
}

int64_t Spec::most(int64_t (*of)(const LayerSpec& layer)) const {
  int64_t most = 0;
  for (const LayerSpec& one : layer) most = std::max(most, of(one));
  return most;
}

Spec read_spec(const Json& json, const std::string& name) {
  const JsonObject config(json, name);
  Spec spec;
  refuse_unsupported(config);
  spec.family = &family_of(config);
  spec.traits = spec.family->traits;
  if (const Json* list = config.find({"architectures"});
      list && list->is_array() && !list->empty() && list->front().is_string()) {
    spec.architecture = list->front().get<std::string>();
  }
  spec.dtype = config.string_or({"dtype", "torch_dtype"}, "");
  read_sizes(config, spec);
  spec.norm_eps =
      config.number_or({"rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps", "norm_epsilon", "norm_eps"},
                       1e-300, 1.0, spec.traits.norm_eps);
  spec.act = read_act(config, spec.traits.act);
  const bool scaled = config.boolean_or({"scale_attn_weights"}, true);
  spec.attention_scale = scaled ? 1.0 / std::sqrt(static_cast<double>(spec.head_dim)) : 1.0;
  if (config.has({"tie_word_embeddings"})) {
    spec.tied = config.boolean_or({"tie_word_embeddings"}, false) ? Tied::yes : Tied::no;
  }
  if (spec.traits.positions == Positions::rope) spec.ropes = {read_rope(config, spec)};
  read_windows(config, spec);
  if (spec.family->tweak != nullptr) spec.family->tweak(config, spec);
  fill_layers(config, spec);
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
