// + - * / // % ** ~ of values.
#pragma once

#include <vector>

#include "text/template_node.h"

namespace gptq::jinja {

/// As Python calculates; TypeError for what it can't, OverflowError for whole numbers beyond 64 bits.
Value calculate(Runtime& runtime, Arithmetic op, const Value& a, const Value& b);
Value negated(Runtime& runtime, const Value& value);
/// a ~ b ~ c
Value concatenated(Runtime& runtime, const std::vector<Value>& parts);

}  // namespace gptq::jinja
