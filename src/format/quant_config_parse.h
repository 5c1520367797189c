// The readers below read_quant_config(), on texts instead of files.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "base/json.h"
#include "format/quant_config.h"

namespace gptq {

struct QuantConfigText {
  enum class Kind : uint8_t { own_file, model_config };  // the latter under "quantization_config"

  std::string name;  // for messages
  std::string text;
  Kind kind;
};

/// Lower case for ASCII; the values are names.
std::string lower_text(std::string text);

/// "version" is AutoAWQ's and "format" GPTQModel's spelling of "checkpoint_format". transformers also keeps a number
/// under "version", for its kernels: that is no format.
std::optional<std::string> stated_format(const JsonObject& config);
/// Fault::unsupported for methods and formats that are not known here.
QuantFormat read_quant_format(const JsonObject& config);

/// "compressed-tensors" has a dictionary of its own kind. Faults as parse_quant_config().
QuantConfig parse_compressed_config(const JsonObject& config);

/// One dictionary, without its overrides. Faults: range (bits, group_size), unsupported (method, format, variants), format.
QuantConfig parse_quant_config(const Json& json, std::string name);

/// The first of several that agree; empty when none speaks of quantization. Fault::mismatch when two disagree.
std::optional<QuantConfig> merge_quant_configs(std::span<const QuantConfigText> files);

}  // namespace gptq
