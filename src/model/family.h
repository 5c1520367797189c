// The table of model families: what tells one architecture from another, as data.
//
// A family is a row. Numbers come from config.json (spec.h); the presence of a tensor decides biases, optional norms and
// how Linears are stored; the row says the rest: how tensors are called, which Linear plays which role, and the traits.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "backend/backend.h"

namespace gptq {

class JsonObject;
struct Spec;

/// How the tokens of a layer see each other:
///   attention  each sees the keys and values of those before it
///   latent     the same, but queries, keys and values are made of narrow latents (MLA, arXiv 2405.04434)
///   delta      each changes a state of fixed size, and reads it (gated delta rule, arXiv 2412.06464); what it reads is
///              normed head by head and multiplied with silu of out_gate
enum class Mixer : uint8_t { attention, latent, delta };

/// What a Linear does in a layer.
enum class Role : uint8_t {
  q,
  k,
  v,
  o,
  out_gate,  // of what the mixer's output is multiplied with
  q_a,       // latents, of which q_b, k_b and v_b make queries, keys and values
  kv_a,
  k_rope,  // the part of the keys that rotates, the same for all heads
  q_b,
  k_b,
  v_b,
  beta,   // how much a token writes into the state
  decay,  // how much stays of it
  gate,   // gate, up, down: where there are experts, of the one that all tokens go through
  up,
  down,
  router,
  shared,  // weighs the one that all tokens go through
  expert_gate,
  expert_up,
  expert_down
};
inline constexpr size_t kRoles = static_cast<size_t>(Role::expert_down) + 1;  // experts' are the last

constexpr bool of_expert(Role role) { return role >= Role::expert_gate; }
/// A few rows that decide much stay as they are.
constexpr bool is_quantized(Role role) {
  return role != Role::router && role != Role::shared && role != Role::beta && role != Role::decay;
}

/// What Linears read: those of one input, and of one expert, share a Hessian. Also the order in which a layer is quantized.
enum class Input : uint8_t {
  attention,
  q_latent,
  kv_latent,
  attention_out,
  mlp,
  expert,
  mlp_out,
  expert_out
};

/// The steps of the forward pass at which inputs come up; see decoder.h.
enum class Step : uint8_t { attention, latents, attention_out, mlp, mlp_out };

constexpr Step step_of(Input input) {
  switch (input) {
    case Input::attention: return Step::attention;
    case Input::q_latent:
    case Input::kv_latent: return Step::latents;
    case Input::attention_out: return Step::attention_out;
    case Input::mlp:
    case Input::expert: return Step::mlp;
    case Input::mlp_out:
    case Input::expert_out: return Step::mlp_out;
  }
  return Step::attention;
}

/// The step whose Linears are the last of a half of the layer.
constexpr bool ends_half(Step step) { return step == Step::attention_out || step == Step::mlp_out; }
constexpr bool of_attention(Step step) { return step <= Step::attention_out; }
constexpr bool of_experts(Input input) { return input == Input::expert || input == Input::expert_out; }

constexpr Input input_of(Role role) {
  switch (role) {
    case Role::q:
    case Role::k:
    case Role::v:
    case Role::out_gate:
    case Role::q_a:
    case Role::kv_a:
    case Role::k_rope:
    case Role::beta:
    case Role::decay: return Input::attention;
    case Role::q_b: return Input::q_latent;
    case Role::k_b:
    case Role::v_b: return Input::kv_latent;
    case Role::o: return Input::attention_out;
    case Role::gate:
    case Role::up:
    case Role::router:
    case Role::shared: return Input::mlp;
    case Role::down: return Input::mlp_out;
    case Role::expert_gate:
    case Role::expert_up: return Input::expert;
    case Role::expert_down: return Input::expert_out;
  }
  return Input::attention;
}

/// How the output rows of the roles of one Linear lie: role after role, or in blocks of which each has the same share
/// of every role: a block for each head, each key-value head, each of the four quarters, each row of every role.
enum class Rows : uint8_t { stacked, per_head, per_kv_head, in_quarters, alternating };

/// How the weight of a Linear is stored: nn.Linear [out, in], or GPT-2's Conv1D [in, out].
enum class Storage : uint8_t { out_in, in_out };

/// One tensor that has a Linear of all experts, [experts, out, in] or [experts, in, out], or without the first dimension.
/// The outputs may be a part of those that it has.
struct Stack {
  std::string_view weight, bias{};  // below the layer; bias [experts, out] where there is one
  Storage storage = Storage::out_in;
  int64_t part = 0, parts = 1;
};

/// One Linear as it may lie on disk. A family lists all forms; those that a checkpoint has play their roles.
struct Module {
  std::string_view name;  // below the layer: "self_attn.q_proj"; '#' stands for the number of the expert
  std::array<Role, 4> roles{};
  size_t role_count = 1;
  Rows rows = Rows::stacked;
  Stack stack{};                 // of a family that stores experts so, until they are quantized
  std::optional<Mixer> mixer{};  // only in layers with this one; none: in all

  std::span<const Role> all_roles() const { return {roles.data(), role_count}; }
  Input input() const { return input_of(roles[0]); }
  bool of_experts() const { return of_expert(roles[0]); }
};

/// Where a norm stands: before attention and MLP, behind them (before their output goes into the residual stream), on
/// queries, keys and values, on latents.
enum class NormPlace : uint8_t { attention, attention_out, mlp, mlp_out, q, k, v, q_latent, kv_latent };
inline constexpr size_t kNormPlaces = static_cast<size_t>(NormPlace::kv_latent) + 1;

/// The only kind of layer that has norms in a place; none: all may.
constexpr std::optional<Mixer> mixer_of(NormPlace place) {
  if (place == NormPlace::q || place == NormPlace::k || place == NormPlace::v) return Mixer::attention;
  if (place == NormPlace::q_latent || place == NormPlace::kv_latent) return Mixer::latent;
  return std::nullopt;
}

/// one_of_place: of all norms that a family names for a place, one is there. where_rotating: in layers that rotate.
enum class Need : uint8_t { required, optional, one_of_place, where_rotating };

struct NormName {
  NormPlace place{};
  std::string_view name;  // below the layer; '#' stands for the number of a head, where each has a tensor
  Need need = Need::required;
};

/// Other parameters of a layer: numbers, and from `sinks` on vectors.
enum class Extra : uint8_t {
  alpha_p,
  alpha_n,
  act_beta,
  act_eps,
  scalar,
  sinks,
  choice_bias,
  a_log,  // this and the next two as in DeltaParams
  dt_bias,
  conv,
  out_norm  // scale of a norm on each head of what a delta layer gives; never one more than the weight
};
inline constexpr size_t kExtras = static_cast<size_t>(Extra::out_norm) + 1;
constexpr bool is_vector(Extra extra) { return extra >= Extra::sinks; }
constexpr bool of_delta(Extra extra) { return extra >= Extra::a_log; }

struct ExtraName {
  Extra extra{};
  std::string_view name;  // of the tensor, below the layer
};

struct Names {
  std::string_view base;  // before every name but the head's; some GPT-2 files leave it out
  std::string_view embed, positions{}, layers, final_norm;
  std::string_view head;                        // untied output head, without base
  std::span<const NormName> norms{};            // of a layer
  std::span<const Module> modules{};            // of a layer, in the order of their inputs
  std::span<const std::string_view> ignored{};  // below a layer: buffers that old files carry
  std::span<const ExtraName> extras{};
  std::string_view skipped{};     // what tensors begin with that serve other ways to generate text
  std::string_view embed_norm{};  // behind the embedding
  std::string_view project_in{}, project_out{};  // Linears between embedding and hidden size, optional

  /// Name of the norm at a place; empty if there is none.
  std::string_view norm(NormPlace place) const {
    for (const NormName& name : norms) {
      if (name.place == place) return name.name;
    }
    return {};
  }
};

/// rms_plus_one: the scale is 1 + weight (Gemma). layer: weight and bias; layer_scale: the bias may be missing;
/// layer_plus_one: scale 1 + weight, and bias; layer_plain: neither.
enum class NormKind : uint8_t { rms, rms_plus_one, layer, layer_scale, layer_plus_one, layer_plain };
/// Where outputs join the residual stream x, n being norms:
///   sequential  x += n(attention(n(x)));  x += n(mlp(n(x)))       each norm by presence
///   parallel    x += attention(n(x)) + mlp(n(x))                  without a norm of its own the MLP shares attention's
///   post        x = n(x + attention(x));  x = n(x + mlp(x))
enum class Flow : uint8_t { sequential, parallel, post };
enum class Positions : uint8_t { rope, learned, sinusoidal, alibi };
/// gated: down(act(gate x) * up x); plain: down(act(up x)).
enum class Mlp : uint8_t { gated, plain };
enum class Tied : uint8_t { no, yes };
/// Layers that see a window of earlier positions: none, whatever config.json says; all of them (Mistral); or, with
/// use_sliding_window, those from max_window_layers on (Qwen2). For the last two layer_types decides where given.
/// typed: layer_types decides, or sliding_window_pattern: each n-th layer sees all.
enum class Windows : uint8_t { none, all, upper, typed };
/// What a norm on queries and keys runs over: a head, with one weight for all of them or one for each, or all heads.
enum class QkNorm : uint8_t { none, head, each_head, row };
enum class FinalNorm : uint8_t { yes, no };
enum class QkNormTime : uint8_t { before_rope, after_rope };
/// Whether what attention gives is multiplied with the sigmoid of a Linear of its input.
enum class OutGate : uint8_t { no, yes };
/// What the weights of a token's experts are multiplied with.
enum class Weighed : uint8_t { outputs, inputs };

/// What config.json may change is changed by the row's tweak.
struct Traits {
  NormKind norm = NormKind::rms;
  Flow flow = Flow::sequential;
  Mlp mlp = Mlp::gated;
  Positions positions = Positions::rope;
  RopeLayout rope_layout = RopeLayout::half;
  Storage storage = Storage::out_in;
  Windows windows = Windows::none;
  QkNorm qk_norm = QkNorm::none;
  QkNormTime qk_norm_time = QkNormTime::before_rope;
  FinalNorm final_norm = FinalNorm::yes;
  OutGate out_gate = OutGate::no;
  SlopeKind slopes = SlopeKind::relative;
  RouterScore router = RouterScore::softmax;
  Weighed weighed = Weighed::outputs;
  // Where config.json is silent:
  Tied tied = Tied::no;
  double norm_eps = 1e-6;
  double latent_eps = 1e-6;  // of norms on latents, whatever config.json says of others
  std::string_view act = "silu";
  double partial_rotary = 1.0;
  int64_t position_offset = 0;  // row of the table for position 0
  int64_t context = 0;          // 0: config.json must say
  int64_t head_dim = 0;         // 0: hidden / heads
  int64_t window_pattern = 0;   // Windows::typed: each n-th layer sees all; 0: none
};

struct Family {
  std::string_view name;        // "llama"
  std::string_view model_type;  // of config.json
  const Names* names = nullptr;
  Traits traits{};
  /// Traits and numbers that depend on keys of the family's own; reads config.json, changes the Spec made from it.
  void (*tweak)(const JsonObject& config, Spec& spec) = nullptr;
};

/// Rows of one kind of families; see family.cpp.
std::span<const Family> llama_families();
std::span<const Family> gpt_families();
std::span<const Family> expert_families();
std::span<const Family> mixer_families();

/// By model_type of config.json. Fault::unsupported naming the nearest and all that are known.
const Family& find_family(std::string_view model_type, std::string_view file);

}  // namespace gptq
