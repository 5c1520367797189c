#include "quant/module_report.h"

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/json_writer.h"
#include "base/kernel_file.h"

namespace gptq {
namespace {

std::array<double, 5> spread(std::vector<float> values) {
  std::array<double, 5> result{};
  if (values.empty()) return result;
  std::sort(values.begin(), values.end());
  constexpr std::array kPlaces{0.0, 0.1, 0.5, 0.9, 1.0};
  for (size_t i = 0; i < kPlaces.size(); ++i) {
    result[i] = double{values[static_cast<size_t>(kPlaces[i] * static_cast<double>(values.size() - 1))]};
  }
  return result;
}

/// That the process has taken so far, in bytes. The second way counts what the program that has started this one had, too.
int64_t most_memory() {
  constexpr std::string_view kKey = "VmHWM:";
  const std::string status = read_kernel_file("/proc/self/status");
  if (const size_t at = status.find(kKey); at != std::string::npos)
    return std::strtoll(status.c_str() + at + kKey.size(), nullptr, 10) * 1024;
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  return int64_t{usage.ru_maxrss} * 1024;
}

using Method = SolveResult::Method;
using Scales = std::array<double, 5>;

constexpr int64_t kMostCount = int64_t{1} << 53;  // JSON's readers have doubles
constexpr double kLargest = 1e300, kLongestSeconds = 1e9;

/// Each member by its key, with the least and the largest value that it can have.
template <class Report, class Field>
void each_field(Report& module, const Field& field) {
  field("name", module.name);
  field("bits", module.bits, 2, 8);
  field("group_size", module.group_size, -1, INT32_MAX);
  field("weights", module.weights, 0, kMostCount);
  field("bits_per_weight", module.bits_per_weight, 0, 64);
  field("loss", module.loss, -kLargest, kLargest);
  field("relative_error", module.relative_error, 0, kLargest);
  field("damp", module.damp, 0, 1);
  field("method", module.method);
  field("seconds", module.seconds, 0, kLongestSeconds);
  field("memory", module.memory, 0, kMostCount);
  field("scales", module.scales, 0, kLargest);
  field("note", module.note);
}

std::string_view method_name(Method method) { return method == Method::gptq ? "gptq" : "rounded"; }

struct FieldWriter {
  JsonWriter& json;

  template <class Value>
  void operator()(std::string_view key, const Value& value, double = 0, double = 0) const {
    json.member(key, value);
  }
  void operator()(std::string_view key, Method method) const { json.member(key, method_name(method)); }
  void operator()(std::string_view key, const std::optional<double>& value, double, double) const {
    json.key(key);
    value ? json.value(*value) : json.null();
  }
  void operator()(std::string_view key, const Scales& scales, double, double) const {
    json.key(key);
    json.begin_array();
    for (double scale : scales) json.value(scale);
    json.end_array();
  }
};

struct FieldReader {
  const JsonObject& json;

  void operator()(std::string_view key, std::string& value) const { value = json.string({key}); }
  template <class Integer>
  void operator()(std::string_view key, Integer& value, int64_t low, int64_t high) const {
    value = static_cast<Integer>(json.integer({key}, low, high));
  }
  /// What is not finite is written as null.
  void operator()(std::string_view key, double& value, double low, double high) const {
    value = json.number_or({key}, low, high, std::numeric_limits<double>::quiet_NaN());
  }
  void operator()(std::string_view key, std::optional<double>& value, double low, double high) const {
    if (json.has({key})) value = json.number({key}, low, high);
  }
  void operator()(std::string_view key, Method& method) const {
    const std::string name = json.string({key});
    method = name == method_name(Method::rounded) ? Method::rounded : Method::gptq;
    if (name != method_name(method)) json.refuse(Fault::range, key, "gptq or rounded");
  }
  void operator()(std::string_view key, Scales& scales, double low, double high) const {
    const Json* found = json.find({key});
    if (found == nullptr || !found->is_array() || found->size() != scales.size())
      json.refuse(Fault::format, key, "5 numbers");
    for (size_t i = 0; i < scales.size(); ++i) {
      const Json& scale = (*found)[i];
      scales[i] = scale.is_number() ? scale.get<double>() : -1;
      if (!(scales[i] >= low && scales[i] <= high)) json.refuse(Fault::range, key, "5 numbers of at least 0");
    }
  }
};

}  // namespace

void write_members(JsonWriter& json, const ModuleReport& module) { each_field(module, FieldWriter{json}); }

ModuleReport read_module_report(const JsonObject& json) {
  ModuleReport module;
  each_field(module, FieldReader{json});
  return module;
}

ModuleReport describe(const SolveResult& result, double energy) {
  const QTensor& q = result.q;
  const bool known =
      energy > 0 && std::isfinite(energy) && result.loss >= 0 && std::isfinite(result.loss / energy);
  return {
      .name = {},
      .bits = q.bits,
      .weights = q.rows * q.cols,
      .bits_per_weight = q.bits + static_cast<double>((16 + q.bits) * q.groups) / static_cast<double>(q.cols),
      .method = result.method,
      .loss = result.loss,
      .damp = result.damp,
      .relative_error = known ? std::optional(result.loss / energy) : std::nullopt,
      .scales = spread(q.scales),
      .memory = most_memory(),
      .note = result.note};
}

double output_energy(Stream& stream, const Hessian& hessian, const std::vector<float>& part,
                     const SampledRows& sampled) {
  const int64_t cols = hessian.size(), tokens = hessian.rows_seen();
  if (tokens == 0) return 0;
  // W H W^T / 2 is the loss of a matrix of zeros
  std::vector<int32_t> order(static_cast<size_t>(cols)), group_of(order.size());
  std::iota(order.begin(), order.end(), 0);
  std::vector<uint8_t> codes(part.size());
  std::vector<float> scales(static_cast<size_t>(sampled.count), 1.0f), nothing(order.size());
  std::vector<uint16_t> zeros(scales.size());
  std::vector<double> row_loss(scales.size());
  RefineProblem problem{.rows = sampled.count,
                        .cols = cols,
                        .target = part.data(),
                        .group_of = group_of.data(),
                        .stored = order.data(),
                        .codes = codes.data(),
                        .scales = scales.data(),
                        .zeros = zeros.data(),
                        .row_loss = row_loss.data()};
  stream.refine(hessian, order, nothing, {}, problem);
  return 2 * std::accumulate(row_loss.begin(), row_loss.end(), 0.0) * static_cast<double>(sampled.rows) /
         static_cast<double>(sampled.count * tokens);
}

}  // namespace gptq
