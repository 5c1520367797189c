// What becomes of each module of a model: the options it is solved with, or nothing where it stays as it is.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "model/loader.h"
#include "quant/options.h"
#include "quant/solver.h"

namespace gptq {

class ModulePlan {
 public:
  /// The options of the job, for each module changed by the override that matches its name. Status::invalid_argument
  /// where nothing is left to quantize, Fault::unsupported or limit for a pattern.
  ModulePlan(const Loader& source, const QuantOptions& options);

  /// Null for a module that stays as it is.
  const SolverOptions* find(const std::string& module) const;
  /// What a user should know of the overrides.
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  std::unordered_map<std::string, SolverOptions> solved_;
  std::vector<std::string> warnings_;
};

/// What a quantized head gets unless an override of the job matches it: 8 bits in groups of 32, as in GPTQModel. Adds
/// that override, so that the output names it. Status::invalid_argument for a tied head: neither GPTQModel nor
/// transformers has one that is quantized while the embedding is not.
void complete_head_override(const Loader& source, QuantOptions& options);

/// `base` with what `change` says instead.
SolverOptions changed(SolverOptions base, const ModuleOverride& change);

}  // namespace gptq
