#include "model/module_rules.h"

#include <algorithm>
#include <numeric>

#include "base/text.h"

namespace gptq {

ModuleRules::ModuleRules(std::span<const ModuleOverride> overrides) : overrides_(overrides) {
  for (const ModuleOverride& one : overrides_)
    patterns_.emplace_back(one.pattern, PatternKind::prefix, one.where);
  order_.resize(overrides_.size());
  std::iota(order_.begin(), order_.end(), size_t{0});
  std::stable_partition(order_.begin(), order_.end(),
                        [&](size_t rule) { return overrides_[rule].kind == ModuleOverride::Kind::skip; });
}

bool ModuleRules::matches(size_t rule, std::string_view module) {
  size_t begin = 0, end = 0;
  return matcher_.find(patterns_[rule], module, 0, &begin, &end);
}

const ModuleOverride* ModuleRules::find(std::string_view module) {
  const auto found =
      std::find_if(order_.begin(), order_.end(), [&](size_t rule) { return matches(rule, module); });
  return found == order_.end() ? nullptr : &overrides_[*found];
}

std::vector<std::string> ModuleRules::unused(std::span<const std::string> modules) {
  std::vector<uint8_t> decides(overrides_.size());
  for (const std::string& module : modules) {
    if (const ModuleOverride* one = find(module)) decides[static_cast<size_t>(one - overrides_.data())] = 1;
  }
  std::vector<std::string> sentences;
  for (size_t rule = 0; rule < overrides_.size(); ++rule) {
    if (decides[rule] != 0) continue;
    const bool shadowed =
        std::any_of(modules.begin(), modules.end(), [&](const std::string& m) { return matches(rule, m); });
    sentences.push_back(cat(overrides_[rule].where,
                            shadowed ? " is never used: other patterns match first" : " matches no module"));
  }
  return sentences;
}

}  // namespace gptq
