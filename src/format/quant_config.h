// quantize_config.json and config.json["quantization_config"]: how a checkpoint says what it is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "format/module_overrides.h"

namespace gptq {

enum class Symmetry : uint8_t { symmetric, asymmetric };
/// How the modules of a checkpoint are stored; see layout.h.
enum class QuantFormat : uint8_t {
  gptq,     // v1: holds zero points less one
  gptq_v2,  // holds them as they are
  awq_gemm,
  awq_gemv,
  marlin,
  compressed_tensors,  // its "pack-quantized"
};

/// As "checkpoint_format", "version" or "format" spell it: "gptq", "gptq_v2", "gemm", "gemv", "marlin",
/// "pack-quantized".
std::string_view quant_format_name(QuantFormat format);
/// Who makes such files: "gptq", "awq", "marlin", "compressed-tensors".
std::string_view quant_method_name(QuantFormat format);

struct QuantConfig {
  int bits = 4;
  int64_t group_size = 128;  // -1: one group for all inputs
  Symmetry symmetry = Symmetry::symmetric;
  bool desc_act = false;
  QuantFormat format = QuantFormat::gptq;
  bool producer_is_gptqmodel = false;  // decides how an asymmetric v1 zero is read
  bool lm_head = false;                // the output head is quantized, too
  ModuleOverrides overrides{};         // "dynamic"
  std::string file_base_name{};  // AutoGPTQ's "model_file_base_name": of the weights, without ".safetensors"
};

/// The folder's quantization, from quantize_config.json, quant_config.json, then config.json, with all known
/// aliases; empty when none of them speaks of one. Two that disagree on bits, method, group size or format:
/// Fault::mismatch naming both. Methods and formats not known here: Fault::unsupported.
std::optional<QuantConfig> read_quant_config(const fs::path& folder);

/// Names, without ".safetensors", that the weights may have besides the usual ones: the one that the configuration
/// names, and AutoGPTQ's "gptq_model-4bit-128g".
std::vector<std::string> weight_names(const QuantConfig& config);

/// Whether this program chose the codes, and so knows how, or only stored them in another way.
enum class QuantOrigin : uint8_t { quantized, converted };

struct QuantDetails {                           // for the "meta" of what we write
  QuantOrigin origin = QuantOrigin::quantized;  // of converted ones only `quantizer` is written
  double damp_percent = 0.05;
  double damp_auto_increment = 0.01;
  bool static_groups = false;
  bool true_sequential = true;
  bool act_group_aware = true;
  std::string quantizer;  // "libgptq:0.1.0"
};

/// The dictionary, as JSON, that goes, the same, into quantize_config.json and config.json.
std::string write_quant_config(const QuantConfig& config, const QuantDetails& details);

}  // namespace gptq
