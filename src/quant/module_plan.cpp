#include "quant/module_plan.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "model/module_rules.h"
#include "quant/output.h"

namespace gptq {
namespace {

/// As GPTQModel resolves it: act-order that is asked for ends the order within groups, and the other way round.
Order changed_order(Order order, const ModuleOverride& change) {
  if (change.act_group_aware == true) return Order::gar;
  if (change.desc_act == true) return Order::act;
  if (change.act_group_aware == false && order == Order::gar) return Order::none;
  if (change.desc_act == false && order == Order::act) return Order::none;
  return order;
}

}  // namespace

ModuleShape planned_shape(const SolverOptions& solver, int64_t in_features, int64_t out_features) {
  const int64_t per_group = solver.group_size == -1 ? in_features : std::min(solver.group_size, in_features);
  return {.in_features = in_features,
          .out_features = out_features,
          .bits = solver.bits,
          .groups = (in_features + per_group - 1) / per_group,
          .symmetry = solver.symmetric == Symmetric::yes ? Symmetry::symmetric : Symmetry::asymmetric};
}

SolverOptions changed(SolverOptions base, const ModuleOverride& change) {
  base.bits = change.bits.value_or(base.bits);
  base.group_size = change.group_size.value_or(base.group_size);
  if (change.symmetric) base.symmetric = *change.symmetric ? Symmetric::yes : Symmetric::no;
  base.order = changed_order(base.order, change);
  if (change.static_groups) base.static_groups = *change.static_groups ? StaticGroups::yes : StaticGroups::no;
  base.damp_percent = change.damp_percent.value_or(base.damp_percent);
  if (change.mse) {  // the power of the error, 0: no search
    base.range = *change.mse > 0 ? RangeSearch::mse : RangeSearch::minmax;
    if (*change.mse > 0) base.mse_norm = *change.mse;
  }
  return base;
}

ModulePlan::ModulePlan(const Loader& source, QuantOptions& options) {
  ModuleRules rules(options.overrides);
  // v1 stores zero - 1
  v1_least_zero_ = output_format(options) == QuantFormat::gptq ? 1 : 0;
  const Spec& spec = source.spec();
  for (int64_t i = 0; i < spec.layers; ++i) {
    for (const StoredLinear& linear : source.modules(i)) {
      const int64_t weights = linear.in_features * linear.out_features;
      if (!linear.stays()) add(linear.path, weights, options.solver, rules.find(linear.full_name));
    }
  }
  std::optional<ModuleOverride> head;
  if (options.lm_head == QuantizeHead::yes) head = add_head(source, rules, options);
  if (solved_.empty())
    throw Error(Status::invalid_argument, "option 'dynamic' skips every module: nothing is left to quantize");
  warnings_ = rules.unused();
  if (head) options.overrides.push_back(std::move(*head));
}

void ModulePlan::add(const std::string& module, int64_t weights, const SolverOptions& base,
                     const ModuleOverride* change) {
  if (change != nullptr && change->kind == ModuleOverride::Kind::skip) return;
  SolverOptions solver = change != nullptr ? changed(base, *change) : base;
  if (solver.symmetric == Symmetric::no) solver.least_zero = v1_least_zero_;
  solved_.emplace(module, solver);
  weights_ += weights;
  if (solver.bits <= 4) few_bits_ += weights;
}

/// The override to be added for it, if it needs one.
std::optional<ModuleOverride> ModulePlan::add_head(const Loader& source, ModuleRules& rules,
                                                   const QuantOptions& options) {
  if (source.tied()) {
    throw Error(
        Status::invalid_argument,
        "option 'lm_head' = 1 wants an output head of its own: that of this model is the embedding itself "
        "(tie_word_embeddings), which stays as it is");
  }
  const std::string name = source.head_name();
  const int64_t weights = source.spec().vocab * source.spec().embed_dim;
  const ModuleOverride* found = rules.find(name);
  if (found != nullptr && found->kind == ModuleOverride::Kind::skip)
    throw Error(Status::invalid_argument,
                cat("option 'lm_head' = 1 contradicts ", found->where, ", which skips it"));
  if (found != nullptr) {
    add(name, weights, options.solver, found);
    return std::nullopt;
  }
  ModuleOverride usual{.key = name,
                       .pattern = name,
                       .where = "option 'lm_head'",
                       .bits = 8,
                       .group_size = 32,
                       .symmetric = true,
                       .desc_act = false,
                       .act_group_aware = {},
                       .static_groups = {},
                       .damp_percent = {},
                       .mse = 2.4};
  add(name, weights, options.solver, &usual);
  return usual;
}

const SolverOptions* ModulePlan::find(const std::string& module) const {
  const auto found = solved_.find(module);
  return found == solved_.end() ? nullptr : &found->second;
}

Compute ModulePlan::compute_for(Compute wanted) const {
  if (wanted == Compute::exact) return Compute::exact;
  return 2 * few_bits_ > weights_ ? Compute::coarse_calibration : Compute::calibration;
}

}  // namespace gptq
