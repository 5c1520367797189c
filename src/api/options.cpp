#include "api/options.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "api/buffer.h"
#include "api/guard.h"
#include "base/json.h"
#include "base/json_writer.h"
#include "base/qtensor.h"
#include "base/text.h"
#include "model/module_rules.h"

using namespace gptq;

namespace {

using api::OptionRow;
using api::OptionType;

[[noreturn]] void refuse(std::string message) { throw Error(Status::invalid_argument, std::move(message)); }

const OptionRow& row_of(std::string_view key) {
  if (const OptionRow* row = api::find_option(key)) return *row;
  std::vector<std::string_view> keys;
  for (const OptionRow& row : api::option_table()) keys.push_back(row.key);
  refuse(cat("unknown option ", quoted(key), nearest_hint(key, keys)));
}

std::string bounds_text(const OptionRow& row) {
  const auto number = [&](double v) {
    return row.type == OptionType::integer ? cat(static_cast<int64_t>(v)) : cat(v);
  };
  return cat(row.low_open ? "more than " : "at least ", number(row.low),
             row.high_open ? " and less than " : " and at most ", number(row.high));
}

/// A text that is no JSON is here an argument's fault, not a file's.
JsonDocument parse_settings(std::string_view text) {
  try {
    return parse_json(text, "options");
  } catch (const Error& error) {
    refuse(error.what());
  }
}

template <class Number>
void check_bounds(const OptionRow& row, Number value) {
  const auto v = static_cast<double>(value);
  const bool low = row.low_open ? v > row.low : v >= row.low;
  const bool high = row.high_open ? v < row.high : v <= row.high;
  if (!low || !high) refuse(cat("option '", row.key, "' is ", value, ", wanted ", bounds_text(row)));
}

void check_meaning(const OptionRow& row, int64_t value) {
  if (row.key == GPTQ_KEY_BITS && !is_bit_width(value)) {
    refuse(cat("option 'bits' is ", value, ", wanted 2, 3, 4 or 8"));
  }
  if (row.key == GPTQ_KEY_GROUP_SIZE && value == 0)
    refuse("option 'group_size' is 0, wanted -1 or at least 1");
}

std::vector<std::string_view> choices(const OptionRow& row) {
  std::vector<std::string_view> values;
  for (std::string_view rest = row.values; !rest.empty();) {
    const size_t bar = rest.find('|');
    values.push_back(rest.substr(0, bar));
    rest = bar == std::string_view::npos ? std::string_view() : rest.substr(bar + 1);
  }
  return values;
}

void check_choice(const OptionRow& row, std::string_view value) {
  const auto values = choices(row);
  if (values.empty() || std::find(values.begin(), values.end(), value) != values.end()) return;
  refuse(cat("option '", row.key, "' is ", quoted(value), ", wanted one of ", row.values));
}

/// A text that has a grammar of its own.
void check_grammar(const OptionRow& row, const std::string& value) {
  if (row.key != GPTQ_KEY_DYNAMIC && !row.is_list) return;
  try {
    if (row.is_list) return static_cast<void>(api::parse_list(row.key, value));
    const ModuleOverrides overrides = api::parse_dynamic(value);
    ModuleRules{overrides};
  } catch (const Error& error) {
    refuse(error.what());
  }
}

/// The object "dynamic" of the options as the text that it is as an option. Json does not keep the order of its patterns.
std::string dynamic_text(std::string_view options) {
  constexpr std::string_view kPath[] = {GPTQ_KEY_DYNAMIC};
  try {
    JsonWriter json;
    write_module_overrides(json, parse_module_overrides(options, "option", kPath, OverrideUse::quantize));
    return json.take();
  } catch (const Error& error) {
    refuse(error.what());
  }
}

void bound(JsonWriter& json, std::string_view name, const OptionRow& row, double value) {
  if (row.type == OptionType::integer) {
    json.member(name, static_cast<int64_t>(value));
  } else {
    json.member(name, value);
  }
}

std::string description(const OptionRow& row) {
  static constexpr std::string_view kNames[] = {"int", "float", "string"};
  JsonWriter json;
  json.begin_object();
  json.member("name", row.key);
  json.member("type", kNames[static_cast<size_t>(row.type)]);
  json.member("scope", row.scope);
  json.key("default");
  json.json(row.default_value);
  if (row.is_list) json.member("items", "string");
  if (row.type == OptionType::text) {
    json.key("values");
    json.begin_array();
    for (std::string_view choice : choices(row)) json.value(choice);
    json.end_array();
  } else {
    bound(json, "min", row, row.low);
    bound(json, "max", row, row.high);
    if (row.low_open) json.member("exclusive_min", true);
    if (row.high_open) json.member("exclusive_max", true);
  }
  json.member("since", "0.1");
  json.member("help", row.help);
  json.end_object();
  return json.take();
}

}  // namespace

void gptq_options::set(std::string_view key, Value value) {
  const OptionRow& row = row_of(key);
  static constexpr std::string_view kTypes[] = {"an integer", "a number", "a text"};
  if (row.type == OptionType::real && std::holds_alternative<int64_t>(value)) {
    value = static_cast<double>(std::get<int64_t>(value));
  }
  if (value.index() != static_cast<size_t>(row.type)) {
    refuse(cat("option '", row.key, "' is ", kTypes[static_cast<size_t>(row.type)], ", found ",
               kTypes[value.index()]));
  }
  if (const auto* i = std::get_if<int64_t>(&value)) {
    check_bounds(row, *i);
    check_meaning(row, *i);
  } else if (const auto* d = std::get_if<double>(&value)) {
    check_bounds(row, *d);
  } else {
    check_choice(row, std::get<std::string>(value));
    check_grammar(row, std::get<std::string>(value));
  }
  values_[std::string(key)] = std::move(value);
}

void gptq_options::add(std::string_view key, std::string_view text) {
  const OptionRow& row = row_of(key);
  if (!row.is_list) refuse(cat("option '", row.key, "' is no list of texts"));
  if (!is_utf8(text)) refuse(cat("a text for option '", row.key, "' is not valid UTF-8"));
  JsonWriter json;
  json.begin_array();
  for (const std::string& each : api::parse_list(key, this->text(key))) json.value(each);
  json.value(text);
  json.end_array();
  set(key, json.take());
}

void gptq_options::set_json(std::string_view text) {
  const JsonDocument json = parse_settings(text);
  if (!json->is_object()) refuse("options: wanted a JSON object");
  gptq_options copy = *this;
  for (const auto& [key, value] : json->items()) {
    if (value.is_boolean()) {
      copy.set(key, int64_t{value.get<bool>()});
    } else if (value.is_number_integer()) {
      if (value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX)
        refuse(cat("option '", key, "' is too large"));
      copy.set(key, value.get<int64_t>());
    } else if (value.is_number()) {
      copy.set(key, value.get<double>());
    } else if (value.is_string()) {
      copy.set(key, value.get<std::string>());
    } else if (value.is_array() && row_of(key).is_list) {
      copy.set(key, value.dump());
    } else if (value.is_object() && key == GPTQ_KEY_DYNAMIC) {
      copy.set(key, dynamic_text(text));
    } else {
      refuse(cat("option ", quoted(key), " is ", value.type_name(), ", wanted a number or a text"));
    }
  }
  *this = std::move(copy);
}

std::string gptq_options::to_json() const {
  JsonWriter json;
  json.begin_object();
  for (const auto& [key, value] : values_) {
    std::visit([&, &name = key](const auto& v) { json.member(name, v); }, value);
  }
  json.end_object();
  return json.take();
}

int64_t gptq_options::integer(std::string_view key) const {
  const auto found = values_.find(std::string(key));
  if (found != values_.end()) return std::get<int64_t>(found->second);
  return Json::parse(row_of(key).default_value).get<int64_t>();
}

double gptq_options::real(std::string_view key) const {
  const auto found = values_.find(std::string(key));
  if (found != values_.end()) return std::get<double>(found->second);
  return Json::parse(row_of(key).default_value).get<double>();
}

std::string gptq_options::text(std::string_view key) const {
  const auto found = values_.find(std::string(key));
  if (found != values_.end()) return std::get<std::string>(found->second);
  return Json::parse(row_of(key).default_value).get<std::string>();
}

gptq_status gptq_options_create(gptq_options** out) {
  return api::guard([&] {
    api::require(out, "out");
    *out = nullptr;
    *out = new gptq_options;
  });
}

void gptq_options_free(gptq_options* options) { delete options; }

gptq_status gptq_options_set_int(gptq_options* options, const char* key, int64_t value) {
  return api::guard([&] {
    api::require(options, "options");
    api::require(key, "key");
    options->set(key, value);
  });
}

gptq_status gptq_options_set_float(gptq_options* options, const char* key, double value) {
  return api::guard([&] {
    api::require(options, "options");
    api::require(key, "key");
    options->set(key, value);
  });
}

gptq_status gptq_options_set_string(gptq_options* options, const char* key, const char* value) {
  return api::guard([&] {
    api::require(options, "options");
    api::require(key, "key");
    api::require(value, "value");
    options->set(key, std::string(value));
  });
}

gptq_status gptq_options_add_string(gptq_options* options, const char* key, const char* value) {
  return api::guard([&] {
    api::require(options, "options");
    api::require(key, "key");
    api::require(value, "value");
    options->add(key, value);
  });
}

gptq_status gptq_options_set_json(gptq_options* options, const char* json, int64_t len) {
  return api::guard([&] {
    api::require(options, "options");
    options->set_json(api::text_argument(json, len, "json"));
  });
}

gptq_status gptq_options_get_json(const gptq_options* options, gptq_buffer** out_json) {
  return api::guard([&] {
    api::require(out_json, "out_json");
    *out_json = nullptr;
    api::require(options, "options");
    *out_json = api::text_buffer(options->to_json());
  });
}

gptq_status gptq_options_set_progress(gptq_options* options, gptq_progress_fn callback, void* user_data) {
  return api::guard([&] {
    api::require(options, "options");
    options->progress = callback;
    options->progress_data = user_data;
  });
}

gptq_status gptq_options_set_executor(gptq_options* options, gptq_executor_fn executor, void* user_data) {
  return api::guard([&] {
    api::require(options, "options");
    options->executor = executor;
    options->executor_data = user_data;
  });
}

gptq_status gptq_options_reset(gptq_options* options) {
  return api::guard([&] {
    api::require(options, "options");
    options->clear();
  });
}

int64_t gptq_option_count(void) { return static_cast<int64_t>(api::option_table().size()); }

gptq_status gptq_option_describe(int64_t index, gptq_buffer** out_json) {
  return api::guard([&] {
    api::require(out_json, "out_json");
    *out_json = nullptr;
    const auto table = api::option_table();
    if (index < 0 || index >= static_cast<int64_t>(table.size())) {
      refuse(cat("option number ", index, ", wanted 0 to ", table.size() - 1));
    }
    *out_json = api::text_buffer(description(table[static_cast<size_t>(index)]));
  });
}
