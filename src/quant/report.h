// What a job did: its options, its calibration, and how each module came out.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "quant/options.h"
#include "quant/solver.h"

namespace gptq {

struct ModuleReport {
  std::string name;
  int bits = 0;
  int64_t group_size = 0;  // -1: all inputs
  SolveResult::Method method = SolveResult::Method::gptq;
  double loss = 0, damp = 0, seconds = 0;
  std::string note;
};

struct CalibrationReport {
  /// "text", "tokens", "text and tokens", "written by the model"; empty before the calibration
  std::string source;
  int64_t documents = 0, too_short = 0;  // CutText::too_short
  int64_t sequences = 0, tokens = 0;
};

struct JobReport {
  const QuantOptions& options;
  CalibrationReport calibration{};
  std::span<const ModuleReport> modules{};
  std::span<const std::string> warnings{};  // of the job as a whole
  double seconds = 0;                       // of the whole job so far
};

std::string report_json(const JobReport& job);

}  // namespace gptq
