// qweight, qzeros, scales, g_idx <-> QTensor. The only place that knows the layout and its v1 and v2 quirks.
//
//   qweight  i32 [ceil(K*bits/32), N]  codes of column n as one little-endian bit stream down the rows
//   qzeros   i32 [G, ceil(N*bits/32)]  zero points packed along the columns in the same way; v1 stores zero - 1
//   scales   f16 [G, N]
//   g_idx    i32 [K]                   group of each input
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/qtensor.h"
#include "base/tensor.h"
#include "format/checkpoint.h"
#include "format/quant_config.h"

namespace gptq {

/// Value i at bits [bits*i, bits*i + bits) of a little-endian stream of 32-bit words; ceil(n*bits/32) words.
std::vector<uint32_t> pack_bits(std::span<const uint8_t> values, int bits);
std::vector<uint8_t> unpack_bits(std::span<const uint32_t> words, int64_t count, int bits);

/// Whether the checkpoint holds the module in this layout.
bool has_gptq_module(const Checkpoint& checkpoint, std::string_view module);
/// Names of the tensors that a module may have in this layout, bias not included.
std::array<std::string, 4> gptq_module_names(std::string_view module);

/// Reads "<module>.qweight" and its siblings. The tensors win over the labels: bits follow from the shape of
/// qweight, symmetric v1 or v2 from the constant in qzeros (a warning is logged when the label disagrees), an
/// absent or all-zero g_idx means k / group_size. Faults: mismatch (missing tensor, shape, dtype), range (g_idx,
/// group_size), numeric (scale not finite). `in_features`/`out_features` are what the model wants.
QTensor read_gptq_module(const Checkpoint& checkpoint, std::string_view module, const QuantConfig& config,
                         int64_t in_features, int64_t out_features);

/// Names, types and shapes of what write_gptq_module() will hand out for a module (bias not included).
std::vector<TensorInfo> gptq_module_tensors(std::string_view module, int64_t in_features,
                                            int64_t out_features, int bits, int64_t group_size);

struct NamedBytes {
  std::string name;
  std::vector<std::byte> bytes;
};

/// The four tensors. Fault::unsupported when v1 can't hold a zero point (0, asymmetric).
std::vector<NamedBytes> write_gptq_module(const QTensor& q, std::string_view module, GptqFormat format);

}  // namespace gptq
