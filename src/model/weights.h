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
  std::shared_ptr<const Vector> weight, bias;  // [hidden]; bias null for an RMS norm
};

/// Copies share what is prepared.
struct Layer {
  NormWeights attention_norm, mlp_norm;
  std::array<std::shared_ptr<const Linear>, kRoles> linears;  // gate is null in a plain MLP

  const Linear& linear(Role role) const { return *linears[static_cast<size_t>(role)]; }
};

struct Weights {
  std::shared_ptr<const Linear> embed;      // [vocab, hidden]
  std::shared_ptr<const Linear> positions;  // [context, hidden], learned positions only
  std::vector<Layer> layers;
  NormWeights final_norm;
  std::shared_ptr<const Linear> head;  // [vocab, hidden]; the embedding when tied
};

/// Prepares the Linears of a module. `weight` [out_features, in_features] has the rows of its roles, stacked; `bias`
/// is null or has as many elements.
void set_module(Layer& layer, const Backend& backend, const Spec& spec, const Module& module,
                const Tensor& weight, const Tensor* bias);
void set_module(Layer& layer, const Backend& backend, const Spec& spec, const Module& module,
                const QTensor& weight, const Tensor* bias);

}  // namespace gptq
