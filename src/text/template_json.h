// JSON and the values of a template.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "text/template_value.h"

namespace gptq::jinja {

enum class JsonKeys : uint8_t { in_order, sorted };
enum class JsonAscii : uint8_t { no, yes };

/// The arguments of Python's json.dumps().
struct JsonStyle {
  std::optional<std::string> indent;  // of one level; none: all in one line
  std::string item_separator = ", ", key_separator = ": ";
  JsonKeys keys = JsonKeys::in_order;
  JsonAscii ascii = JsonAscii::no;
};

/// TypeError for what JSON has not.
std::string to_json(Runtime& runtime, const Value& value, const JsonStyle& style);

/// Members keep their order. Errors as parse_json(), and Fault::range for a whole number beyond 64 bits.
Value parse_value(std::string_view json, std::string_view what);

}  // namespace gptq::jinja
