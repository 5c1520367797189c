// What a quantization job is asked to do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "format/folder_writer.h"
#include "format/quant_config.h"
#include "quant/calibration_text.h"
#include "quant/solver.h"

namespace gptq {

/// Whether the modules of a layer are solved one input after another, each seeing the quantized ones before it, or
/// all from the same unquantized pass.
enum class TrueSequential : uint8_t { no, yes };

/// Whether the output head is quantized, too.
enum class QuantizeHead : uint8_t { no, yes };

/// Whether the output has quantize_report.json and quantize_report.html.
enum class WriteReport : uint8_t { no, yes };

/// What a job does with its own unfinished work.
enum class Resume : uint8_t {
  automatic,  // goes on with what an earlier run of the same job left, and leaves its own to the next
  restart,    // the same, but drops what was left
  never,      // drops it, and leaves nothing
};

/// Key and value, as text, of each option that decides the result.
using NamedOptions = std::vector<std::pair<std::string, std::string>>;

struct QuantOptions {
  SolverOptions solver;
  TrueSequential true_sequential = TrueSequential::yes;
  int64_t calibration_samples = 128;
  int64_t calibration_length = 0;  // tokens; 0: min(2048, the model's context)
  Packing calibration_packing = Packing::yes;
  CalibrationFormat calibration_format = CalibrationFormat::text;
  std::optional<uint64_t> seed;       // set: sequences are drawn at random from the text
  std::optional<QuantFormat> format;  // empty: v1 for symmetric, v2 for asymmetric
  uint64_t max_shard_bytes = kDefaultShardBytes;
  uint64_t memory_limit = 0;  // bytes of the process; 0: none
  QuantizeHead lm_head = QuantizeHead::no;
  ModuleOverrides overrides;  // of single modules, in their order
  WriteReport report = WriteReport::yes;
  Overwrite overwrite = Overwrite::no;
  Resume resume = Resume::automatic;
  NamedOptions named;  // a job goes on only with the work of one that had the same
};

}  // namespace gptq
