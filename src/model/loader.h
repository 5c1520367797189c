// A model folder as parts: which tensors it must have, and each of them prepared for a backend.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "backend/backend.h"
#include "base/parallel.h"
#include "format/checkpoint.h"
#include "format/quant_config.h"
#include "model/spec.h"
#include "model/weights.h"

namespace gptq {

class Claims;

/// Where the parts are that are no layer's: what comes before the first layer, and what comes behind the last.
struct OuterBackends {
  const Backend &before, &behind;

  OuterBackends(const Backend& both) : before(both), behind(both) {}  // NOLINT: one device is both
  OuterBackends(const Backend& first, const Backend& last) : before(first), behind(last) {}
};

/// Opening checks everything that can be known without reading weights: each tensor of the files is one that the
/// architecture has, of its shape and a fitting type; none is missing. So a load fails before it starts.
class Loader {
 public:
  /// Inputs of a group of a head that is rounded.
  static constexpr int64_t kRoundedGroup = 128;

  explicit Loader(const fs::path& folder);
  ~Loader();

  const Spec& spec() const { return spec_; }
  const fs::path& folder() const { return folder_; }
  const Checkpoint& checkpoint() const { return *checkpoint_; }
  const std::optional<QuantConfig>& quantization() const { return quantization_; }
  bool tied() const { return tied_; }
  /// Name of the output head's Linear on disk: "lm_head". Its weight, where it is not tied, is [vocab, embed_dim] in all
  /// families.
  std::string head_name() const { return std::string(spec_.family->names->head); }
  StoredLinear head() const;

  /// What names of the files begin with: the family's base, or nothing.
  const std::string& base() const { return base_; }
  /// What the names of a layer's tensors begin with, "model.layers.3.", or those of all layers.
  std::string layer_prefix(int64_t layer) const { return layer_name(layer, ""); }
  std::string layers_prefix() const;
  /// True if the module is stored quantized.
  bool is_quantized(const std::string& module) const;

  /// Of a layer, in the order of what they read.
  std::span<const StoredLinear> modules(int64_t layer) const { return modules_[static_cast<size_t>(layer)]; }
  /// Those of all layers, and the output head unless it is tied.
  std::vector<StoredLinear> linears() const;

  /// Embedding, positions, final norm and head, without layers. A head that is not quantized is rounded to `head_bits`
  /// unless those are 0. One that is tied to the embedding is the same Linear, where both are on one backend.
  Weights load_outer(const OuterBackends& on, Access access, int head_bits = 0) const;
  /// Of load_outer(), all but the embedding and the head.
  Weights load_around(const OuterBackends& on, Access access) const;
  NormWeights load_final_norm(const Backend& backend) const;
  /// Row i of the table is that of token ids[i]. Only these are read.
  std::shared_ptr<const Linear> load_embedding(const Backend& backend, std::span<const int32_t> ids) const;
  /// `check` is called between modules; what it throws ends the loading.
  Layer load_layer(
      const Backend& backend, int64_t layer, Access access, const std::function<void()>& check = [] {}) const;

  /// A module's weight as [out_features, in_features] in its own element type, and its bias if there is one.
  Tensor dense_weight(const StoredLinear& linear, Access access) const;
  std::optional<Tensor> bias(const StoredLinear& linear, Access access) const;
  /// Rows [begin, begin + count) of it, [count, in_features]. Only these are read.
  Tensor dense_rows(const StoredLinear& linear, int64_t begin, int64_t count) const;
  /// Of one that is stored quantized.
  QTensor quantized_weight(const std::string& module, int64_t in, int64_t out,
                           const ParallelFor& parallel_for = serially) const;
  /// What the configuration says of it.
  const QuantConfig& labels_of(const std::string& module) const;

 private:
  std::string name(std::string_view suffix) const;  // with base
  std::string layer_name(int64_t layer, std::string_view suffix) const;
  /// The name that patterns of overrides are written for.
  std::string full_name(const std::string& module) const;
  void find_modules();
  void find_modules(int64_t layer);
  void check_tensors();
  void claim_layer(Claims& claims, int64_t layer) const;
  void claim_linear(Claims& claims, const StoredLinear& linear) const;
  void ignore_all(Claims& claims, std::string_view prefix) const;
  std::vector<int64_t> extra_shape(Extra extra, int64_t index) const;
  void claim_head(Claims& claims) const;
  /// The output head of 16 or 32 bits in fewer, its values to the nearest.
  std::shared_ptr<const Linear> rounded_head(const Backend& backend, int bits, Access access) const;
  /// The tensors of one norm, without ".weight", each of the same shape.
  struct NormTensors {
    std::vector<std::string> stems;
    std::vector<int64_t> shape;
  };
  NormTensors layer_norm_tensors(int64_t index, const NormName& norm) const;
  bool has_norm(int64_t layer, NormPlace place) const;
  void claim_norm(Claims& claims, const NormTensors& norm, Need need) const;
  void refuse_unlabelled(const std::string& module) const;
  void find_overrides();
  bool has(const std::string& tensor) const { return checkpoint_->find(tensor) != nullptr; }
  StoredLinear stored(const Module& module, int64_t layer, int64_t expert) const;
  bool stores(const Module& module, int64_t layer) const;
  Tensor part_of(const std::string& name, int64_t first, std::vector<int64_t> shape, Access access) const;
  std::vector<float> floats(const std::vector<std::string>& stems, std::string_view suffix) const;
  std::shared_ptr<const Linear> load_table(const Backend& backend, const std::string& module,
                                           Access access) const;
  NormWeights load_norm(const Backend& backend, const NormTensors& norm) const;
  static NormWeights plain_norm(const Backend& backend, int64_t size);
  void load_module(const Backend& backend, const StoredLinear& linear, Access access, Layer& into) const;
  void load_extras(const Backend& backend, int64_t index, Layer& into) const;

  fs::path folder_;
  Spec spec_;
  std::optional<QuantConfig> quantization_;
  std::unordered_map<std::string, QuantConfig> special_;  // of quantized modules that an override changes
  std::unique_ptr<Checkpoint> checkpoint_;
  std::string base_;
  bool tied_ = false;
  std::vector<std::vector<StoredLinear>> modules_;  // [layer]
};

}  // namespace gptq
