#include <algorithm>
#include <array>

#include "api/buffer.h"
#include "api/handles.h"
#include "api/options.h"
#include "api/stats.h"
#include "base/json_writer.h"
#include "base/text.h"

using namespace gptq;

namespace {

std::string quantization_text(const Model& model) {
  const auto& q = model.quantization();
  if (!q) return {};
  return cat(quant_method_name(q->format), " ", q->bits, "-bit ",
             q->group_size < 0 ? std::string("per-channel") : cat("g", q->group_size),
             q->symmetry == Symmetry::symmetric ? " sym" : " asym", q->desc_act ? " act-order" : "");
}

struct IntRow {
  std::string_view key;
  int64_t (*get)(const Model&);
};

constexpr std::array kInts{
    IntRow{"n_layer", [](const Model& m) { return m.spec().layers; }},
    IntRow{"hidden_size", [](const Model& m) { return m.spec().hidden; }},
    IntRow{"vocab_size", [](const Model& m) { return m.vocab_size(); }},
    IntRow{"context_length", [](const Model& m) { return m.spec().context; }},
    IntRow{"context_limit", [](const Model& m) { return m.spec().context_limit(); }},
    IntRow{"n_head", [](const Model& m) { return m.spec().heads; }},
    IntRow{"n_kv_head", [](const Model& m) { return m.spec().kv_heads; }},
    IntRow{"head_dim", [](const Model& m) { return m.spec().head_dim; }},
    IntRow{"parameters", [](const Model& m) { return m.parameters(); }},
    IntRow{"quantized", [](const Model& m) { return int64_t{m.quantization().has_value()}; }},
    IntRow{"bits", [](const Model& m) { return int64_t{m.quantization() ? m.quantization()->bits : 0}; }},
    IntRow{"group_size", [](const Model& m) { return m.quantization() ? m.quantization()->group_size : 0; }},
    IntRow{"sym",
           [](const Model& m) {
             return int64_t{m.quantization() && m.quantization()->symmetry == Symmetry::symmetric};
           }},
    IntRow{"desc_act",
           [](const Model& m) { return int64_t{m.quantization() && m.quantization()->desc_act}; }},
    IntRow{"weight_bytes", [](const Model& m) { return static_cast<int64_t>(m.weight_bytes()); }},
    IntRow{"weight_bytes_per_token",
           [](const Model& m) { return static_cast<int64_t>(m.weight_bytes_per_token()); }},
    IntRow{"bos_token_id", [](const Model& m) { return int64_t{m.bos().value_or(-1)}; }},
    IntRow{"eos_token_id", [](const Model& m) { return int64_t{m.eos().value_or(-1)}; }},
    IntRow{"threads", [](const Model& m) { return int64_t{m.threads()}; }},
};

constexpr std::array<std::string_view, 7> kTexts{"family",      "architecture", "path",        "device",
                                                 "layer_split", "dtype",        "quantization"};

const char* text_of(const gptq_model& handle, std::string_view key) {
  if (key == "path") return handle.path.c_str();
  if (key == "device") return handle.device.c_str();
  if (key == "layer_split") return handle.layer_split.c_str();
  if (key == "quantization") return handle.quantization.c_str();
  if (std::find(std::begin(kTexts), std::end(kTexts), key) == std::end(kTexts)) return nullptr;
  const Spec& spec = handle.model->spec();  // throws where the folder's architecture is not known
  if (key == "family") return handle.family.c_str();
  return (key == "architecture" ? spec.architecture : spec.dtype).c_str();
}

/// @param kind   "number" or "text"
/// @param known  the keys of this kind
/// @param other  the keys of the other kind, and the function for them
[[noreturn]] void unknown_key(std::string_view key, std::string_view kind,
                              std::span<const std::string_view> known,
                              std::span<const std::string_view> other, std::string_view other_function) {
  if (std::find(other.begin(), other.end(), key) != other.end()) {
    throw Error(Status::not_found, cat(quoted(key), " is no ", kind, ": ask ", other_function, "()"));
  }
  throw Error(Status::not_found, cat("a model has no ", kind, " ", quoted(key), nearest_hint(key, known)));
}

constexpr auto kIntKeys = api::keys_of(kInts);

}  // namespace

gptq_status gptq_model_load(const char* path, const gptq_options* options, gptq_model** out) {
  return api::guard([&] {
    api::require(out, "out");
    *out = nullptr;
    api::require(path, "path");
    auto handle = std::make_unique<gptq_model>();
    handle->path = path;
    handle->model = Model::load(path, api::model_options(options), api::progress_of(options));
    handle->device = handle->model->device();
    handle->layer_split = handle->model->layer_split();
    handle->quantization = quantization_text(*handle->model);
    if (handle->model->has_spec()) handle->family = handle->model->spec().family->name;
    *out = handle.release();
  });
}

gptq_status gptq_model_convert(const char* model_path, const char* output_path, const gptq_options* options) {
  return api::guard([&] {
    api::require(model_path, "model_path");
    api::require(output_path, "output_path");
    convert_model(model_path, output_path, api::convert_options(options), api::progress_of(options));
  });
}

gptq_status gptq_model_retain(const gptq_model* model) {
  return api::guard([&] {
    api::require(model, "model");
    const_cast<gptq_model*>(model)->holders.fetch_add(1, std::memory_order_relaxed);
  });
}

void gptq_model_free(gptq_model* model) {
  if (model != nullptr && model->holders.fetch_sub(1, std::memory_order_acq_rel) == 1) delete model;
}

gptq_status gptq_model_get_int(const gptq_model* model, const char* key, int64_t* out) {
  return api::guard([&] {
    api::require(out, "out");
    *out = 0;
    api::require(model, "model");
    api::require(key, "key");
    for (const IntRow& row : kInts) {
      if (row.key == key) {
        *out = row.get(*model->model);
        return;
      }
    }
    unknown_key(key, "number", kIntKeys, kTexts, "gptq_model_get_string");
  });
}

gptq_status gptq_model_get_string(const gptq_model* model, const char* key, const char** out) {
  return api::guard([&] {
    api::require(out, "out");
    *out = nullptr;
    api::require(model, "model");
    api::require(key, "key");
    *out = text_of(*model, key);
    if (*out == nullptr) unknown_key(key, "text", kTexts, kIntKeys, "gptq_model_get_int");
  });
}

gptq_status gptq_model_metadata_json(const gptq_model* model, gptq_buffer** out_json) {
  return api::guard([&] {
    api::require(out_json, "out_json");
    *out_json = nullptr;
    api::require(model, "model");
    JsonWriter json;
    json.begin_object();
    const bool whole = model->model->has_spec();
    for (std::string_view key : kTexts) {
      if (whole || key == "path" || key == "device") json.member(key, text_of(*model, key));
    }
    for (const IntRow& row : kInts) {
      if (whole || row.key == "vocab_size" || row.key == "threads")
        json.member(row.key, row.get(*model->model));
    }
    json.end_object();
    *out_json = api::text_buffer(json.take());
  });
}
