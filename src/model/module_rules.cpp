#include "model/module_rules.h"

#include <algorithm>
#include <iterator>
#include <numeric>

#include "base/error.h"
#include "base/text.h"

namespace gptq {

ModuleRules::ModuleRules(std::span<const ModuleOverride> overrides, uint64_t most_steps)
    : overrides_(overrides), steps_(overrides.size()), most_steps_(most_steps), matcher_(most_steps) {
  for (const ModuleOverride& one : overrides_)
    patterns_.emplace_back(one.pattern, PatternKind::prefix, one.where);
  order_.resize(overrides_.size());
  std::iota(order_.begin(), order_.end(), size_t{0});
  std::stable_partition(order_.begin(), order_.end(),
                        [&](size_t rule) { return overrides_[rule].kind == ModuleOverride::Kind::skip; });
}

bool ModuleRules::matches(size_t rule, std::string_view module) {
  size_t begin = 0, end = 0;
  const uint64_t before = matcher_.steps();
  const auto count = [&] { steps_[rule] += matcher_.steps() - before; };
  try {
    const bool found = matcher_.find(patterns_[rule], module, 0, &begin, &end);
    count();
    return found;
  } catch (const Error&) {
    count();
    if (matcher_.steps() == most_steps_) refuse_costliest();
    throw;
  }
}

void ModuleRules::refuse_costliest() const {
  const auto most = std::max_element(steps_.begin(), steps_.end());
  const auto rule = static_cast<size_t>(most - steps_.begin());
  throw Error(
      Fault::limit,
      cat(overrides_[rule].where, ": has taken ", *most, " of the ", most_steps_,
          " steps that all patterns may take together on the names of the modules; a simpler pattern, "
          "or fewer, would do"));
}

const ModuleOverride* ModuleRules::find(std::string_view module) {
  const auto found =
      std::find_if(order_.begin(), order_.end(), [&](size_t rule) { return matches(rule, module); });
  asked_.push_back({std::string(module), static_cast<size_t>(found - order_.begin())});
  return found == order_.end() ? nullptr : &overrides_[*found];
}

std::vector<std::string> ModuleRules::unused() {
  std::vector<uint8_t> decides(order_.size() + 1);
  for (const Asked& asked : asked_) decides[asked.place] = 1;
  std::vector<std::string> of_rule(overrides_.size()), sentences;
  for (size_t place = 0; place < order_.size(); ++place) {
    if (decides[place] != 0) continue;
    // find() has tried it on the others
    const bool shadowed = std::any_of(asked_.begin(), asked_.end(), [&](const Asked& asked) {
      return asked.place < place && matches(order_[place], asked.module);
    });
    of_rule[order_[place]] =
        cat(overrides_[order_[place]].where,
            shadowed ? " is never used: other patterns match first" : " matches no module");
  }
  std::copy_if(of_rule.begin(), of_rule.end(), std::back_inserter(sentences),
               [](const std::string& sentence) { return !sentence.empty(); });
  return sentences;
}

}  // namespace gptq
