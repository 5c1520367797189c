#include "quant/converted_config.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "base/json_writer.h"
#include "base/text.h"
#include "format/compressed_tensors_config.h"

namespace gptq {
namespace {

constexpr std::string_view kHead = "lm_head";  // in all families

/// What an override of GPTQ's configuration can change.
struct Settings {
  int bits;
  int64_t group_size;
  Symmetry symmetry;

  auto key() const { return std::tuple(bits, group_size, symmetry); }
  bool operator<(const Settings& other) const { return key() < other.key(); }
};

Settings settings_of(const ConvertedModule& module) {
  const auto& [in, out, bits, groups, symmetry, type] = module.shape;
  const int64_t labelled = module.labelled_group == -1 ? in : std::min(module.labelled_group, in);
  const bool agrees = labelled > 0 && (in + labelled - 1) / labelled == groups;
  return {bits, agrees ? module.labelled_group : groups == 1 ? -1 : in / groups, symmetry};
}

/// A regular expression for this name alone: "^model\.norm$".
std::string pattern_of(std::string_view name) {
  std::string pattern = "^";
  for (char c : name) {
    if (std::string_view(".[]{}()*+?^$|\\").find(c) != std::string_view::npos) pattern += '\\';
    pattern += c;
  }
  return pattern + "$";
}

ModuleOverride skip(std::string_view name) {
  ModuleOverride result;
  result.kind = ModuleOverride::Kind::skip;
  result.pattern = pattern_of(name);
  result.key = "-:" + result.pattern;
  return result;
}

ModuleOverride change(std::string_view name, const Settings& from, const Settings& to) {
  ModuleOverride result;
  result.pattern = pattern_of(name);
  result.key = "+:" + result.pattern;
  const bool all = name == kHead;
  if (all || to.bits != from.bits) result.bits = to.bits;
  if (all || to.group_size != from.group_size) result.group_size = to.group_size;
  if (all || to.symmetry != from.symmetry) result.symmetric = to.symmetry == Symmetry::symmetric;
  return result;
}

std::string gptq_quantization(QuantFormat format, std::span<const ConvertedModule> modules,
                              std::span<const std::string> dense, InputOrder order) {
  std::map<Settings, int64_t> counts;
  for (const ConvertedModule& module : modules) ++counts[settings_of(module)];
  const auto most = std::max_element(counts.begin(), counts.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most == counts.end()) throw Error(Fault::unsupported, "no module of the model is quantized");
  const Settings common = most->first;
  QuantConfig config{.bits = common.bits,
                     .group_size = common.group_size,
                     .symmetry = common.symmetry,
                     .desc_act = order == InputOrder::activation,
                     .format = format};
  for (const std::string& name : dense) {
    // GPTQ readers leave the head alone unless they are told otherwise
    if (name != kHead) config.overrides.push_back(skip(name));
  }
  for (const ConvertedModule& module : modules) {
    const Settings own = settings_of(module);
    if (module.full_name == kHead) config.lm_head = true;
    // GPTQModel has other settings for the head than for the rest, unless it is named
    if (own.key() != common.key() || module.full_name == kHead)
      config.overrides.push_back(change(module.full_name, common, own));
  }
  return write_quant_config(
      config, {.origin = QuantOrigin::converted, .quantizer = cat("libgptq:", GPTQ_VERSION_TEXT)});
}

}  // namespace

std::string converted_quantization(QuantFormat format, std::span<const ConvertedModule> modules,
                                   std::span<const std::string> dense, InputOrder order) {
  if (format != QuantFormat::compressed_tensors) return gptq_quantization(format, modules, dense, order);
  std::vector<std::pair<std::string, ModuleShape>> shapes;
  for (const ConvertedModule& module : modules) shapes.emplace_back(module.full_name, module.shape);
  return write_compressed_config(shapes, dense);
}

std::string dense_model_config(std::string_view config, DType dtype) {
  const std::string_view name = dtype == DType::f32   ? "\"float32\""
                                : dtype == DType::f16 ? "\"float16\""
                                                      : "\"bfloat16\"";
  const JsonDocument document = parse_json(config, "config.json");
  const bool old_key = JsonObject(document, "config.json").has({"torch_dtype"});
  const std::string plain = remove_json_member(config, "config.json", "quantization_config");
  return set_json_member(plain, "config.json", old_key ? "torch_dtype" : "dtype", name);
}

}  // namespace gptq
