// The layouts in which quantized Linears lie in checkpoints: which tensors they have, and how each becomes a QTensor.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/parallel.h"
#include "base/qtensor.h"
#include "format/checkpoint.h"
#include "format/quant_config.h"
#include "format/stored_module.h"

namespace gptq {

struct Layout {
  std::string_view codes;  // tensor below the module that is there if it is quantized: "qweight"
  std::span<const std::string_view> others;  // that may be there, too; bias not included
  QTensor (*read)(const StoredModule& module, const QuantConfig& config);
};

/// One file each: gptq_layout.cpp and so on.
extern const Layout kGptqLayout, kAwqGemmLayout, kAwqGemvLayout, kMarlinLayout, kCompressedTensorsLayout;

const Layout& layout_of(QuantFormat format);

/// Whether the checkpoint holds the module in this layout.
bool has_module(const Checkpoint& checkpoint, std::string_view module, const Layout& layout);
/// The same for any layout: the name of the tensor that tells, or empty.
std::string quantized_tensor(const Checkpoint& checkpoint, std::string_view module);
/// Names of the tensors that a module may have in this layout, bias not included.
std::vector<std::string> module_tensor_names(std::string_view module, const Layout& layout);

/// Reads a module in the layout of config.format. The tensors win over the labels; a warning is logged when they
/// disagree. `in_features`/`out_features` are what the model wants. Faults: mismatch (missing tensor, shape,
/// dtype), range (groups), numeric (scale not positive and finite), unsupported, limit.
QTensor read_module(const Checkpoint& checkpoint, std::string_view module, const QuantConfig& config,
                    int64_t in_features, int64_t out_features, const ParallelFor& parallel_for = serially);

}  // namespace gptq
