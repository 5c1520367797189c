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
  SolveResult::Method method = SolveResult::Method::gptq;
  double loss = 0, damp = 0, seconds = 0;
  std::string note;
};

struct CalibrationReport {
  std::string source;  // "text", "tokens", "written by the model"; empty before the calibration
  int64_t sequences = 0, tokens = 0;
};

/// `seconds` is the time of the whole job so far.
std::string report_json(const QuantOptions& options, const CalibrationReport& calibration,
                        std::span<const ModuleReport> modules, double seconds);

}  // namespace gptq
