#include "quant/module_plan.h"

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

ModulePlan::ModulePlan(const Loader& source, const QuantOptions& options) {
  ModuleRules rules(options.overrides);
  const QuantFormat format = output_format(options);
  const Spec& spec = source.spec();
  std::vector<std::string> names;
  for (int64_t i = 0; i < spec.layers; ++i) {
    for (const Module& module : spec.family->names->modules) {
      const std::string path = source.module_name(i, module);
      names.push_back(source.full_name(path));
      const ModuleOverride* found = rules.find(names.back());
      if (found != nullptr && found->kind == ModuleOverride::Kind::skip) continue;
      SolverOptions solver = found != nullptr ? changed(options.solver, *found) : options.solver;
      // v1 stores zero - 1
      solver.least_zero = solver.symmetric == Symmetric::no && format == QuantFormat::gptq ? 1 : 0;
      solved_.emplace(path, solver);
    }
  }
  if (solved_.empty())
    throw Error(Status::invalid_argument, "'dynamic' skips every module: nothing is left to quantize");
  warnings_ = rules.unused(names);
}

const SolverOptions* ModulePlan::find(const std::string& module) const {
  const auto found = solved_.find(module);
  return found == solved_.end() ? nullptr : &found->second;
}

}  // namespace gptq
