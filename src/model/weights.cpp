#include "model/weights.h"

#include <cstring>

namespace gptq {
namespace {

/// Rows of one role: `blocks` times `count` rows, the first at `begin`, each block `stride` rows behind the one before.
struct RoleRows {
  int64_t begin = 0, count = 0, blocks = 1, stride = 0;
};

/// Rows of a tensor of rank 1 or 2. Those in one piece share its memory.
Tensor part_of(const Tensor& tensor, const RoleRows& rows) {
  const size_t row_bytes = tensor.bytes / static_cast<size_t>(tensor.shape[0]);
  if (rows.blocks == 1) {
    Tensor part = tensor;
    part.shape[0] = rows.count;
    part.data = tensor.data + static_cast<size_t>(rows.begin) * row_bytes;
    part.bytes = static_cast<size_t>(rows.count) * row_bytes;
    return part;
  }
  std::vector<int64_t> shape = tensor.shape;
  shape[0] = rows.blocks * rows.count;
  std::byte* out = nullptr;
  Tensor part = make_tensor(tensor.dtype, shape, &out);
  const size_t block_bytes = static_cast<size_t>(rows.count) * row_bytes;
  for (int64_t b = 0; b < rows.blocks; ++b) {
    std::memcpy(out + static_cast<size_t>(b) * block_bytes,
                tensor.data + static_cast<size_t>(rows.begin + b * rows.stride) * row_bytes, block_bytes);
  }
  return part;
}

QTensor part_of(const QTensor& q, const RoleRows& rows) {
  if (rows.blocks == 1) return slice_rows(q, rows.begin, rows.begin + rows.count);
  std::vector<int64_t> numbers;
  for (int64_t b = 0; b < rows.blocks; ++b) {
    for (int64_t i = 0; i < rows.count; ++i) numbers.push_back(rows.begin + b * rows.stride + i);
  }
  return gather_rows(q, numbers);
}

template <class Weight>
void set_parts(Layer& layer, const Backend& backend, const Spec& spec, const StoredLinear& linear,
               const Weight& weight, const Tensor* bias) {
  const Module& module = *linear.module;
  const int64_t index = linear.layer;
  if (module.role_count == 1) {
    layer.slot(module.roles[0], linear.expert) = backend.prepare(weight, bias);
    return;
  }
  const int64_t blocks = spec.row_blocks(module, index);
  const int64_t stride = spec.out_features(module, index) / blocks;
  int64_t begin = 0;
  for (Role role : module.all_roles()) {
    const RoleRows rows{begin, spec.out_features(role, index) / blocks, blocks, stride};
    Tensor bias_part;
    if (bias != nullptr) bias_part = part_of(*bias, rows);
    layer.slot(role, linear.expert) =
        backend.prepare(part_of(weight, rows), bias != nullptr ? &bias_part : nullptr);
    begin += rows.count;
  }
}

}  // namespace

void set_module(Layer& layer, const Backend& backend, const Spec& spec, const StoredLinear& linear,
                const Tensor& weight, const Tensor* bias) {
  set_parts(layer, backend, spec, linear, weight, bias);
}

void set_module(Layer& layer, const Backend& backend, const Spec& spec, const StoredLinear& linear,
                const QTensor& weight, const Tensor* bias) {
  set_parts(layer, backend, spec, linear, weight, bias);
}

}  // namespace gptq
