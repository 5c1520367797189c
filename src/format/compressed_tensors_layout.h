// QTensor -> the tensors of compressed-tensors' "pack-quantized"; kCompressedTensorsLayout is the way back.
//
//   weight_packed      i32 [N, ceil(K*bits/32)]  the codes of a row as one little-endian bit stream
//   weight_scale       f16, bf16 or f32 [N, G]
//   weight_zero_point  i32 [ceil(N*bits/32), G]  only if asymmetric: packed down the rows
//   weight_shape       i64 [2]                   N, K
//   weight_g_idx       i32 [K]                   group of each input; old files only, for activation order
//
// Codes and zero points are signed there and stored plus 2^(bits-1): what is stored is ours.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/qtensor.h"
#include "format/quant_config.h"
#include "format/written_module.h"

namespace gptq {

/// Names, types and shapes of what write_compressed_module() will hand out for a module (bias not included).
std::vector<TensorInfo> compressed_module_tensors(std::string_view module, const ModuleShape& shape);

/// Fault::unsupported for inputs out of their order or groups that do not divide them: the format has no place for
/// either.
std::vector<NamedBytes> write_compressed_module(const QTensor& q, std::string_view module,
                                                const ModuleShape& shape);

}  // namespace gptq
