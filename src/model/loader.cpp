#include "model/loader.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "format/layout.h"
#include "model/claims.h"
#include "model/module_rules.h"

namespace gptq {
namespace {

bool has_bias(NormKind kind) { return kind == NormKind::layer || kind == NormKind::layer_plus_one; }

}  // namespace

Loader::Loader(const fs::path& folder)
    : folder_(check_model_folder(folder)),
      spec_(load_spec(folder)),
      quantization_(read_quant_config(folder)),
      checkpoint_(open_checkpoint(
          folder, quantization_ ? weight_names(*quantization_) : std::vector<std::string>())) {
  const Names& names = *spec_.family->names;
  base_ = names.base;
  if (!has(cat(base_, names.embed, ".weight")) && has(cat(names.embed, ".weight"))) base_.clear();
  const bool has_head = has(cat(names.head, ".weight")) || is_quantized(head_name());
  tied_ = spec_.tied ? *spec_.tied == Tied::yes : spec_.traits.tied == Tied::yes || !has_head;
  if (tied_ && has_head) {
    log(LogLevel::info,
        cat("config.json ties the output head to the embedding: ", names.head, " is not used"));
  }
  find_modules();
  check_tensors();
  find_overrides();
}

Loader::~Loader() = default;

std::string Loader::name(std::string_view suffix) const { return cat(base_, suffix); }

std::string Loader::layer_name(int64_t layer, std::string_view suffix) const {
  return cat(layers_prefix(), layer, ".", suffix);
}

std::string Loader::layers_prefix() const { return cat(base_, spec_.family->names->layers); }

std::string Loader::full_name(const std::string& module) const {
  return base_.empty() ? cat(spec_.family->names->base, module) : module;
}

bool Loader::is_quantized(const std::string& module) const {
  return quantization_ && has_module(*checkpoint_, module, layout_of(quantization_->format));
}

StoredLinear Loader::head() const {
  StoredLinear head{.path = head_name(),
                    .full_name = head_name(),
                    .in_features = spec_.embed_dim,
                    .out_features = spec_.vocab,
                    .weight = head_name() + ".weight",
                    .bias = head_name() + ".bias",
                    .outputs = spec_.vocab};
  head.quantized = is_quantized(head.path);
  return head;
}

void Loader::find_modules() {
  for (int64_t i = 0; i < spec_.layers; ++i) find_modules(i);
}

/// Of a module of experts, that of one of them.
StoredLinear Loader::stored(const Module& module, int64_t layer, int64_t expert) const {
  std::string name(module.name);
  if (const size_t number = name.find('#'); number != std::string::npos)
    name.replace(number, 1, std::to_string(expert));
  const std::string path = layer_name(layer, name);
  StoredLinear linear{.path = path,
                      .full_name = full_name(path),
                      .in_features = spec_.in_features(module, layer),
                      .out_features = spec_.out_features(module, layer),
                      .storage = spec_.traits.storage,
                      .quantized = is_quantized(path),
                      .module = &module,
                      .layer = layer,
                      .expert = expert,
                      .weight = path + ".weight",
                      .bias = path + ".bias"};
  for (Role role : module.all_roles()) {
    const int64_t rows = spec_.out_features(role, layer), blocks = spec_.row_blocks(module, layer);
    if (rows % blocks != 0)
      throw Error(Fault::mismatch, cat("config.json: ", rows, " of the rows of ", path,
                                       ", wanted a multiple of ", blocks, ", the blocks in which they lie"));
  }
  linear.outputs = linear.out_features;
  const Stack& stack = module.stack;
  if (stack.weight.empty() || linear.quantized || has(linear.weight)) return linear;
  linear.stacked = true;
  linear.storage = stack.storage;
  linear.weight = layer_name(layer, stack.weight);
  linear.bias = layer_name(layer, stack.bias);
  linear.outputs *= stack.parts;
  linear.first_output = stack.part * linear.out_features;
  return linear;
}

bool Loader::stores(const Module& module, int64_t layer) const {
  const StoredLinear linear = stored(module, layer, 0);
  return linear.quantized || has(linear.weight);
}

/// Of the forms that a family's Linears may have, those that the files have; where a role has none, the first form, so
/// that its tensor is missed by name.
void Loader::find_modules(int64_t layer) {
  const std::vector<Role> wanted = spec_.roles(layer);
  std::vector<const Module*> chosen;
  const auto plays = [](const Module& module, Role role) {
    const auto roles = module.all_roles();
    return std::find(roles.begin(), roles.end(), role) != roles.end();
  };
  const auto all = spec_.family->names->modules;
  const auto fits = [&](const Module& module) {
    if (module.mixer && *module.mixer != spec_.at(layer).mixer) return false;
    const auto roles = module.all_roles();
    return std::all_of(roles.begin(), roles.end(), [&](Role role) {
      return std::find(wanted.begin(), wanted.end(), role) != wanted.end();
    });
  };
  for (Role role : wanted) {
    const Module *first = nullptr, *found = nullptr;
    for (const Module& module : all) {
      if (!plays(module, role) || !fits(module)) continue;
      if (first == nullptr) first = &module;
      if (found == nullptr && stores(module, layer)) found = &module;
    }
    if (found == nullptr) found = first;
    if (found == nullptr)
      throw Error(Fault::unsupported, cat("config.json: layer ", layer, " of the family ", spec_.family->name,
                                          " wants a Linear that the family has no name for"));
    if (std::find(chosen.begin(), chosen.end(), found) == chosen.end()) chosen.push_back(found);
  }
  std::vector<StoredLinear>& linears = modules_.emplace_back();
  for (const Module& module : all) {
    if (std::find(chosen.begin(), chosen.end(), &module) == chosen.end()) continue;
    const int64_t experts = module.of_experts() ? spec_.at(layer).experts : 1;
    for (int64_t e = 0; e < experts; ++e) linears.push_back(stored(module, layer, e));
  }
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
    claims.ignore(head + ".bias");
    return;
  }
  if (!is_quantized(head)) claims.require(head + ".weight", {spec_.vocab, spec_.embed_dim});
  claims.allow(head + ".bias", {spec_.vocab});
}

/// Of no elements where the layer has no such norm.
Loader::NormTensors Loader::layer_norm_tensors(int64_t index, const NormName& norm) const {
  const std::string stem = layer_name(index, norm.name);
  const LayerSpec& layer = spec_.at(index);
  if (const auto only = mixer_of(norm.place); only && *only != layer.mixer) return {{stem}, {0}};
  if (norm.place == NormPlace::q_latent) return {{stem}, {spec_.latent.q_rank}};
  if (norm.place == NormPlace::kv_latent) return {{stem}, {spec_.latent.kv_rank}};
  if (norm.place != NormPlace::q && norm.place != NormPlace::k && norm.place != NormPlace::v)
    return {{stem}, {spec_.hidden}};
  const int64_t heads = norm.place == NormPlace::q ? layer.heads : layer.kv_heads;
  const int64_t dim = norm.place == NormPlace::v ? layer.value_dim : layer.key_dim;
  if (spec_.traits.qk_norm == QkNorm::row) return {{stem}, {heads * dim}};
  if (spec_.traits.qk_norm != QkNorm::each_head) return {{stem}, {dim}};
  const size_t number = norm.name.find('#');
  if (number == std::string_view::npos) return {{stem}, {heads, dim}};
  const auto of_head = [&](int64_t head) {
    return layer_name(index, cat(norm.name.substr(0, number), head, norm.name.substr(number + 1)));
  };
  NormTensors tensors{{of_head(0)}, {dim}};
  if (!has(tensors.stems[0] + ".weight")) return tensors;
  for (int64_t h = 1; h < heads; ++h) tensors.stems.push_back(of_head(h));
  return tensors;
}

bool Loader::has_norm(int64_t layer, NormPlace place) const {
  const auto norms = spec_.family->names->norms;
  return std::any_of(norms.begin(), norms.end(), [&](const NormName& norm) {
    return norm.place == place && has(layer_name(layer, norm.name) + ".weight");
  });
}

void Loader::claim_norm(Claims& claims, const NormTensors& norm, Need need) const {
  const bool there = has(norm.stems[0] + ".weight"), biased = has(norm.stems[0] + ".bias");
  const bool needed = need == Need::required;
  for (const std::string& stem : norm.stems) {
    if (needed || there) claims.require(stem + ".weight", norm.shape);
    if ((needed && has_bias(spec_.traits.norm)) || (there && biased))
      claims.require(stem + ".bias", norm.shape);
  }
}

void Loader::claim_linear(Claims& claims, const StoredLinear& linear) const {
  refuse_unlabelled(linear.path);
  std::vector<int64_t> shape{linear.outputs, linear.in_features};
  if (linear.storage == Storage::in_out) std::swap(shape[0], shape[1]);
  std::vector<int64_t> bias{linear.out_features};
  if (linear.stacked) {
    // once for all: for the first of those that no tensor of their own has
    if (linear.expert != 0 && stored(*linear.module, linear.layer, linear.expert - 1).stacked) return;
    const int64_t experts = spec_.at(linear.layer).experts;
    const TensorInfo* info = checkpoint_->find(linear.weight);
    const bool flat = info != nullptr && info->shape.size() == 2;
    flat ? void(shape[0] *= experts) : void(shape.insert(shape.begin(), experts));
    bias = {experts, linear.outputs};
  }
  claims.allow(linear.bias, bias);
  if (linear.quantized) return claims.claim_quantized(linear.path, layout_of(quantization_->format));
  claims.require(linear.weight, shape);
}

/// Of no elements where the layer has none.
std::vector<int64_t> Loader::extra_shape(Extra extra, int64_t index) const {
  const LayerSpec& layer = spec_.at(index);
  if (!is_vector(extra)) return {1};
  if (of_delta(extra) && layer.mixer != Mixer::delta) return {0};
  if (extra == Extra::sinks) return {layer.heads};
  if (extra == Extra::choice_bias) return {layer.experts};
  if (extra == Extra::out_norm) return {layer.value_dim};
  if (extra != Extra::conv) return {layer.heads};
  return {layer.queries() + layer.keys() + layer.values(), 1, spec_.conv_kernel};
}

void Loader::claim_layer(Claims& claims, int64_t layer) const {
  const Names& names = *spec_.family->names;
  for (const NormName& norm : names.norms) {
    if (norm.name.empty()) continue;
    // one that a parallel MLP may share is no choice where the MLP comes behind
    const bool needed = norm.need == Need::one_of_place ||
                        (norm.place == NormPlace::mlp && spec_.traits.flow == Flow::sequential);
    const bool missed = needed && !has_norm(layer, norm.place);
    const NormTensors tensors = layer_norm_tensors(layer, norm);
    if (tensors.shape.back() > 0) claim_norm(claims, tensors, missed ? Need::required : norm.need);
  }
  for (const StoredLinear& linear : modules(layer)) claim_linear(claims, linear);
  for (const ExtraName& extra : names.extras) {
    const std::string tensor = layer_name(layer, extra.name);
    const TensorInfo* info = checkpoint_->find(tensor);
    std::vector<int64_t> shape = extra_shape(extra.extra, layer);
    if (!is_vector(extra.extra) && info != nullptr && info->shape.empty()) shape.clear();
    if (shape.empty() || shape.front() > 0) claims.require(tensor, shape);
  }
  for (std::string_view buffer : names.ignored) claims.ignore(layer_name(layer, buffer));
}

void Loader::ignore_all(Claims& claims, std::string_view prefix) const {
  for (const TensorInfo& tensor : checkpoint_->tensors()) {
    if (tensor.name.starts_with(prefix)) claims.ignore(tensor.name);
  }
}

void Loader::check_tensors() {
  const Names& names = *spec_.family->names;
  Claims claims(*checkpoint_);
  claims.require(name(names.embed) + ".weight", {spec_.vocab, spec_.embed_dim});
  if (spec_.traits.positions == Positions::learned) {
    claims.require(name(names.positions) + ".weight",
                   {spec_.context + spec_.traits.position_offset, spec_.hidden});
  }
  if (!names.embed_norm.empty())
    claim_norm(claims, {{name(names.embed_norm)}, {spec_.hidden}}, Need::required);
  if (spec_.embed_dim != spec_.hidden) {
    claims.require(name(names.project_in) + ".weight", {spec_.hidden, spec_.embed_dim});
    claims.require(name(names.project_out) + ".weight", {spec_.embed_dim, spec_.hidden});
  }
  if (spec_.traits.final_norm == FinalNorm::yes && !names.final_norm.empty())
    claim_norm(claims, {{name(names.final_norm)}, {spec_.hidden}}, Need::required);
  claim_head(claims);
  for (int64_t i = 0; i < spec_.layers; ++i) claim_layer(claims, i);
  for (int64_t i = 0; i < spec_.skipped_layers; ++i) ignore_all(claims, layer_prefix(spec_.layers + i));
  if (!names.skipped.empty()) ignore_all(claims, names.skipped);
  claims.finish();
}

void Loader::find_overrides() {
  if (!quantization_ || quantization_->overrides.empty()) return;
  QuantConfig plain = *quantization_;
  plain.overrides.clear();
  ModuleRules rules(quantization_->overrides);
  const auto apply = [&](const StoredLinear& linear) {
    if (!linear.quantized) return;
    const ModuleOverride* found = rules.find(linear.full_name);
    // one that is to be skipped and is there quantized all the same: tensors win over labels
    if (found == nullptr || found->kind == ModuleOverride::Kind::skip) return;
    QuantConfig& labels = special_.emplace(linear.path, plain).first->second;
    labels.bits = found->bits.value_or(plain.bits);
    labels.group_size = found->group_size.value_or(plain.group_size);
    if (found->symmetric) labels.symmetry = *found->symmetric ? Symmetry::symmetric : Symmetry::asymmetric;
  };
  apply(head());
  for (const auto& layer : modules_) {
    for (const StoredLinear& linear : layer) apply(linear);
  }
}

const QuantConfig& Loader::labels_of(const std::string& module) const {
  const auto found = special_.find(module);
  return found == special_.end() ? *quantization_ : found->second;
}

QTensor Loader::quantized_weight(const std::string& module, int64_t in, int64_t out,
                                 const ParallelFor& parallel_for) const {
  return read_module(*checkpoint_, module, labels_of(module), in, out, parallel_for);
}

std::vector<StoredLinear> Loader::linears() const {
  std::vector<StoredLinear> result;
  for (const auto& layer : modules_) result.insert(result.end(), layer.begin(), layer.end());
  if (!tied_) result.push_back(head());
  return result;
}

}  // namespace gptq
