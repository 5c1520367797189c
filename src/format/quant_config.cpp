// What a checkpoint says about its quantization, in the spellings of the programs that write such files.
#include "format/quant_config.h"

#include <algorithm>
#include <array>
#include <vector>

#include "base/error.h"
#include "base/folder.h"
#include "base/json.h"
#include "base/json_writer.h"
#include "base/qtensor.h"
#include "base/text.h"
#include "format/quant_config_parse.h"

namespace gptq {
namespace {

constexpr size_t kMostBytes = 64u << 20;

/// What changes the meaning of tensors in ways that are not known here.
void refuse_variants(const JsonObject& config) {
  for (std::string_view key : {"rotation", "adapter"}) {
    const Json* value = config.find({key});
    const bool nothing = value == nullptr || ((value->is_object() || value->is_array()) && value->empty()) ||
                         (value->is_string() && value->get_ref<const std::string&>().empty());
    if (!nothing) config.refuse(Fault::unsupported, key, "none");
  }
  const std::string words = lower_text(config.string_or({"pack_dtype"}, "int32"));
  if (words != "int32") config.refuse(Fault::unsupported, "pack_dtype", "'int32'");
}

bool made_by_gptqmodel(const JsonObject& config) {
  const auto meta = config.object({"meta"});
  const Json* quantizer = meta ? meta->find({"quantizer"}) : nullptr;
  if (quantizer == nullptr) return false;
  const auto names_it = [](const Json& value) {
    return value.is_string() && lower_text(value.get<std::string>()).starts_with("gptqmodel");
  };
  // one string, or a list of every program that had a part in it
  return quantizer->is_array() ? std::any_of(quantizer->begin(), quantizer->end(), names_it)
                               : names_it(*quantizer);
}

/// What a dictionary states itself, defaults left out, to compare with another.
struct Statement {
  std::string_view what;
  std::string value;  // empty: not stated
};

std::vector<Statement> statements(const JsonObject& object, const QuantConfig& config) {
  const auto stated = [](bool given, std::string value) { return given ? std::move(value) : std::string(); };
  return {
      {"the number of bits", cat(config.bits)},
      {"the group size", stated(object.has({"group_size", "q_group_size"}), cat(config.group_size))},
      {"the format",
       stated(stated_format(object).has_value(), std::string(quant_format_name(config.format)))},
      {"'dynamic'", object.has({"dynamic"}) ? print_json(*object.find({"dynamic"})) : std::string()},
  };
}

struct Source {
  std::string name;
  const Json* json;
  QuantConfig config;
};

/// Of a whole text, as their order matters, which Json does not keep.
ModuleOverrides read_overrides(const QuantConfigText& file) {
  constexpr std::array<std::string_view, 2> kPath{"quantization_config", "dynamic"};
  const std::span<const std::string_view> path(kPath);
  return parse_module_overrides(file.text, file.name,
                                file.kind == QuantConfigText::Kind::own_file ? path.subspan(1) : path,
                                OverrideUse::read);
}

void check_agreement(std::string_view what, const std::string& a, std::string_view a_name,
                     const std::string& b, std::string_view b_name) {
  if (a.empty() || b.empty() || a == b) return;
  throw Error(Fault::mismatch,
              cat(what, " is ", quoted(a), " in ", a_name, ", but ", quoted(b), " in ", b_name));
}

void check_agreement(const Source& a, const Source& b) {
  const auto of_a = statements(JsonObject(*a.json, a.name), a.config);
  const auto of_b = statements(JsonObject(*b.json, b.name), b.config);
  for (size_t i = 0; i < of_a.size(); ++i) {
    check_agreement(of_a[i].what, of_a[i].value, a.name, of_b[i].value, b.name);
  }
}

/// The method of a dictionary, for files that disagree on it; anything but a string is refused elsewhere.
std::string method_text(const Json& object) {
  if (!object.is_object()) return {};
  for (const char* key : {"quant_method", "method"}) {
    const auto it = object.find(key);
    if (it != object.end() && it->is_string()) return lower_text(it->get<std::string>());
  }
  return {};
}

}  // namespace

QuantConfig parse_quant_config(const Json& json, std::string name) {
  const JsonObject config(json, std::move(name));
  QuantConfig result;
  result.format = read_quant_format(config);
  if (result.format == QuantFormat::compressed_tensors) return parse_compressed_config(config);
  refuse_variants(config);
  result.bits = static_cast<int>(config.integer({"bits", "w_bit", "wbits"}, 2, 8));
  if (!is_bit_width(result.bits)) config.refuse(Fault::range, "bits", "2, 3, 4 or 8");
  result.group_size = config.integer_or({"group_size", "q_group_size"}, -1, int64_t{1} << 30, 128);
  if (result.group_size == 0)
    config.refuse(Fault::range, config.has({"group_size"}) ? "group_size" : "q_group_size",
                  "-1 or more than 0");
  // files from before "sym" was written are symmetric, but for AWQ's; "zero_point" is its opposite
  const bool awq = quant_method_name(result.format) == "awq";
  const bool symmetric =
      config.has({"sym"}) ? config.boolean_or({"sym"}, true) : !config.boolean_or({"zero_point"}, awq);
  result.symmetry = symmetric ? Symmetry::symmetric : Symmetry::asymmetric;
  // only GPTQ's own layout has a place for the order
  result.desc_act = quant_method_name(result.format) == "gptq" && config.boolean_or({"desc_act"}, false);
  result.lm_head = config.boolean_or({"lm_head"}, false);
  result.file_base_name = config.string_or({"model_file_base_name", "model_basename"}, "");
  result.producer_is_gptqmodel = made_by_gptqmodel(config);
  return result;
}

std::optional<QuantConfig> merge_quant_configs(std::span<const QuantConfigText> files) {
  std::vector<JsonDocument> documents(files.size());
  std::vector<std::pair<std::string, const Json*>> found;  // name for messages, dictionary
  const QuantConfigText* first = nullptr;                  // the text of found[0]
  for (size_t i = 0; i < files.size(); ++i) {
    const auto& [name, text, kind] = files[i];
    documents[i] = parse_json(text, name, {.max_bytes = kMostBytes});
    if (kind == QuantConfigText::Kind::own_file) {
      found.emplace_back(name, &*documents[i]);
    } else if (const auto part = JsonObject(documents[i], name).object({"quantization_config"})) {
      found.emplace_back(part->name(), &part->json());
    }
    if (first == nullptr && !found.empty()) first = &files[i];
  }
  for (size_t i = 1; i < found.size();
       ++i) {  // before the dictionaries are read: another method has other keys
    check_agreement("the method", method_text(*found[0].second), found[0].first,
                    method_text(*found[i].second), found[i].first);
  }
  std::vector<Source> sources;
  for (const auto& [name, json] : found) sources.push_back({name, json, parse_quant_config(*json, name)});
  for (size_t i = 1; i < sources.size(); ++i) check_agreement(sources[0], sources[i]);
  if (sources.empty()) return std::nullopt;
  sources[0].config.overrides = read_overrides(*first);
  return std::move(sources[0].config);
}

std::optional<QuantConfig> read_quant_config(const fs::path& folder) {
  std::vector<QuantConfigText> files;
  using Kind = QuantConfigText::Kind;
  for (const auto& [name, kind] :
       {std::pair{"quantize_config.json", Kind::own_file}, std::pair{"quant_config.json", Kind::own_file},
        std::pair{"config.json", Kind::model_config}}) {
    const fs::path path = join(folder, name);
    if (file_exists(path)) files.push_back({name, read_text_file(path, kMostBytes), kind});
  }
  return merge_quant_configs(files);
}

std::vector<std::string> weight_names(const QuantConfig& config) {
  std::vector<std::string> names;
  if (!config.file_base_name.empty()) names.push_back(config.file_base_name);
  names.push_back(cat("gptq_model-", config.bits, "bit-", config.group_size, "g"));
  return names;
}

std::string write_quant_config(const QuantConfig& config, const QuantDetails& details) {
  if (quant_method_name(config.format) != "gptq") {
    throw Error(Fault::unsupported, cat("a configuration of ", quant_method_name(config.format),
                                        " is not written by the writer of GPTQ's"));
  }
  const std::string_view format = quant_format_name(config.format);
  JsonWriter out(JsonLayout::indented);
  out.begin_object();
  out.member("bits", config.bits);
  out.member("group_size", config.group_size);
  out.member("desc_act", config.desc_act);
  if (!config.overrides.empty()) {
    out.key("dynamic");
    write_module_overrides(out, config.overrides);
  }
  out.member("lm_head", config.lm_head);
  // both spellings of each: transformers, vLLM and AutoGPTQ read quant_method and checkpoint_format, GPTQModel since
  // 5.0 prefers method and format
  out.member("method", "gptq");
  out.member("quant_method", "gptq");
  out.member("format", format);
  out.member("checkpoint_format", format);
  out.member("pack_dtype", "int32");
  out.key("meta");
  out.begin_object();
  // a list, as GPTQModel looks through it for its own name. It refuses asymmetric v1 of any other producer, so
  // asymmetric models are written as v2
  out.key("quantizer");
  out.begin_array();
  out.value(details.quantizer);
  out.end_array();
  out.member("uri", "https://github.com/libgptq/libgptq");
  if (details.origin == QuantOrigin::quantized) {
    out.member("damp_percent", details.damp_percent);
    out.member("damp_auto_increment", details.damp_auto_increment);
    out.member("static_groups", details.static_groups);
    out.member("true_sequential", details.true_sequential);
    out.member("act_group_aware", details.act_group_aware);
  }
  out.end_object();
  out.member("sym", config.symmetry == Symmetry::symmetric);
  out.end_object();
  return out.take();
}

}  // namespace gptq
