// The loader's second half: tensors that were checked become weights on a backend.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/text.h"
#include "model/loader.h"

namespace gptq {
namespace {

/// Columns [begin, begin + count) of [rows, cols] as rows, element by element.
Tensor transposed(const Tensor& tensor, int64_t begin, int64_t count) {
  const int64_t rows = tensor.shape[0], cols = tensor.shape[1];
  const auto size = static_cast<size_t>(dtype_bits(tensor.dtype) / 8);
  std::byte* out = nullptr;
  Tensor result = make_tensor(tensor.dtype, {count, rows}, &out);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < count; ++c) {
      std::memcpy(out + static_cast<size_t>(c * rows + r) * size,
                  tensor.data + static_cast<size_t>(r * cols + begin + c) * size, size);
    }
  }
  return result;
}

ParallelFor threads_of(const Backend& backend) {
  return [&backend](int64_t count, int64_t grain, const auto& body) {
    backend.parallel_for(count, grain, body);
  };
}

bool adds_one(NormKind kind) { return kind == NormKind::rms_plus_one || kind == NormKind::layer_plus_one; }

}  // namespace

/// Elements of a tensor from `first` on; of one that is read, only these are.
Tensor Loader::part_of(const std::string& name, int64_t first, std::vector<int64_t> shape,
                       Access access) const {
  const TensorInfo* found = checkpoint_->find(name);
  if (found == nullptr) throw Error(Status::not_found, cat("no tensor ", quoted(name)));
  const TensorInfo& info = *found;
  const auto element = static_cast<size_t>(dtype_bits(info.dtype) / 8);
  Tensor part{.dtype = info.dtype, .shape = std::move(shape)};
  part.bytes = static_cast<size_t>(part.elements()) * element;
  const uint64_t offset = static_cast<uint64_t>(first) * element;
  if (access == Access::map) {
    const Tensor whole = checkpoint_->read(name, access);
    part.data = whole.data + offset;
    part.owner = whole.owner;
    return part;
  }
  std::byte* bytes = nullptr;
  part = make_tensor(info.dtype, part.shape, &bytes);
  checkpoint_->read_part(name, offset, {bytes, part.bytes});
  return part;
}

Tensor Loader::dense_weight(const StoredLinear& linear, Access access) const {
  const int64_t in = linear.in_features, out = linear.out_features, outputs = linear.outputs;
  if (linear.storage == Storage::in_out)
    return transposed(part_of(linear.weight, linear.first(), {in, outputs}, access), linear.first_output,
                      out);
  return part_of(linear.weight, linear.first() + linear.first_output * in, {out, in}, access);
}

std::optional<Tensor> Loader::bias(const StoredLinear& linear, Access access) const {
  if (!has(linear.bias)) return std::nullopt;
  return part_of(linear.bias, linear.first_bias(), {linear.out_features}, access);
}

Tensor Loader::dense_rows(const StoredLinear& linear, int64_t begin, int64_t count) const {
  const std::string& tensor = linear.weight;
  const TensorInfo* info = checkpoint_->find(tensor);
  if (info == nullptr) throw Error(Status::not_found, cat("no tensor ", quoted(tensor)));
  const int64_t cols = linear.in_features, output = linear.first_output + begin;
  if (linear.storage == Storage::out_in)
    return part_of(tensor, linear.first() + output * cols, {count, cols}, Access::read);
  std::byte* bytes = nullptr;
  const Tensor columns = make_tensor(info->dtype, {cols, count}, &bytes);  // [in, out]
  const size_t element = columns.bytes / static_cast<size_t>(cols * count);
  for (int64_t c = 0; c < cols; ++c) {
    const uint64_t from = static_cast<uint64_t>(linear.first() + c * linear.outputs + output) * element;
    const size_t part = static_cast<size_t>(count) * element;
    checkpoint_->read_part(tensor, from, {bytes + static_cast<size_t>(c) * part, part});
  }
  return transposed(columns, 0, count);
}

std::vector<float> Loader::floats(const std::vector<std::string>& stems, std::string_view suffix) const {
  std::vector<float> all;
  for (const std::string& stem : stems) {
    const std::vector<float> part = to_float(checkpoint_->read(cat(stem, suffix), Access::read));
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

/// None where an optional norm has no tensor.
NormWeights Loader::load_norm(const Backend& backend, const NormTensors& norm) const {
  NormWeights result;
  const std::string& first = norm.stems.front();
  if (!has(first + ".weight")) return result;
  std::vector<float> weight = floats(norm.stems, ".weight");
  if (adds_one(spec_.traits.norm)) {
    for (float& w : weight) w += 1.0f;
  }
  result.weight = backend.prepare_vector(float_tensor(weight));
  if (has(first + ".bias")) result.bias = backend.prepare_vector(float_tensor(floats(norm.stems, ".bias")));
  return result;
}

NormWeights Loader::plain_norm(const Backend& backend, int64_t size) {
  return {.weight = backend.prepare_vector(float_tensor(std::vector<float>(static_cast<size_t>(size), 1.0f))),
          .bias = nullptr};
}

std::shared_ptr<const Linear> Loader::load_table(const Backend& backend, const std::string& module,
                                                 Access access) const {
  std::optional<Tensor> bias;
  if (has(module + ".bias")) bias = checkpoint_->read(module + ".bias", Access::read);
  return backend.prepare(checkpoint_->read(module + ".weight", access), bias ? &*bias : nullptr);
}

Weights Loader::load_around(const OuterBackends& on, Access access) const {
  const Names& names = *spec_.family->names;
  Weights weights;
  if (spec_.traits.positions == Positions::learned)
    weights.positions = load_table(on.before, name(names.positions), access);
  if (!names.embed_norm.empty())
    weights.embed_norm = load_norm(on.before, {{name(names.embed_norm)}, {spec_.hidden}});
  if (spec_.embed_dim != spec_.hidden) {
    weights.project_in = load_table(on.before, name(names.project_in), access);
    weights.project_out = load_table(on.behind, name(names.project_out), access);
  }
  weights.final_norm = load_final_norm(on.behind);
  return weights;
}

std::shared_ptr<const Linear> Loader::rounded_head(const Backend& backend, int bits, Access access) const {
  const std::string module = tied_ ? name(spec_.family->names->embed) : head_name();
  std::optional<Tensor> bias;
  if (has(module + ".bias")) bias = checkpoint_->read(module + ".bias", Access::read);
  const Tensor weight = checkpoint_->read(module + ".weight", access);
  return backend.prepare(round_to_nearest(weight, bits, kRoundedGroup), bias ? &*bias : nullptr);
}

Weights Loader::load_outer(const OuterBackends& on, Access access, int head_bits) const {
  Weights weights = load_around(on, access);
  const std::string embed = name(spec_.family->names->embed);
  weights.embed = load_table(on.before, embed, access);
  if (head_bits != 0 && (tied_ || !head().quantized)) {
    weights.head = rounded_head(on.behind, head_bits, access);
  } else if (tied_) {
    weights.head = &on.before == &on.behind ? weights.embed : load_table(on.behind, embed, access);
  } else if (const StoredLinear linear = head(); linear.quantized) {
    const std::optional<Tensor> bias_tensor = bias(linear, Access::read);
    weights.head = on.behind.prepare(
        quantized_weight(linear.path, linear.in_features, linear.out_features, threads_of(on.behind)),
        bias_tensor ? &*bias_tensor : nullptr);
  } else {
    weights.head = load_table(on.behind, linear.path, access);
  }
  return weights;
}

std::shared_ptr<const Linear> Loader::load_embedding(const Backend& backend,
                                                     std::span<const int32_t> ids) const {
  const std::string tensor = name(spec_.family->names->embed) + ".weight";
  std::byte* rows = nullptr;
  const Tensor table = make_tensor(checkpoint_->find(tensor)->dtype,
                                   {static_cast<int64_t>(ids.size()), spec_.embed_dim}, &rows);
  const size_t row_bytes = ids.empty() ? 0 : table.bytes / ids.size();
  for (size_t i = 0; i < ids.size(); ++i) {
    checkpoint_->read_part(tensor, static_cast<uint64_t>(ids[i]) * row_bytes,
                           {rows + i * row_bytes, row_bytes});
  }
  return backend.prepare(table, nullptr);
}

NormWeights Loader::load_final_norm(const Backend& backend) const {
  if (spec_.traits.final_norm == FinalNorm::no) return {};
  const std::string_view norm = spec_.family->names->final_norm;
  return norm.empty() ? plain_norm(backend, spec_.hidden)
                      : load_norm(backend, {{name(norm)}, {spec_.hidden}});
}

void Loader::load_module(const Backend& backend, const StoredLinear& linear, Access access,
                         Layer& into) const {
  const std::optional<Tensor> bias_tensor = bias(linear, Access::read);
  const Tensor* bias_pointer = bias_tensor ? &*bias_tensor : nullptr;
  if (linear.quantized) {
    const QTensor q =
        quantized_weight(linear.path, linear.in_features, linear.out_features, threads_of(backend));
    set_module(into, backend, spec_, linear, q, bias_pointer);
  } else {
    set_module(into, backend, spec_, linear, dense_weight(linear, access), bias_pointer);
  }
}

void Loader::load_extras(const Backend& backend, int64_t index, Layer& into) const {
  const auto softplus = [](float x) { return std::log1p(std::exp(x)); };
  std::array<float, kExtras> values{};
  for (const ExtraName& extra : spec_.family->names->extras) {
    const std::string name = layer_name(index, extra.name);
    if (!has(name)) continue;  // of experts, in a layer that has none
    const std::vector<float> all = to_float(checkpoint_->read(name, Access::read));
    values[static_cast<size_t>(extra.extra)] = all.front();
    if (is_vector(extra.extra))
      into.extras[static_cast<size_t>(extra.extra)] = backend.prepare_vector(float_tensor(all));
  }
  const auto value = [&](Extra extra) { return values[static_cast<size_t>(extra)]; };
  into.act = spec_.act;
  const auto& extras = spec_.family->names->extras;
  const bool scaled = std::any_of(extras.begin(), extras.end(),
                                  [](const ExtraName& extra) { return extra.extra == Extra::scalar; });
  if (scaled) into.scalar = static_cast<double>(value(Extra::scalar));
  if (spec_.act.act != Act::xielu) return;
  into.act.c = value(Extra::act_beta);
  into.act.d = value(Extra::act_eps);
  into.act.a = softplus(value(Extra::alpha_p));
  into.act.a_negative = into.act.c + softplus(value(Extra::alpha_n));
}

Layer Loader::load_layer(const Backend& backend, int64_t index, Access access,
                         const std::function<void()>& check) const {
  Layer result;
  result.experts.resize(static_cast<size_t>(spec_.at(index).experts));
  for (const NormName& norm : spec_.family->names->norms) {
    const NormTensors tensors = layer_norm_tensors(index, norm);
    NormWeights& place = result.norms[static_cast<size_t>(norm.place)];
    if (place || tensors.shape.back() == 0 ||
        (norm.need == Need::where_rotating &&
         (spec_.at(index).rope < 0 || spec_.traits.qk_norm == QkNorm::none)))
      continue;
    place = norm.name.empty() ? plain_norm(backend, tensors.shape.back()) : load_norm(backend, tensors);
  }
  for (const StoredLinear& linear : modules(index)) {
    check();
    load_module(backend, linear, access, result);
  }
  load_extras(backend, index, result);
  return result;
}

}  // namespace gptq
