// The "quantization_config" of compressed-tensors: groups of modules, each with a scheme for its weights and others
// for what goes in and out. Only weights may be quantized here. Bits, groups and symmetry of a module follow from
// its tensors, so that of several groups each needs only to be of the known kind.
#include "format/compressed_tensors_config.h"

#include <map>
#include <tuple>

#include "base/error.h"
#include "base/json_writer.h"
#include "base/qtensor.h"
#include "base/text.h"
#include "format/quant_config_parse.h"

namespace gptq {
namespace {

constexpr std::string_view kPacked = "pack-quantized";

/// Null, false, absent or an empty object: what it would ask for is not asked for.
void refuse_unless_empty(const JsonObject& config, std::string_view key) {
  const Json* value = config.find({key});
  const bool nothing = value == nullptr || (value->is_object() && value->empty());
  if (!nothing) config.refuse(Fault::unsupported, key, "none");
}

void want(const JsonObject& config, std::string_view key, std::string_view wanted) {
  const std::string found = lower_text(config.string_or({key}, wanted));
  if (found != wanted) config.refuse(Fault::unsupported, key, quoted(wanted));
}

QuantConfig read_weights(const JsonObject& weights) {
  QuantConfig result;
  result.format = QuantFormat::compressed_tensors;
  want(weights, "type", "int");
  if (weights.boolean_or({"dynamic"}, false)) weights.refuse(Fault::unsupported, "dynamic", "false");
  result.bits = static_cast<int>(weights.integer({"num_bits"}, 1, 64));
  if (!is_bit_width(result.bits)) weights.refuse(Fault::unsupported, "num_bits", "2, 3, 4 or 8");
  const std::string strategy =
      lower_text(weights.string_or({"strategy"}, weights.has({"group_size"}) ? "group" : ""));
  if (strategy == "channel") {
    result.group_size = -1;
  } else if (strategy == "group") {
    result.group_size = weights.integer({"group_size"}, -1, int64_t{1} << 30);
    if (result.group_size == 0) weights.refuse(Fault::range, "group_size", "-1 or more than 0");
  } else {
    weights.refuse(Fault::unsupported, "strategy", "'group' or 'channel'");
  }
  result.symmetry = weights.boolean_or({"symmetric"}, true) ? Symmetry::symmetric : Symmetry::asymmetric;
  const Json* order = weights.find({"actorder"});
  result.desc_act =
      order != nullptr && order->is_string() && lower_text(order->get<std::string>()) == "group";
  return result;
}

QuantConfig read_group(const JsonObject& group) {
  refuse_unless_empty(group, "input_activations");
  refuse_unless_empty(group, "output_activations");
  want(group, "format", kPacked);
  const auto weights = group.object({"weights"});
  if (!weights) group.refuse(Fault::unsupported, "weights", "how they are quantized");
  return read_weights(*weights);
}

/// One scheme for weights; a group size of -1 is a scale for each output.
struct Scheme {
  int bits;
  int64_t group_size;
  Symmetry symmetry;

  auto key() const { return std::tuple(bits, group_size, symmetry); }
  bool operator<(const Scheme& other) const { return key() < other.key(); }
};

using Schemes = std::map<Scheme, std::vector<std::string_view>>;  // the modules of each

/// A module with one group alone has groups of any size: that of the others, if it is its number of inputs.
Schemes schemes_of(std::span<const std::pair<std::string, ModuleShape>> modules) {
  int64_t common = -1;
  for (const auto& [name, shape] : modules) {
    if (shape.groups > 1) common = shape.in_features / shape.groups;
  }
  Schemes schemes;
  for (const auto& [name, shape] : modules) {
    const bool whole = shape.groups == 1 && shape.in_features != common;
    const int64_t group_size = whole ? -1 : shape.in_features / shape.groups;
    schemes[{shape.bits, group_size, shape.symmetry}].push_back(name);
  }
  return schemes;
}

void write_scheme(JsonWriter& out, const Scheme& scheme) {
  out.begin_object();
  out.member("num_bits", scheme.bits);
  out.member("type", "int");
  out.member("symmetric", scheme.symmetry == Symmetry::symmetric);
  out.member("strategy", scheme.group_size == -1 ? "channel" : "group");
  out.key("group_size");
  scheme.group_size == -1 ? out.null() : out.value(scheme.group_size);
  out.member("dynamic", false);
  out.key("actorder");
  out.null();
  out.end_object();
}

void write_names(JsonWriter& out, std::span<const std::string_view> names) {
  out.begin_array();
  for (std::string_view name : names) out.value(name);
  out.end_array();
}

}  // namespace

std::string write_compressed_config(std::span<const std::pair<std::string, ModuleShape>> modules,
                                    std::span<const std::string> ignored) {
  const Schemes schemes = schemes_of(modules);
  JsonWriter out(JsonLayout::indented);
  out.begin_object();
  out.member("quant_method", "compressed-tensors");
  out.member("format", kPacked);
  out.member("quantization_status", "compressed");
  out.key("config_groups");
  out.begin_object();
  int64_t number = 0;
  for (const auto& [scheme, names] : schemes) {
    out.key(cat("group_", number++));
    out.begin_object();
    out.key("targets");
    const std::vector<std::string_view> all{"Linear"};
    write_names(out, schemes.size() == 1 ? all : names);
    out.key("weights");
    write_scheme(out, scheme);
    for (std::string_view key : {"input_activations", "output_activations"}) {
      out.key(key);
      out.null();
    }
    out.member("format", kPacked);
    out.end_object();
  }
  out.end_object();
  out.key("ignore");
  write_names(out, std::vector<std::string_view>(ignored.begin(), ignored.end()));
  out.key("kv_cache_scheme");
  out.null();
  out.end_object();
  return out.take();
}

QuantConfig parse_compressed_config(const JsonObject& config) {
  want(config, "quantization_status", "compressed");
  for (std::string_view key : {"kv_cache_scheme", "transform_config"}) refuse_unless_empty(config, key);
  if (const auto sparsity = config.object({"sparsity_config"}); sparsity && !sparsity->json().empty()) {
    want(*sparsity, "format", "dense");
  }
  const auto groups = config.object({"config_groups"});
  if (!groups || groups->json().empty()) config.refuse(Fault::format, "config_groups", "one group or more");
  std::optional<QuantConfig> first;
  for (const auto& [name, group] : groups->json().items()) {
    const QuantConfig found = read_group(JsonObject(group, cat(groups->name(), ": ", quoted(name))));
    if (!first) first = found;
  }
  return *first;
}

}  // namespace gptq
