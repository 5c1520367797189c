// The table of model families: what tells one architecture from another, as data.
//
// A family is a row. Numbers come from config.json (spec.h); the presence of a tensor decides biases; the row says
// the rest: how tensors are called, which Linear plays which role, which norm, activation and positions.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "backend/backend.h"

namespace gptq {

/// What a Linear does in a layer.
enum class Role : uint8_t { q, k, v, o, gate, up, down };
inline constexpr size_t kRoles = 7;

/// What Linears read: those of one input share a Hessian. Also the order in which a layer is quantized.
enum class Input : uint8_t { attention, attention_out, mlp, mlp_out };
inline constexpr std::array<Input, 4> kInputs{Input::attention, Input::attention_out, Input::mlp,
                                              Input::mlp_out};

constexpr Input input_of(Role role) {
  switch (role) {
    case Role::q:
    case Role::k:
    case Role::v: return Input::attention;
    case Role::o: return Input::attention_out;
    case Role::gate:
    case Role::up: return Input::mlp;
    case Role::down: return Input::mlp_out;
  }
  return Input::attention;
}

/// One Linear as it lies on disk; its output rows are those of `roles`, stacked in this order.
struct Module {
  std::string_view name;  // below the layer: "self_attn.q_proj"
  std::array<Role, 3> roles{};
  size_t role_count = 1;

  std::span<const Role> all_roles() const { return {roles.data(), role_count}; }
};

enum class Positions : uint8_t { rope, learned };
/// gated: down(act(gate x) * up x); plain: down(act(up x)).
enum class Mlp : uint8_t { gated, plain };
/// How the weight of a Linear is stored: nn.Linear [out, in], or GPT-2's Conv1D [in, out].
enum class Storage : uint8_t { out_in, in_out };
enum class Tied : uint8_t { no, yes };
/// Layers that see a window of earlier positions: none, whatever config.json says; all of them (Mistral); or, with
/// use_sliding_window, those from max_window_layers on (Qwen2). For the last two layer_types decides where given.
enum class Windows : uint8_t { none, all, upper };

struct Names {
  std::string_view base;  // before every name but the head's; some GPT-2 files leave it out
  std::string_view embed, positions, layers, attention_norm, mlp_norm, final_norm;
  std::string_view head;                      // untied output head, without base
  std::span<const Module> modules;            // of a layer, in the order of their inputs
  std::span<const std::string_view> ignored;  // below a layer: buffers that old files carry
};

struct Family {
  std::string_view name;                          // "llama"
  std::span<const std::string_view> model_types;  // of config.json
  const Names* names = nullptr;
  Norm norm = Norm::rms;
  Mlp mlp = Mlp::gated;
  Positions positions = Positions::rope;
  Storage storage = Storage::out_in;
  Windows windows = Windows::none;
  // Where config.json is silent:
  Tied tied_by_default = Tied::no;
  double default_norm_eps = 1e-6;
  std::string_view default_act = "silu";
};

/// By model_type of config.json. Fault::unsupported naming the nearest and all that are known.
const Family& find_family(std::string_view model_type, std::string_view file);

}  // namespace gptq
