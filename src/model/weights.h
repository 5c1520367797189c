// The parameters of a model, prepared for a backend, by role. The loader and the quantizer write them; the decoder
// only reads. Replacing a Linear by its quantized self is one assignment.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "model/family.h"
#include "model/spec.h"

namespace gptq {

struct NormWeights {
  std::shared_ptr<const Vector> weight, bias;  // [hidden], or of a head; both null where there is no norm

  explicit operator bool() const { return weight != nullptr; }
};

/// Copies share what is prepared.
struct Layer {
  std::array<NormWeights, kNormPlaces> norms;
  std::array<std::shared_ptr<const Linear>, kRoles> linears;  // null for a role that the layer has not
  std::vector<std::array<std::shared_ptr<const Linear>, kRoles>> experts;
  std::array<std::shared_ptr<const Vector>, kExtras> extras;  // those that are vectors; may be null
  Activation act;
  double scalar = 1.0;  // what the residual stream is multiplied with behind the layer

  const NormWeights& norm(NormPlace place) const { return norms[static_cast<size_t>(place)]; }
  const Vector* extra(Extra extra) const { return extras[static_cast<size_t>(extra)].get(); }
  bool has(Role role) const { return linears[static_cast<size_t>(role)] != nullptr; }
  const Linear& linear(Role role) const { return *linears[static_cast<size_t>(role)]; }
  /// Where a Linear is, or is to be put; `expert` counts for those of experts.
  std::shared_ptr<const Linear>& slot(Role role, int64_t expert) {
    return (of_expert(role) ? experts[static_cast<size_t>(expert)] : linears)[static_cast<size_t>(role)];
  }
};

struct Weights {
  std::shared_ptr<const Linear> embed;      // [vocab, embed_dim]
  std::shared_ptr<const Linear> positions;  // [context + offset, hidden], learned positions only
  NormWeights embed_norm;
  std::shared_ptr<const Linear> project_in, project_out;  // between embed_dim and hidden; may be null
  std::vector<Layer> layers;
  NormWeights final_norm;
  std::shared_ptr<const Linear> head;  // [vocab, embed_dim]; the embedding when tied
};

/// A Linear as it lies on disk: one of a family's modules in a layer, or the output head.
struct StoredLinear {
  std::string path;       // "model.layers.3.mlp.up_proj": its name where it is quantized
  std::string full_name;  // with the family's base, also where the files leave it out
  int64_t in_features = 0, out_features = 0;
  Storage storage = Storage::out_in;  // of its weight while it is not quantized
  bool quantized = false;
  const Module* module = nullptr;  // null: the output head
  int64_t layer = 0, expert = 0;
  std::string weight{}, bias{};  // tensors that it is in while it is not quantized; bias may be absent
  bool stacked = false;          // they have those of other experts, too
  // of an expert's matrix there, its outputs and the first of them that is one of this Linear
  int64_t outputs = 0, first_output = 0;

  /// The element of the weight that the expert's matrix begins with.
  int64_t first() const { return stacked ? expert * outputs * in_features : 0; }
  int64_t first_bias() const { return stacked ? expert * outputs + first_output : 0; }

  bool stays() const { return module != nullptr && !is_quantized(module->roles[0]); }
};

/// Prepares the Linears of a module. `weight` [out_features, in_features] has the rows of its roles, as Rows says; `bias`
/// is null or has as many elements.
void set_module(Layer& layer, const Backend& backend, const Spec& spec, const StoredLinear& linear,
                const Tensor& weight, const Tensor* bias);
void set_module(Layer& layer, const Backend& backend, const Spec& spec, const StoredLinear& linear,
                const QTensor& weight, const Tensor* bias);

}  // namespace gptq
