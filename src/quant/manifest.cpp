#include "quant/manifest.h"

#include <algorithm>

#include "base/json.h"
#include "base/json_writer.h"
#include "base/text.h"

namespace gptq {
namespace {

constexpr int64_t kFormat = 1;
constexpr int64_t kMost = int64_t{1} << 53;  // of counts and bytes
constexpr double kLongestSeconds = 1e9;

void write_module(JsonWriter& json, const FinishedModule& module) {
  json.begin_object();
  write_members(json, module.report);
  json.member("rows", module.shape.rows);
  json.member("cols", module.shape.cols);
  json.member("groups", module.shape.groups);
  json.end_object();
}

void write_layer(JsonWriter& json, const FinishedLayer& layer) {
  json.begin_object();
  json.member("bytes", layer.bytes);
  json.member("hash", layer.hash);
  json.member("weights", layer.weights);
  json.key("modules");
  json.begin_array();
  for (const FinishedModule& module : layer.modules) write_module(json, module);
  json.end_array();
  json.end_object();
}

/// The objects of an array.
template <class Visit>
void each_object(const JsonObject& parent, std::string_view key, const Visit& visit) {
  const Json* array = parent.find({key});
  if (array == nullptr || !array->is_array()) parent.refuse(Fault::format, key, "an array");
  for (const Json& element : *array) visit(JsonObject(element, parent.name()));
}

FinishedModule read_module(const JsonObject& json) {
  constexpr int64_t kMostInputs = INT32_MAX;
  FinishedModule module;
  module.report = read_module_report(json);
  module.shape = {.bits = module.report.bits,
                  .rows = json.integer({"rows"}, 1, kMostInputs),
                  .cols = json.integer({"cols"}, 1, kMostInputs),
                  .groups = json.integer({"groups"}, 1, kMostInputs)};
  return module;
}

FinishedLayer read_layer(const JsonObject& json) {
  FinishedLayer layer{.bytes = static_cast<uint64_t>(json.integer({"bytes"}, 0, kMost)),
                      .hash = json.string({"hash"}),
                      .weights = json.string({"weights"})};
  each_object(json, "modules",
              [&](const JsonObject& module) { layer.modules.push_back(read_module(module)); });
  return layer;
}

CalibrationRecord read_calibration(const JsonObject& json) {
  return {.source = json.string({"source"}),
          .hash = json.string({"hash"}),
          .sequences = json.integer({"sequences"}, 1, kMost),
          .tokens = json.integer({"tokens"}, 1, kMost)};
}

}  // namespace

std::string write_manifest(const Manifest& manifest) {
  JsonWriter json(JsonLayout::indented);
  json.begin_object();
  json.member("format", kFormat);
  json.member("library", manifest.library);
  json.key("model");
  json.begin_array();
  for (const ModelFile& file : manifest.model) {
    json.begin_object();
    json.member("name", file.name);
    json.member("identity", file.identity);
    json.end_object();
  }
  json.end_array();
  json.member("outer_weights", manifest.outer_weights);
  json.key("options");
  json.begin_array();
  for (const auto& [key, value] : manifest.options) {
    json.begin_object();
    json.member("key", key);
    json.member("value", value);
    json.end_object();
  }
  json.end_array();
  json.key("calibration");
  json.begin_object();
  json.member("source", manifest.calibration.source);
  json.member("sequences", manifest.calibration.sequences);
  json.member("tokens", manifest.calibration.tokens);
  json.member("hash", manifest.calibration.hash);
  json.end_object();
  json.member("seconds", manifest.seconds);
  json.key("layers");
  json.begin_array();
  for (const FinishedLayer& layer : manifest.layers) write_layer(json, layer);
  json.end_array();
  json.end_object();
  return json.take() + "\n";
}

Manifest read_manifest(std::string_view text, std::string_view name) {
  const JsonDocument document = parse_json(text, name);
  const JsonObject json(document, std::string(name));
  const int64_t format = json.integer({"format"}, 0, kMost);
  if (format != kFormat) {
    throw Error(Fault::unsupported,
                cat(name, ": 'format' is ", format, ", wanted ", kFormat,
                    ": another version of the library began this job; start anew with option 'resume' = "
                    "restart, or delete the folder"));
  }
  Manifest manifest{.library = json.string({"library"}), .outer_weights = json.string({"outer_weights"})};
  each_object(json, "model", [&](const JsonObject& file) {
    manifest.model.push_back({file.string({"name"}), file.string({"identity"})});
  });
  each_object(json, "options", [&](const JsonObject& option) {
    manifest.options.emplace_back(option.string({"key"}), option.string({"value"}));
  });
  const auto calibration = json.object({"calibration"});
  if (!calibration) json.refuse(Fault::format, "calibration", "an object");
  manifest.calibration = read_calibration(*calibration);
  manifest.seconds = json.number({"seconds"}, 0, kLongestSeconds);
  each_object(json, "layers", [&](const JsonObject& layer) { manifest.layers.push_back(read_layer(layer)); });
  return manifest;
}

void refuse_other_job(const fs::path& folder, std::string_view subject, std::string_view found,
                      std::string_view wanted) {
  throw Error(Fault::exists,
              cat(quoted(folder.native(), 400), ": holds the unfinished work of another job: its ", subject,
                  " is ", quoted(found), ", that of this job ", quoted(wanted),
                  "; run that job again to go on with it, or start anew with option 'resume' = restart, or "
                  "delete the folder"));
}

void check_same_job(const Manifest& found, const Manifest& wanted, const fs::path& folder) {
  if (found.library != wanted.library) refuse_other_job(folder, "library", found.library, wanted.library);
  for (size_t i = 0; i < std::max(found.model.size(), wanted.model.size()); ++i) {
    const ModelFile before = i < found.model.size() ? found.model[i] : ModelFile();
    const ModelFile now = i < wanted.model.size() ? wanted.model[i] : ModelFile();
    if (before.name != now.name) refuse_other_job(folder, "model file", before.name, now.name);
    if (before.identity == now.identity) continue;
    refuse_other_job(folder, cat("model file ", quoted(now.name)), before.identity, now.identity);
  }
  for (const auto& option : wanted.options) {
    const std::string &key = option.first, &value = option.second;
    const auto same_key = [&](const auto& other) { return other.first == key; };
    const auto before = std::find_if(found.options.begin(), found.options.end(), same_key);
    const std::string old = before != found.options.end() ? before->second : "";
    if (old != value) refuse_other_job(folder, cat("option '", key, "'"), old, value);
  }
}

}  // namespace gptq
