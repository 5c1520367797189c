// Every option key there is: name, type, scope, bounds, default and meaning. The one place to add one.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace gptq::api {

enum class OptionType : uint8_t { integer, real, text };

struct OptionRow {
  std::string_view key;
  OptionType type;
  std::string_view scope;
  double low, high;  // of numbers; low < value when low_open
  bool low_open, high_open;
  std::string_view values;         // of texts, separated by '|'; empty: any
  std::string_view default_value;  // as JSON
  std::string_view help;
  bool is_list = false;  // of texts, a JSON array
};

std::span<const OptionRow> option_table();
/// Null when there is none of that name.
const OptionRow* find_option(std::string_view key);

}  // namespace gptq::api
