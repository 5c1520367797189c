#include "model/decoder.h"

#include <algorithm>
#include <array>

namespace gptq {
namespace {

constexpr size_t kAlignment = 64;

size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

/// Of x, h, q, k, v, a, gate, up, out.
std::array<int64_t, 9> matrix_columns(const Spec& spec) {
  const int64_t query = spec.heads * spec.head_dim, key = spec.kv_heads * spec.head_dim;
  return {spec.hidden,       spec.hidden,       query,      key, key, query,
          spec.intermediate, spec.intermediate, spec.hidden};
}

Matrix first_rows(Matrix m, int64_t rows) { return {.data = m.data, .rows = rows, .cols = m.cols}; }

}  // namespace

Decoder::Decoder(const Spec& spec, Stream& stream, int64_t max_rows)
    : spec_(spec),
      stream_(stream),
      rope_(spec.rope),
      max_rows_(max_rows),
      element_bytes_(stream.element_bytes()) {
  const auto cols = matrix_columns(spec);
  Matrix* const matrices[] = {&x_, &h_, &q_, &k_, &v_, &a_, &gate_, &up_, &out_};
  size_t bytes = 0;
  for (int64_t c : cols) bytes += aligned(static_cast<size_t>(max_rows * c) * element_bytes_);
  workspace_ = stream.allocate(bytes);
  for (size_t i = 0; i < std::size(cols); ++i)
    *matrices[i] = {.data = take(cols[i]), .rows = 0, .cols = cols[i]};
}

uint64_t Decoder::workspace_bytes(const Spec& spec, int64_t rows, size_t element_bytes) {
  uint64_t bytes = 0;
  for (int64_t cols : matrix_columns(spec)) bytes += static_cast<uint64_t>(rows * cols) * element_bytes;
  return bytes;
}

std::byte* Decoder::take(int64_t cols) {
  std::byte* const part = workspace_->data() + taken_;
  taken_ += aligned(static_cast<size_t>(max_rows_ * cols) * element_bytes_);
  return part;
}

CacheShape Decoder::cache_shape(int64_t layers, int64_t sequences) const {
  return {.layers = layers,
          .kv_heads = spec_.kv_heads,
          .key_dim = spec_.head_dim,
          .value_dim = spec_.head_dim,
          .sequences = sequences};
}

void Decoder::begin(const Batch& batch) {
  rows_.assign(batch.rows.begin(), batch.rows.end());
  if (spec_.family->positions == Positions::rope) angles_ = rope_.rows(rows_, batch.lengths);
  const auto rows = static_cast<int64_t>(batch.rows.size());
  for (Matrix* m : {&x_, &h_, &q_, &k_, &v_, &a_, &gate_, &up_, &out_}) m->rows = rows;
}

void Decoder::embed(const Weights& weights, const Batch& batch) {
  stream_.embed(*weights.embed, batch.tokens, x_);
  if (spec_.family->positions != Positions::learned) return;
  std::vector<int32_t> positions;
  positions.reserve(batch.rows.size());
  for (const Row& row : batch.rows) positions.push_back(row.position);
  stream_.embed(*weights.positions, positions, h_);
  stream_.add(x_, h_);
}

void Decoder::norm(const NormWeights& weights, Matrix x, Matrix out) {
  stream_.norm(spec_.family->norm, x, *weights.weight, weights.bias.get(), static_cast<float>(spec_.norm_eps),
               out);
}

Matrix Decoder::attention_input(const Layer& layer) {
  norm(layer.attention_norm, x_, h_);
  return h_;
}

Matrix Decoder::attention_mix(const Layer& layer, int64_t index, KvCache& cache, int64_t cache_layer) {
  stream_.linear(layer.linear(Role::q), h_, q_);
  stream_.linear(layer.linear(Role::k), h_, k_);
  stream_.linear(layer.linear(Role::v), h_, v_);
  stream_.rope_store(angles_, rows_, q_, k_, v_, cache, cache_layer);
  const AttentionParams params{.heads = spec_.heads,
                               .kv_heads = spec_.kv_heads,
                               .key_dim = spec_.head_dim,
                               .value_dim = spec_.head_dim,
                               .scale = static_cast<float>(spec_.attention_scale),
                               .window = spec_.window[static_cast<size_t>(index)]};
  stream_.attention(params, rows_, q_, cache, cache_layer, a_);
  return a_;
}

void Decoder::attention_output(const Layer& layer) {
  stream_.linear(layer.linear(Role::o), a_, out_);
  stream_.add(x_, out_);
}

Matrix Decoder::mlp_input(const Layer& layer) {
  norm(layer.mlp_norm, x_, h_);
  return h_;
}

Matrix Decoder::mlp_mix(const Layer& layer) {
  stream_.linear(layer.linear(Role::up), h_, up_);
  if (spec_.family->mlp == Mlp::plain) {
    stream_.activate(spec_.act, up_, nullptr, gate_);
  } else {
    stream_.linear(layer.linear(Role::gate), h_, gate_);
    stream_.activate(spec_.act, gate_, &up_, gate_);
  }
  return gate_;
}

void Decoder::mlp_output(const Layer& layer) {
  stream_.linear(layer.linear(Role::down), gate_, out_);
  stream_.add(x_, out_);
}

Matrix Decoder::head_input(const NormWeights& final_norm) {
  norm(final_norm, x_, h_);
  return h_;
}

void Decoder::run_layer(const Layer& layer, int64_t index, KvCache& cache, int64_t cache_layer) {
  attention_input(layer);
  attention_mix(layer, index, cache, cache_layer);
  attention_output(layer);
  mlp_input(layer);
  mlp_mix(layer);
  mlp_output(layer);
}

void Decoder::forward(const Weights& weights, const Batch& batch, KvCache& cache) {
  begin(batch);
  embed(weights, batch);
  for (int64_t i = 0; i < spec_.layers; ++i) run_layer(weights.layers[static_cast<size_t>(i)], i, cache, i);
}

void Decoder::logits(const Weights& weights, int64_t begin, int64_t count, float* host) {
  constexpr size_t kSliceBytes = size_t{16} << 20;
  const size_t row_bytes = static_cast<size_t>(spec_.vocab) * element_bytes_;
  const auto slice = std::min(count, std::max<int64_t>(1, static_cast<int64_t>(kSliceBytes / row_bytes)));
  if (logits_rows_ < slice) {
    logits_ = stream_.allocate(static_cast<size_t>(slice) * row_bytes);
    logits_rows_ = slice;
  }
  const size_t hidden_bytes = static_cast<size_t>(spec_.hidden) * element_bytes_;
  for (int64_t done = 0; done < count; done += slice) {
    const int64_t rows = std::min(slice, count - done);
    const Matrix x{.data = x_.data + static_cast<size_t>(begin + done) * hidden_bytes,
                   .rows = rows,
                   .cols = spec_.hidden};
    const Matrix h = first_rows(h_, rows);
    const Matrix y{.data = logits_->data(), .rows = rows, .cols = spec_.vocab};
    norm(weights.final_norm, x, h);
    stream_.linear(*weights.head, h, y);
    stream_.download(y, host + done * spec_.vocab);
  }
}

}  // namespace gptq
