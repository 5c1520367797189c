// What becomes of each module of a model: the options it is solved with, or nothing where it stays as it is.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "format/written_module.h"
#include "model/loader.h"
#include "model/module_rules.h"
#include "quant/options.h"
#include "quant/solver.h"

namespace gptq {

class ModulePlan {
 public:
  /// The options of the job, for each module changed by the override that matches its name. A quantized head that none
  /// matches gets 8 bits in groups of 32, as in GPTQModel, by an override of its own, which is added to the options so
  /// that the output names it. Status::invalid_argument where nothing is left to quantize and for a tied head (neither
  /// GPTQModel nor transformers has one that is quantized while the embedding is not), Fault::unsupported or limit for
  /// a pattern.
  ModulePlan(const Loader& source, QuantOptions& options);

  /// Null for a module that stays as it is.
  const SolverOptions* find(const std::string& module) const;
  int64_t size() const { return static_cast<int64_t>(solved_.size()); }
  /// How to calibrate where `wanted` was asked for: what most weights lose to codes of at most 4 bits hides what rounded
  /// products do.
  Compute compute_for(Compute wanted) const;
  /// What a user should know of the overrides.
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  void add(const std::string& module, int64_t weights, const SolverOptions& base,
           const ModuleOverride* change);
  std::optional<ModuleOverride> add_head(const Loader& source, ModuleRules& rules,
                                         const QuantOptions& options);

  int v1_least_zero_ = 0;               // of asymmetric modules
  int64_t weights_ = 0, few_bits_ = 0;  // that are quantized; of these to at most 4 bits
  std::unordered_map<std::string, SolverOptions> solved_;
  std::vector<std::string> warnings_;
};

/// What a matrix solved with these options becomes.
ModuleShape planned_shape(const SolverOptions& solver, int64_t in_features, int64_t out_features);

/// `base` with what `change` says instead.
SolverOptions changed(SolverOptions base, const ModuleOverride& change);

}  // namespace gptq
