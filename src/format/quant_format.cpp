// Which layout a configuration speaks of: a method and a format, in the spellings of many programs and years.
#include <algorithm>
#include <array>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "format/quant_config.h"
#include "format/quant_config_parse.h"

namespace gptq {
namespace {

struct Row {
  std::string_view method, format;
  QuantFormat value;
};

/// The first of a method is what it means without a format.
constexpr std::array kRows{
    Row{"gptq", "gptq", QuantFormat::gptq},
    Row{"gptq", "gptq_v2", QuantFormat::gptq_v2},
    Row{"marlin", "marlin", QuantFormat::marlin},
    Row{"gptq", "marlin", QuantFormat::marlin},  // AutoGPTQ's later spelling of it
    Row{"awq", "gemm", QuantFormat::awq_gemm},
    Row{"awq", "gemv", QuantFormat::awq_gemv},
    Row{"compressed-tensors", "pack-quantized", QuantFormat::compressed_tensors},
};

const Row& row_of(QuantFormat format) {
  for (const Row& row : kRows) {
    if (row.value == format) return row;
  }
  return kRows[0];
}

void check_same_format(const JsonObject& config) {
  const auto one = config.string_or({"checkpoint_format"}, ""), other = config.string_or({"format"}, one);
  if (!one.empty() && lower_text(one) != lower_text(other)) {
    throw Error(Fault::mismatch, cat(config.name(), ": 'checkpoint_format' is ", quoted(one),
                                     ", but 'format' is ", quoted(other)));
  }
}

/// AutoAWQ's own file has a format ("version") and no method.
std::string method_of(const JsonObject& config, std::string_view format) {
  std::string method = lower_text(config.string_or({"quant_method", "method"}, ""));
  if (!method.empty()) return method;
  return format == "gemm" || format == "gemv" ? "awq" : "gptq";
}

/// "'a', 'b' or 'c'" of the methods, or of the formats of a method.
std::string choices(std::string_view method) {
  std::vector<std::string_view> names;
  for (const Row& row : kRows) {
    if (!method.empty() && row.method != method) continue;
    const std::string_view name = method.empty() ? row.method : row.format;
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  std::string text;
  for (size_t i = 0; i < names.size(); ++i) {
    text += cat(i == 0 ? "" : i + 1 == names.size() ? " or " : ", ", "'", names[i], "'");
  }
  return text;
}

}  // namespace

std::string lower_text(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

std::optional<std::string> stated_format(const JsonObject& config) {
  for (std::string_view key : {"checkpoint_format", "format", "version"}) {
    const Json* value = config.find({key});
    if (value == nullptr || (key == "version" && !value->is_string())) continue;
    return lower_text(config.string({key}));
  }
  return std::nullopt;
}

QuantFormat read_quant_format(const JsonObject& config) {
  check_same_format(config);
  const auto format = stated_format(config);
  const std::string method = method_of(config, format.value_or(""));
  if (config.boolean_or({"is_marlin_format"}, false) && (method == "gptq" || method == "marlin"))
    return QuantFormat::marlin;
  bool known = false;
  for (const Row& row : kRows) {
    if (row.method != method) continue;
    if (!format || row.format == *format) return row.value;
    known = true;
  }
  if (!known) {
    config.refuse(Fault::unsupported, config.has({"quant_method"}) ? "quant_method" : "method", choices(""));
  }
  throw Error(Fault::unsupported, cat(config.name(), ": the format is ", quoted(*format), ", wanted ",
                                      choices(method), " for method ", quoted(method)));
}

std::string_view quant_format_name(QuantFormat format) { return row_of(format).format; }
std::string_view quant_method_name(QuantFormat format) { return row_of(format).method; }

}  // namespace gptq
