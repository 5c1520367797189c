// The variable "loop" inside a loop.
#pragma once

#include <optional>
#include <string_view>

#include "text/template_value.h"

namespace gptq::jinja {

struct Loop {
  virtual ~Loop() = default;
  /// "index", "last" ...; nothing for what a loop does not have.
  virtual std::optional<Value> attribute(Runtime& runtime, std::string_view name) = 0;
};

}  // namespace gptq::jinja
