// The table of layouts.
#include "format/layout.h"

#include <array>
#include <limits>

#include "base/error.h"
#include "base/text.h"

namespace gptq {
namespace {

constexpr std::array kLayouts{&kGptqLayout, &kAwqGemmLayout, &kAwqGemvLayout, &kMarlinLayout,
                              &kCompressedTensorsLayout};

}  // namespace

const Layout& layout_of(QuantFormat format) {
  switch (format) {
    case QuantFormat::gptq:
    case QuantFormat::gptq_v2: return kGptqLayout;
    case QuantFormat::awq_gemm: return kAwqGemmLayout;
    case QuantFormat::awq_gemv: return kAwqGemvLayout;
    case QuantFormat::marlin: return kMarlinLayout;
    case QuantFormat::compressed_tensors: return kCompressedTensorsLayout;
  }
  return kGptqLayout;
}

bool has_module(const Checkpoint& checkpoint, std::string_view module, const Layout& layout) {
  return checkpoint.find(cat(module, ".", layout.codes)) != nullptr;
}

std::string quantized_tensor(const Checkpoint& checkpoint, std::string_view module) {
  for (const Layout* layout : kLayouts) {
    if (has_module(checkpoint, module, *layout)) return cat(module, ".", layout->codes);
  }
  return {};
}

std::vector<std::string> module_tensor_names(std::string_view module, const Layout& layout) {
  std::vector<std::string> names{cat(module, ".", layout.codes)};
  for (std::string_view other : layout.others) names.push_back(cat(module, ".", other));
  return names;
}

QTensor read_module(const Checkpoint& checkpoint, std::string_view module, const QuantConfig& config,
                    int64_t in_features, int64_t out_features, const ParallelFor& parallel_for) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();  // group indices count in int32
  if (in_features < 1 || out_features < 1 || in_features > kMost || out_features > kMost) {
    throw Error(Fault::limit,
                cat(module, ": ", in_features, " inputs, ", out_features, " outputs, wanted 1 to ", kMost));
  }
  const StoredModule stored{checkpoint, std::string(module), in_features, out_features, parallel_for};
  return layout_of(config.format).read(stored, config);
}

}  // namespace gptq
