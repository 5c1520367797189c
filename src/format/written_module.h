// A quantized module on its way to a file: what a layout must know to plan its tensors, and the tensors themselves.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/qtensor.h"
#include "format/checkpoint.h"
#include "format/quant_config.h"

namespace gptq {

struct ModuleShape {
  int64_t in_features = 0, out_features = 0;
  int bits = 4;
  int64_t groups = 1;
  Symmetry symmetry = Symmetry::symmetric;
  DType scale_type = DType::f16;
};

/// What `q` needs: symmetric if all zero points are in the middle; scales of the narrowest type that holds them all.
ModuleShape shape_of(const QTensor& q);

struct NamedBytes {
  std::string name;
  std::vector<std::byte> bytes;
};

/// Scales [count] in `type`, byte for byte as stored. Fault::numeric for one that is not positive and finite in it.
std::vector<std::byte> pack_scales(const std::vector<float>& scales, DType type, std::string_view module);

/// Zero points stay, less their use of 0: where a group of an output has zero point 0 and no code at the top, both
/// go up by one, which means the same. False if a zero point 0 is left: format gptq can't hold it.
bool raise_zero_points(QTensor& q);

/// Whether input k is in group k / (inputs per group).
bool is_in_order(const QTensor& q);
/// Fault::unsupported for what `format` can't hold: for compressed-tensors inputs out of their order, or groups that do
/// not divide them.
void check_writable(const QTensor& q, std::string_view module, QuantFormat format);

/// The tensors of a module in `format`, without bias: names, types and shapes, then their bytes.
/// Formats that are only read: Fault::unsupported.
std::vector<TensorInfo> module_tensors(std::string_view module, const ModuleShape& shape, QuantFormat format);
std::vector<NamedBytes> write_module(const QTensor& q, std::string_view module, const ModuleShape& shape,
                                     QuantFormat format);

}  // namespace gptq
