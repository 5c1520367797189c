// QTensor -> qweight, qzeros, scales, g_idx; kGptqLayout is the way back. The only place that knows the layout and
// its v1 and v2 quirks.
//
//   qweight  i32 [ceil(K*bits/32), N]  codes of column n as one little-endian bit stream down the rows
//   qzeros   i32 [G, ceil(N*bits/32)]  zero points packed along the columns in the same way; v1 stores zero - 1
//   scales   f16 [G, N]                or bf16, f32
//   g_idx    i32 [K]                   group of each input
#pragma once

#include <string_view>
#include <vector>

#include "base/qtensor.h"
#include "format/quant_config.h"
#include "format/written_module.h"

namespace gptq {

/// Names, types and shapes of what write_gptq_module() will hand out for a module (bias not included).
std::vector<TensorInfo> gptq_module_tensors(std::string_view module, const ModuleShape& shape);

/// The four tensors. Fault::unsupported when v1 can't hold a zero point (0, asymmetric).
std::vector<NamedBytes> write_gptq_module(const QTensor& q, std::string_view module, const ModuleShape& shape,
                                          QuantFormat format);

}  // namespace gptq
