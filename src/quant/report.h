// What a job did: its options, its calibration, and how each module came out.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "quant/memory_plan.h"
#include "quant/module_report.h"
#include "quant/options.h"

namespace gptq {

struct CalibrationReport {
  /// "text", "tokens", "text and tokens", "written by the model"; empty before the calibration
  std::string source;
  int64_t documents = 0, too_short = 0;  // CutText::too_short
  int64_t left_out = 0;                  // sequences of tokens in files, beyond calibration_samples
  int64_t sequences = 0, tokens = 0;
};

/// What is known before the job begins.
struct PlanReport {
  int64_t modules = 0;  // to be quantized
  uint64_t output_bytes = 0;
  MemoryPlan memory{};
};

struct JobReport {
  std::string model;  // name of its folder
  const QuantOptions& options;
  CalibrationReport calibration{};
  std::span<const ModuleReport> modules{};
  std::span<const std::string> warnings{};  // of the job as a whole
  double seconds = 0;                       // of the whole job so far
  PlanReport planned{};
};

std::string report_json(const JobReport& job);
/// The same for people: one HTML page with table and plots that needs nothing beside it.
std::string report_page(std::string_view json);

}  // namespace gptq
