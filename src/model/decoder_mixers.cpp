// How the tokens of a layer see each other: what Mixer names, between the norm before and the Linear behind.
#include <cmath>

#include "model/decoder.h"

namespace gptq {

/// Over each head of a row, or over all of them where the norm is as wide.
void Decoder::norm_heads(const NormWeights& weights, Matrix x, int64_t head_dim) {
  if (!weights) return;
  const int64_t width = spec_.traits.qk_norm == QkNorm::row ? x.cols : head_dim;
  const Matrix heads = with(x, x.rows * (x.cols / width), width);
  norm(weights, heads, heads);
}

Matrix Decoder::attention_mix(const Layer& layer, int64_t index, KvCache& cache, int64_t cache_layer) {
  const LayerSpec& shape = spec_.at(index);
  const Matrix q = with_cols(q_, shape.queries()), k = with_cols(k_, shape.keys()),
               v = with_cols(v_, shape.values());
  RopeRows angles = shape.rope < 0 || angles_.empty() ? RopeRows{} : angles_[static_cast<size_t>(shape.rope)];
  switch (shape.mixer) {
    case Mixer::attention: project(layer, shape, angles, q, k, v); break;
    case Mixer::latent: project_latents(layer, shape, angles, q, k, v); break;
    case Mixer::delta: run_delta(layer, shape, cache, cache_layer, q, k, v, attention_mixed(index)); break;
  }
  const bool attends = shape.mixer != Mixer::delta;
  if (attends) stream_.rope_store(angles, rows_, q, k, v, cache, cache_layer);
  if (index == spec_.layers - 1) leave_unread(index);
  const Matrix a = attention_mixed(index);
  if (a.rows == 0) return a;
  if (attends) attend(layer, shape, cache, cache_layer, from(q, q.rows - a.rows), a);
  if (layer.has(Role::out_gate)) {
    const Matrix gate = with_cols(out_gate_, a.cols);
    stream_.linear(layer.linear(Role::out_gate), attention_in_, gate);
    stream_.activate(shape.mixer == Mixer::delta ? Act::silu : Act::sigmoid, gate, &a, a);
  }
  return a;
}

/// The rows that nobody reads leave all that the steps to come read or write; but for some, where what is left would else not
/// begin at a multiple of 16 bytes, as kernels want it.
void Decoder::leave_unread(int64_t index) {
  constexpr int64_t kBytes = 16;
  int64_t first = unread_;
  for (const int64_t cols : {x_.cols, spec_.at(index).mixed(), spec_.at(index).queries()}) {
    if (cols * static_cast<int64_t>(element_bytes_) % kBytes != 0) first -= first % kBytes;
  }
  if (first == 0) return;
  const int64_t rows = x_.rows - first;
  const Matrix x = from(x_, first), mixed = from(attention_mixed(index), first);
  for (const Part& part : parts_) (this->*part.matrix).rows = rows;
  x_ = x;
  a_.data = mixed.data;
  attention_in_ = from(attention_in_, first);
  if (spec_.traits.flow == Flow::parallel) mlp_in_ = from(mlp_in_, first);
}

/// What rotates here is not to rotate again: `angles` becomes empty then.
void Decoder::project(const Layer& layer, const LayerSpec& shape, RopeRows& angles, Matrix q, Matrix k,
                      Matrix v) {
  const Traits& traits = spec_.traits;
  const Projection projections[] = {
      {&layer.linear(Role::q), q}, {&layer.linear(Role::k), k}, {&layer.linear(Role::v), v}};
  stream_.linears(attention_in_, projections);
  if (traits.qk_norm_time == QkNormTime::after_rope) {
    stream_.rotate(angles, q, shape.key_dim);
    stream_.rotate(angles, k, shape.key_dim);
    angles = {};
  }
  norm_heads(layer.norm(NormPlace::q), q, shape.key_dim);
  norm_heads(layer.norm(NormPlace::k), k, shape.key_dim);
  norm_heads(layer.norm(NormPlace::v), v, shape.value_dim);
  if (spec_.clip_qkv > 0) {
    for (Matrix m : {q, k, v}) stream_.clamp(m, static_cast<float>(spec_.clip_qkv));
  }
  if (shape.rope < 0 && spec_.temperature_scale > 0) scale_by_position(q);
}

void Decoder::attention_latents(const Layer& layer) {
  const auto narrow = [&](Role role, NormPlace place, Matrix latent) {
    stream_.linear(layer.linear(role), attention_in_, latent);
    stream_.norm(Norm::rms, latent, *layer.norm(place).weight, nullptr,
                 static_cast<float>(spec_.traits.latent_eps), latent);
  };
  if (layer.has(Role::q_a)) narrow(Role::q_a, NormPlace::q_latent, q_latent_);
  narrow(Role::kv_a, NormPlace::kv_latent, kv_latent_);
}

void Decoder::project_latents(const Layer& layer, const LayerSpec& shape, RopeRows& angles, Matrix q,
                              Matrix k, Matrix v) {
  attention_latents(layer);
  const bool narrow = layer.has(Role::q_b);
  stream_.linear(layer.linear(narrow ? Role::q_b : Role::q), narrow ? q_latent_ : attention_in_, q);
  stream_.linear(layer.linear(Role::k_rope), attention_in_, k_rope_);
  const Projection latent[] = {{&layer.linear(Role::k_b), k_plain_}, {&layer.linear(Role::v_b), v}};
  stream_.linears(kv_latent_, latent);
  stream_.rotate(angles, k_rope_, spec_.latent.rope_dim);
  angles.offset = spec_.latent.nope_dim;
  stream_.rotate(angles, q, shape.key_dim);
  angles = {};
  stream_.join_heads(k_plain_, k_rope_, shape.heads, k);
}

void Decoder::run_delta(const Layer& layer, const LayerSpec& shape, KvCache& cache, int64_t cache_layer,
                        Matrix q, Matrix k, Matrix v, Matrix out) {
  const Matrix beta = with_cols(beta_, shape.heads), decay = with_cols(decay_, shape.heads);
  const Projection projections[] = {{&layer.linear(Role::q), q},
                                    {&layer.linear(Role::k), k},
                                    {&layer.linear(Role::v), v},
                                    {&layer.linear(Role::beta), beta},
                                    {&layer.linear(Role::decay), decay}};
  stream_.linears(attention_in_, projections);
  DeltaParams params = delta_params(spec_, shape);
  params.conv = layer.extra(Extra::conv);
  params.a_log = layer.extra(Extra::a_log);
  params.dt_bias = layer.extra(Extra::dt_bias);
  stream_.delta_rule(params, rows_, q, k, v, beta, decay, cache, cache_layer, out);
  const Matrix heads = with(out, out.rows * shape.heads, shape.value_dim);
  stream_.norm(Norm::rms, heads, *layer.extra(Extra::out_norm), nullptr, static_cast<float>(spec_.norm_eps),
               heads);
}

/// Of the last rows of the batch, as many as q has.
void Decoder::attend(const Layer& layer, const LayerSpec& shape, KvCache& cache, int64_t cache_layer,
                     Matrix q, Matrix out) {
  const AttentionParams params{.heads = shape.heads,
                               .kv_heads = shape.kv_heads,
                               .key_dim = shape.key_dim,
                               .value_dim = shape.value_dim,
                               .scale = static_cast<float>(spec_.attention_scale),
                               .window = shape.window,
                               .chunk = shape.chunk,
                               .softcap = static_cast<float>(spec_.attention_softcap),
                               .slopes = slopes_.get(),
                               .sinks = layer.extra(Extra::sinks),
                               .slope_kind = spec_.traits.slopes,
                               .slope_factor = static_cast<float>(spec_.alibi_factor)};
  stream_.attention(params, std::span(rows_).last(static_cast<size_t>(q.rows)), q, cache, cache_layer, out);
}

void Decoder::scale_by_position(Matrix q) {
  std::vector<float> factors;
  for (const Row& row : rows_) {
    const double periods = std::floor((row.position + 1) / spec_.temperature_floor);
    factors.push_back(static_cast<float>(1 + spec_.temperature_scale * std::log1p(periods)));
  }
  stream_.scale_rows(q, factors);
}

}  // namespace gptq
