// The parameters of a model, prepared for a backend, by role. The loader and the quantizer write them; the decoder
// only reads. Replacing a Linear by its quantized self is one assignment.
#pragma once

#include <array>
#include <memory>
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
  Activation act;
  double scalar = 1.0;  // what the residual stream is multiplied with behind the layer

  const NormWeights& norm(NormPlace place) const { return norms[static_cast<size_t>(place)]; }
  const Linear& linear(Role role) const { return *linears[static_cast<size_t>(role)]; }
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

/// Prepares the Linears of a module of layer `index`. `weight` [out_features, in_features] has the rows of its roles, as
/// Rows says; `bias` is null or has as many elements.
void set_module(Layer& layer, const Backend& backend, const Spec& spec, const Module& module, int64_t index,
                const Tensor& weight, const Tensor* bias);
void set_module(Layer& layer, const Backend& backend, const Spec& spec, const Module& module, int64_t index,
                const QTensor& weight, const Tensor* bias);

}  // namespace gptq
