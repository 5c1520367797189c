// Settings of single modules by regular expressions on their names: what GPTQModel writes as "dynamic".
//
//   "dynamic": {"-:.*layers\\.0\\..*": {},                            left as they are
//               "+:.*down_proj$": {"bits": 8, "group_size": 32}}      other settings; "+:" may be left out
//
// This file knows the text; what a name matches is said by model/module_rules.h.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_fwd.h"

namespace gptq {

class JsonWriter;

struct ModuleOverride {
  enum class Kind : uint8_t { change, skip };

  Kind kind = Kind::change;
  std::string key;      // as given
  std::string pattern;  // the key without "+:" or "-:"
  std::string where;    // file and key, for messages
  std::optional<int> bits;
  std::optional<int64_t> group_size;
  std::optional<bool> symmetric, desc_act, act_group_aware, static_groups;
  std::optional<double> damp_percent;
  std::optional<double> mse;  // exponent of the range search; 0: none
};

using ModuleOverrides = std::vector<ModuleOverride>;  // in the order of the text

/// Most patterns of one text.
inline constexpr size_t kMostModuleOverrides = 4096;

/// Of a checkpoint, where settings that only say how it was made ("fallback", "gptaq", ...) are passed over; or of a
/// job, where they are refused like any unknown one.
enum class OverrideUse : uint8_t { read, quantize };

/// The object at `path` of `text`, a JSON document called `name`; empty where it is absent, null or empty.
/// Errors name pattern and key. Faults: format (not an object of objects), range (a value), unsupported (a key),
/// limit (more than kMostModuleOverrides).
ModuleOverrides parse_module_overrides(std::string_view text, std::string_view name,
                                       std::span<const std::string_view> path, OverrideUse use);

/// The same object again.
void write_module_overrides(JsonWriter& out, std::span<const ModuleOverride> overrides);

}  // namespace gptq
