#include "model/loader.h"

#include <cstring>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "format/layout.h"
#include "model/claims.h"
#include "model/module_rules.h"

namespace gptq {
namespace {

/// Conv1D [in, out] -> [out, in], element by element.
Tensor transposed(const Tensor& tensor) {
  const int64_t rows = tensor.shape[0], cols = tensor.shape[1];
  const auto size = static_cast<size_t>(dtype_bits(tensor.dtype) / 8);
  std::byte* out = nullptr;
  Tensor result = make_tensor(tensor.dtype, {cols, rows}, &out);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      std::memcpy(out + static_cast<size_t>(c * rows + r) * size,
                  tensor.data + static_cast<size_t>(r * cols + c) * size, size);
    }
  }
  return result;
}

}  // namespace

const fs::path& check_model_folder(const fs::path& folder) {
  const PathKind kind = path_kind(folder);
  if (kind == PathKind::folder) return folder;
  const std::string shown = quoted(folder.native(), 400);
  throw Error(Status::not_found, kind != PathKind::absent
                                     ? cat(shown, " is not a folder, wanted one with config.json and weights")
                                     : cat("no model folder at ", shown));
}

Loader::Loader(const fs::path& folder)
    : folder_(check_model_folder(folder)),
      spec_(load_spec(folder)),
      quantization_(read_quant_config(folder)),
      checkpoint_(open_checkpoint(
          folder, quantization_ ? weight_names(*quantization_) : std::vector<std::string>())) {
  const Names& names = *spec_.family->names;
  base_ = names.base;
  if (checkpoint_->find(cat(base_, names.embed, ".weight")) == nullptr &&
      checkpoint_->find(cat(names.embed, ".weight")) != nullptr) {
    base_.clear();
  }
  const bool has_head = checkpoint_->find(cat(names.head, ".weight")) != nullptr || is_quantized(head_name());
  tied_ = spec_.tied ? *spec_.tied == Tied::yes : spec_.family->tied_by_default == Tied::yes || !has_head;
  if (tied_ && has_head) {
    log(LogLevel::info,
        cat("config.json ties the output head to the embedding: ", names.head, " is not used"));
  }
  check_tensors();
  find_overrides();
}

std::string Loader::name(std::string_view suffix) const { return cat(base_, suffix); }

std::string Loader::layer_name(int64_t layer, std::string_view suffix) const {
  return cat(layers_prefix(), layer, ".", suffix);
}

std::string Loader::layers_prefix() const { return cat(base_, spec_.family->names->layers); }

std::string Loader::module_name(int64_t layer, const Module& module) const {
  return layer_name(layer, module.name);
}

std::string Loader::full_name(const std::string& module) const {
  return base_.empty() ? cat(spec_.family->names->base, module) : module;
}

bool Loader::is_quantized(const std::string& module) const {
  return quantization_ && has_module(*checkpoint_, module, layout_of(quantization_->format));
}

void Loader::refuse_unlabelled(const std::string& module) const {
  const std::string found = quantized_tensor(*checkpoint_, module);
  if (quantization_ || found.empty()) return;
  throw Error(Fault::mismatch, cat(found,
                                   " is there, but neither quantize_config.json nor config.json has a "
                                   "quantization_config"));
}

void Loader::claim_head(Claims& claims) const {
  const std::string head = head_name();
  refuse_unlabelled(head);
  if (is_quantized(head)) claims.claim_quantized(head, layout_of(quantization_->format));
  if (tied_) {
    claims.ignore(head + ".weight");
  } else if (!is_quantized(head)) {
    claims.require(head + ".weight", {spec_.vocab, spec_.hidden});
  }
}

void Loader::check_tensors() {
  const Names& names = *spec_.family->names;
  Claims claims(*checkpoint_);
  claims.require(name(names.embed) + ".weight", {spec_.vocab, spec_.hidden});
  if (!names.positions.empty())
    claims.require(name(names.positions) + ".weight", {spec_.context, spec_.hidden});
  const auto claim_norm = [&](const std::string& norm) {
    claims.require(norm + ".weight", {spec_.hidden});
    if (spec_.family->norm == Norm::layer) claims.require(norm + ".bias", {spec_.hidden});
  };
  claim_norm(name(names.final_norm));
  claim_head(claims);
  for (int64_t i = 0; i < spec_.layers; ++i) {
    claim_norm(layer_name(i, names.attention_norm));
    claim_norm(layer_name(i, names.mlp_norm));
    for (const Module& module : names.modules) {
      const std::string path = module_name(i, module);
      const int64_t out = spec_.out_features(module), in = spec_.in_features(module);
      claims.allow(path + ".bias", {out});
      refuse_unlabelled(path);
      if (is_quantized(path)) {
        claims.claim_quantized(path, layout_of(quantization_->format));
      } else if (spec_.family->storage == Storage::in_out) {
        claims.require(path + ".weight", {in, out});
      } else {
        claims.require(path + ".weight", {out, in});
      }
    }
    for (std::string_view buffer : names.ignored) claims.ignore(layer_name(i, buffer));
  }
  claims.finish();
}

void Loader::find_overrides() {
  if (!quantization_ || quantization_->overrides.empty()) return;
  QuantConfig plain = *quantization_;
  plain.overrides.clear();
  ModuleRules rules(quantization_->overrides);
  const auto apply = [&](const std::string& path, const std::string& full) {
    if (!is_quantized(path)) return;
    const ModuleOverride* found = rules.find(full);
    // one that is to be skipped and is there quantized all the same: tensors win over labels
    if (found == nullptr || found->kind == ModuleOverride::Kind::skip) return;
    QuantConfig& labels = special_.emplace(path, plain).first->second;
    labels.bits = found->bits.value_or(plain.bits);
    labels.group_size = found->group_size.value_or(plain.group_size);
    if (found->symmetric) labels.symmetry = *found->symmetric ? Symmetry::symmetric : Symmetry::asymmetric;
  };
  apply(head_name(), head_name());
  for (int64_t i = 0; i < spec_.layers; ++i) {
    for (const Module& module : spec_.family->names->modules) {
      const std::string path = module_name(i, module);
      apply(path, full_name(path));
    }
  }
}

const QuantConfig& Loader::labels_of(const std::string& module) const {
  const auto found = special_.find(module);
  return found == special_.end() ? *quantization_ : found->second;
}

NormWeights Loader::load_norm(const Backend& backend, const std::string& name) const {
  NormWeights norm;
  norm.weight = backend.prepare_vector(checkpoint_->read(name + ".weight", Access::read));
  if (spec_.family->norm == Norm::layer) {
    norm.bias = backend.prepare_vector(checkpoint_->read(name + ".bias", Access::read));
  }
  return norm;
}

Weights Loader::load_outer(const Backend& backend, Access access) const {
  const Names& names = *spec_.family->names;
  const auto table = [&](const std::string& tensor) {
    return std::shared_ptr<const Linear>(backend.prepare(checkpoint_->read(tensor, access), nullptr));
  };
  Weights weights;
  weights.embed = table(name(names.embed) + ".weight");
  weights.positions = load_positions(backend, access);
  weights.final_norm = load_final_norm(backend);
  if (tied_) {
    weights.head = weights.embed;
  } else if (const std::string head = head_name(); is_quantized(head)) {
    weights.head = backend.prepare(quantized_weight(head, spec_.hidden, spec_.vocab), nullptr);
  } else {
    weights.head = table(head + ".weight");
  }
  return weights;
}

std::shared_ptr<const Linear> Loader::load_positions(const Backend& backend, Access access) const {
  const Names& names = *spec_.family->names;
  if (names.positions.empty()) return nullptr;
  return backend.prepare(checkpoint_->read(name(names.positions) + ".weight", access), nullptr);
}

std::shared_ptr<const Linear> Loader::load_embedding(const Backend& backend,
                                                     std::span<const int32_t> ids) const {
  const std::string tensor = name(spec_.family->names->embed) + ".weight";
  std::byte* rows = nullptr;
  const Tensor table =
      make_tensor(checkpoint_->find(tensor)->dtype, {static_cast<int64_t>(ids.size()), spec_.hidden}, &rows);
  const size_t row_bytes = ids.empty() ? 0 : table.bytes / ids.size();
  for (size_t i = 0; i < ids.size(); ++i) {
    checkpoint_->read_part(tensor, static_cast<uint64_t>(ids[i]) * row_bytes,
                           {rows + i * row_bytes, row_bytes});
  }
  return backend.prepare(table, nullptr);
}

NormWeights Loader::load_final_norm(const Backend& backend) const {
  return load_norm(backend, name(spec_.family->names->final_norm));
}

Tensor Loader::dense_weight(const std::string& module, Access access) const {
  const Tensor tensor = checkpoint_->read(module + ".weight", access);
  return spec_.family->storage == Storage::in_out ? transposed(tensor) : tensor;
}

std::optional<Tensor> Loader::bias(const std::string& module, Access access) const {
  if (checkpoint_->find(module + ".bias") == nullptr) return std::nullopt;
  return checkpoint_->read(module + ".bias", access);
}

std::vector<float> Loader::dense_rows(const std::string& module, int64_t begin, int64_t count) const {
  const std::string tensor = module + ".weight";
  const TensorInfo* info = checkpoint_->find(tensor);
  if (info == nullptr) throw Error(Status::not_found, cat("no tensor ", quoted(tensor)));
  const bool in_out = spec_.family->storage == Storage::in_out && module != head_name();
  const int64_t cols = info->shape[in_out ? 0 : 1];
  std::byte* bytes = nullptr;
  if (!in_out) {
    const Tensor rows = make_tensor(info->dtype, {count, cols}, &bytes);
    const uint64_t offset = static_cast<uint64_t>(begin) * (rows.bytes / static_cast<size_t>(count));
    checkpoint_->read_part(tensor, offset, {bytes, rows.bytes});
    return to_float(rows);
  }
  const Tensor columns = make_tensor(info->dtype, {cols, count}, &bytes);  // [in, out]
  const size_t element = columns.bytes / static_cast<size_t>(cols * count);
  for (int64_t c = 0; c < cols; ++c) {
    const uint64_t from = static_cast<uint64_t>(c * info->shape[1] + begin) * element;
    const size_t part = static_cast<size_t>(count) * element;
    checkpoint_->read_part(tensor, from, {bytes + static_cast<size_t>(c) * part, part});
  }
  return to_float(transposed(columns));
}

QTensor Loader::quantized_weight(const std::string& module, int64_t in, int64_t out) const {
  return read_module(*checkpoint_, module, labels_of(module), in, out);
}

std::vector<StoredLinear> Loader::linears() const {
  std::vector<StoredLinear> result;
  for (int64_t i = 0; i < spec_.layers; ++i) {
    for (const Module& module : spec_.family->names->modules) {
      const std::string path = module_name(i, module);
      result.push_back({path, full_name(path), spec_.in_features(module), spec_.out_features(module),
                        spec_.family->storage});
    }
  }
  if (!tied_) result.push_back({head_name(), head_name(), spec_.hidden, spec_.vocab});
  return result;
}

void Loader::load_module(const Backend& backend, int64_t layer, const Module& module, Access access,
                         Layer& into) const {
  const std::string path = module_name(layer, module);
  const std::optional<Tensor> bias_tensor = bias(path, Access::read);
  const Tensor* bias_pointer = bias_tensor ? &*bias_tensor : nullptr;
  if (is_quantized(path)) {
    const QTensor q = quantized_weight(path, spec_.in_features(module), spec_.out_features(module));
    set_module(into, backend, spec_, module, q, bias_pointer);
  } else {
    set_module(into, backend, spec_, module, dense_weight(path, access), bias_pointer);
  }
}

Layer Loader::load_layer(const Backend& backend, int64_t layer, Access access) const {
  const Names& names = *spec_.family->names;
  Layer result;
  result.attention_norm = load_norm(backend, layer_name(layer, names.attention_norm));
  result.mlp_norm = load_norm(backend, layer_name(layer, names.mlp_norm));
  for (const Module& module : names.modules) load_module(backend, layer, module, access, result);
  return result;
}

}  // namespace gptq
