// Which override a module gets: names against the patterns of format/module_overrides.h.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/module_overrides.h"
#include "text/regex.h"

namespace gptq {

/// As GPTQModel has it: patterns match from the start of the name and may end anywhere; those that skip go first, then
/// the order of the text, and the first that matches decides.
class ModuleRules {
 public:
  /// Borrows `overrides`. Fault::unsupported for a pattern that is no PCRE2, Fault::limit for one too long.
  explicit ModuleRules(std::span<const ModuleOverride> overrides);

  /// Null when none matches. Fault::limit for a pattern that needs too many steps.
  const ModuleOverride* find(std::string_view module);

  /// A sentence on each pattern that decided for none of `modules`.
  std::vector<std::string> unused(std::span<const std::string> modules);

 private:
  bool matches(size_t rule, std::string_view module);

  std::span<const ModuleOverride> overrides_;
  std::vector<Regex> patterns_;  // of overrides_
  std::vector<size_t> order_;    // indices of overrides_, as they are tried
  RegexMatcher matcher_;
};

}  // namespace gptq
