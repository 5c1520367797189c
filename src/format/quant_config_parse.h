// The readers below read_quant_config(), on texts instead of files.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "base/json_fwd.h"
#include "format/quant_config.h"

namespace gptq {

struct QuantConfigText {
  enum class Kind : uint8_t { own_file, model_config };  // the latter under "quantization_config"

  std::string name;  // for messages
  std::string text;
  Kind kind;
};

/// One dictionary, without its overrides. Faults: range (bits, group_size), unsupported (method, format, variants), format.
QuantConfig parse_quant_config(const Json& json, std::string name);

/// The first of several that agree; empty when none speaks of quantization. Fault::mismatch when two disagree.
std::optional<QuantConfig> merge_quant_configs(std::span<const QuantConfigText> files);

}  // namespace gptq
