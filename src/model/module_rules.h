// Which override a module gets: names against the patterns of format/module_overrides.h.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/module_overrides.h"
#include "text/regex.h"

namespace gptq {

/// Steps of all matches of one set of rules: half a minute. 4096 patterns take a tenth of it on 600 names.
inline constexpr uint64_t kMostRuleSteps = uint64_t{1} << 30;

/// As GPTQModel has it: patterns match from the start of the name and may end anywhere; those that skip go first, then
/// the order of the text, and the first that matches decides.
class ModuleRules {
 public:
  /// Borrows `overrides`. Fault::unsupported for a pattern that is no PCRE2, Fault::limit for one too long.
  explicit ModuleRules(std::span<const ModuleOverride> overrides, uint64_t most_steps = kMostRuleSteps);

  /// Null when none matches. Fault::limit for a pattern that needs too many steps, or where all matches of these rules
  /// together do: then the message names the pattern that took most of them.
  const ModuleOverride* find(std::string_view module);

  /// A sentence on each pattern that decided for none of the modules that find() was asked for.
  std::vector<std::string> unused();

 private:
  struct Asked {
    std::string module;
    size_t place;  // in order_, of the rule that decided; its size if none did
  };
  bool matches(size_t rule, std::string_view module);
  [[noreturn]] void refuse_costliest() const;

  std::span<const ModuleOverride> overrides_;
  std::vector<Regex> patterns_;  // of overrides_
  std::vector<uint64_t> steps_;  // that the matches of each have taken
  std::vector<size_t> order_;    // indices of overrides_, as they are tried
  std::vector<Asked> asked_;
  uint64_t most_steps_;
  RegexMatcher matcher_;
};

}  // namespace gptq
