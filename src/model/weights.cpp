#include "model/weights.h"

namespace gptq {
namespace {

/// Rows [begin, begin + count) of a tensor of rank 1 or 2, sharing its memory.
Tensor part_of(const Tensor& tensor, int64_t begin, int64_t count) {
  Tensor part = tensor;
  const size_t row_bytes = tensor.bytes / static_cast<size_t>(tensor.shape[0]);
  part.shape[0] = count;
  part.data = tensor.data + static_cast<size_t>(begin) * row_bytes;
  part.bytes = static_cast<size_t>(count) * row_bytes;
  return part;
}

QTensor part_of(const QTensor& q, int64_t begin, int64_t count) {
  return slice_rows(q, begin, begin + count);
}

template <class Weight>
void set_parts(Layer& layer, const Backend& backend, const Spec& spec, const Module& module,
               const Weight& weight, const Tensor* bias) {
  if (module.role_count == 1) {
    layer.linears[static_cast<size_t>(module.roles[0])] = backend.prepare(weight, bias);
    return;
  }
  int64_t begin = 0;
  for (Role role : module.all_roles()) {
    const int64_t rows = spec.out_features(role);
    Tensor bias_part;
    if (bias != nullptr) bias_part = part_of(*bias, begin, rows);
    layer.linears[static_cast<size_t>(role)] =
        backend.prepare(part_of(weight, begin, rows), bias != nullptr ? &bias_part : nullptr);
    begin += rows;
  }
}

}  // namespace

void set_module(Layer& layer, const Backend& backend, const Spec& spec, const Module& module,
                const Tensor& weight, const Tensor* bias) {
  set_parts(layer, backend, spec, module, weight, bias);
}

void set_module(Layer& layer, const Backend& backend, const Spec& spec, const Module& module,
                const QTensor& weight, const Tensor* bias) {
  set_parts(layer, backend, spec, module, weight, bias);
}

}  // namespace gptq
