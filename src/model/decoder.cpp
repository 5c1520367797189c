#include "model/decoder.h"

#include <algorithm>
#include <cmath>

namespace gptq {
namespace {

/// 2^(-max i / n) for i = 1 .. n, n the next power of two. Where there are fewer heads than that, those of even i come
/// first (arXiv 2108.12409).
std::vector<float> alibi_slopes(const Spec& spec) {
  int64_t n = 1;
  while (n < spec.heads) n *= 2;
  std::vector<float> all, slopes;
  for (int64_t i = 1; i <= n; ++i)
    all.push_back(static_cast<float>(
        std::exp2(-spec.alibi_bias_max * static_cast<double>(i) / static_cast<double>(n))));
  if (n == spec.heads) return all;
  for (size_t first : {1, 0}) {
    for (size_t i = first; i < all.size(); i += 2) slopes.push_back(all[i]);
  }
  slopes.resize(static_cast<size_t>(spec.heads));
  return slopes;
}

/// Sine and cosine of XGLM: [sin | cos] of position * 10000^(-i / (half - 1)).
void write_sinusoid(int64_t position, int64_t hidden, float* out) {
  const int64_t half = hidden / 2;
  for (int64_t i = 0; i < half; ++i) {
    const auto step = static_cast<float>(std::log(10000.0) / static_cast<double>(half - 1));
    const float angle = static_cast<float>(position) * std::exp(-step * static_cast<float>(i));
    out[i] = std::sin(angle);
    out[half + i] = std::cos(angle);
  }
}

}  // namespace

Decoder::Decoder(const Spec& spec, const Backend& backend, Stream& stream, int64_t max_rows,
                 LayerRange layers)
    : spec_(spec),
      stream_(stream),
      max_rows_(max_rows),
      layers_(layers),
      element_bytes_(stream.element_bytes()),
      parts_(parts(spec)) {
  for (const RopeSpec& rope : spec.ropes) ropes_.emplace_back(rope);
  if (spec.traits.positions == Positions::alibi) {
    const std::vector<float> slopes = alibi_slopes(spec);
    slopes_ = backend.prepare_vector(float_tensor(slopes));
  }
  for (const Part& part : parts_) (this->*part.matrix).cols = part.cols;
  if (!stream.in_host_memory()) make_room(max_rows);
  x_.cols = h_.cols = g_.cols = out_.cols = spec.hidden;
}

DeltaParams Decoder::delta_params(const Spec& spec, const LayerSpec& layer) {
  return {.heads = layer.heads,
          .key_heads = layer.kv_heads,
          .key_dim = layer.key_dim,
          .value_dim = layer.value_dim,
          .kernel = spec.conv_kernel};
}

CacheLayer Decoder::cache_layer(const Spec& spec, int64_t index) {
  const LayerSpec& layer = spec.at(index);
  if (layer.mixer == Mixer::delta) return {.state = delta_params(spec, layer).state()};
  return {.kv_heads = layer.kv_heads, .key_dim = layer.key_dim, .value_dim = layer.value_dim};
}

CacheShape Decoder::cache_shape(int64_t sequences, KvElements elements) const {
  CacheShape shape{.layers = {}, .sequences = sequences, .elements = elements};
  for (int64_t i = layers_.first; i < layers_.end(); ++i) shape.layers.push_back(cache_layer(spec_, i));
  return shape;
}

void Decoder::begin(const Batch& batch) {
  logits_end_ = logits_begin_;
  rows_.assign(batch.rows.begin(), batch.rows.end());
  angles_.clear();
  for (Rope& rope : ropes_) angles_.push_back(rope.rows(rows_, batch.lengths));
  unread_ = batch.unread;
  owed_ = false;
  const auto rows = static_cast<int64_t>(batch.rows.size());
  make_room(rows);
  place_parts(rows);
}

void Decoder::embed(const Weights& weights, const Batch& batch) {
  if (weights.project_in) {
    const Matrix narrow = with_cols(out_, spec_.embed_dim);
    stream_.embed(*weights.embed, batch.tokens, narrow);
    stream_.linear(*weights.project_in, narrow, x_);
  } else {
    stream_.embed(*weights.embed, batch.tokens, x_);
  }
  if (spec_.embed_scale != 1.0) stream_.scale(x_, static_cast<float>(spec_.embed_scale));
  add_positions(weights);
  if (weights.embed_norm) norm(weights.embed_norm, x_, x_);
}

void Decoder::add_positions(const Weights& weights) {
  const Traits& traits = spec_.traits;
  if (traits.positions == Positions::learned) {
    std::vector<int32_t> positions;
    positions.reserve(rows_.size());
    for (const Row& row : rows_)
      positions.push_back(row.position + static_cast<int32_t>(traits.position_offset));
    stream_.embed(*weights.positions, positions, h_);
    stream_.add(x_, h_);
  }
  if (traits.positions == Positions::sinusoidal) {
    std::vector<float> waves(rows_.size() * static_cast<size_t>(spec_.hidden));
    for (size_t i = 0; i < rows_.size(); ++i)
      write_sinusoid(rows_[i].position + traits.position_offset, spec_.hidden,
                     waves.data() + i * static_cast<size_t>(spec_.hidden));
    stream_.upload(waves.data(), h_);
    stream_.add(x_, h_);
  }
}

Norm Decoder::norm_kind(const Spec& spec) {
  const bool rms = spec.traits.norm == NormKind::rms || spec.traits.norm == NormKind::rms_plus_one;
  return rms ? Norm::rms : Norm::layer;
}

void Decoder::norm(const NormWeights& weights, Matrix x, Matrix out) {
  stream_.norm(norm_kind(spec_), x, *weights.weight, weights.bias.get(), static_cast<float>(spec_.norm_eps),
               out);
}

/// As norm(), of what x is with what it is owed.
void Decoder::norm_stream(const NormWeights& weights, Matrix x, Matrix out) {
  if (!owed_) return norm(weights, x, out);
  owed_ = false;
  stream_.add_norm(x, out_, static_cast<float>(spec_.residual_scale), norm_kind(spec_), *weights.weight,
                   weights.bias.get(), static_cast<float>(spec_.norm_eps), out);
}

void Decoder::pay() {
  if (owed_) stream_.add(x_, out_, static_cast<float>(spec_.residual_scale));
  owed_ = false;
}

Matrix Decoder::attention_input(const Layer& layer) {
  const bool before = spec_.traits.flow != Flow::post && layer.norm(NormPlace::attention);
  before ? norm_stream(layer.norm(NormPlace::attention), x_, h_) : pay();
  const Matrix input = before ? h_ : x_;
  attention_in_ = input;
  if (spec_.traits.flow == Flow::parallel) {
    mlp_in_ = input;
    if (layer.norm(NormPlace::mlp)) {
      norm(layer.norm(NormPlace::mlp), x_, g_);
      mlp_in_ = g_;
    }
  }
  return input;
}

Matrix Decoder::attention_mixed(int64_t index) const { return with_cols(a_, spec_.at(index).mixed()); }

Matrix Decoder::mlp_mixed(int64_t index) const { return with_cols(gate_, spec_.at(index).intermediate); }

/// out_, what a half of the layer has computed, joins the residual stream.
void Decoder::join(const NormWeights& behind, const NormWeights& own) {
  if (behind) norm(behind, out_, out_);
  owed_ = true;
  if (spec_.traits.flow == Flow::post) norm_stream(own, x_, x_);
}

void Decoder::attention_output(const Layer& layer, int64_t index) {
  leave_attention(layer, index);
  pay();
}

void Decoder::leave_attention(const Layer& layer, int64_t index) {
  stream_.linear(layer.linear(Role::o), attention_mixed(index), out_);
  join(layer.norm(NormPlace::attention_out), layer.norm(NormPlace::attention));
}

Matrix Decoder::mlp_input(const Layer& layer) {
  if (spec_.traits.flow != Flow::parallel) {
    const bool before = spec_.traits.flow != Flow::post && layer.norm(NormPlace::mlp);
    before ? norm_stream(layer.norm(NormPlace::mlp), x_, h_) : pay();
    mlp_in_ = before ? h_ : x_;
  }
  if (!layer.experts.empty()) send_to_experts(layer);
  return mlp_in_;
}

void Decoder::send_to_experts(const Layer& layer) {
  scores_.cols = static_cast<int64_t>(layer.experts.size());
  stream_.linear(layer.linear(Role::router), mlp_in_, scores_);
  RouterParams params = spec_.router;
  params.choice_bias = layer.extra(Extra::choice_bias);
  stream_.route(params, scores_, routing_);
  routed_ = with(routed_, routing_.entries, spec_.hidden);
  stream_.gather(mlp_in_, routing_, routed_);
  if (spec_.traits.weighed == Weighed::inputs) stream_.weigh(routed_, routing_);
}

Matrix Decoder::rows_of(Matrix sorted, int64_t expert) {
  stream_.fetch(routing_);
  const Matrix rows = from(sorted, routing_.first(expert));
  return with(rows, routing_.count(expert), rows.cols);
}

/// out = act(gate in) * up in, or act(up in) without a gate
void Decoder::mix(const Activation& act, const Linear* gate, const Linear& up, Matrix in, Matrix beside,
                  Matrix out) {
  if (gate == nullptr) {
    stream_.linear(up, in, beside);
    return stream_.activate(act, beside, nullptr, out);
  }
  const Projection both[] = {{gate, out}, {&up, beside}};
  stream_.linears(in, both);
  stream_.activate(act, out, &beside, out);
}

Matrix Decoder::mlp_mix(const Layer& layer, int64_t index) {
  const LayerSpec& shape = spec_.at(index);
  const Matrix mixed = mlp_mixed(index);
  const auto gate = static_cast<size_t>(Role::gate), up = static_cast<size_t>(Role::up);
  if (layer.linears[up])
    mix(layer.act, layer.linears[gate].get(), *layer.linears[up], mlp_in_, with_cols(up_, mixed.cols), mixed);
  if (shape.experts > 0) mix_experts(layer, shape.expert_intermediate);
  return mixed;
}

std::vector<const Linear*> Decoder::of_experts(const Layer& layer, Role role) {
  std::vector<const Linear*> linears;
  linears.reserve(layer.experts.size());
  for (const auto& expert : layer.experts) linears.push_back(expert[static_cast<size_t>(role)].get());
  return linears;
}

/// As mix(), each expert for its rows.
void Decoder::mix_experts(const Layer& layer, int64_t intermediate) {
  expert_gate_ = with(expert_gate_, routed_.rows, intermediate);
  expert_up_ = with(expert_up_, routed_.rows, intermediate);
  const auto gates = of_experts(layer, Role::expert_gate), ups = of_experts(layer, Role::expert_up);
  const PartsProjection both[] = {{gates, expert_gate_}, {ups, expert_up_}};
  const bool gated = gates.front() != nullptr;
  stream_.linear_parts(routed_, routing_, std::span(both).subspan(gated ? 0 : 1));
  stream_.activate(layer.act, gated ? expert_gate_ : expert_up_, gated ? &expert_up_ : nullptr, expert_gate_);
}

void Decoder::mlp_output(const Layer& layer, int64_t index) {
  leave_mlp(layer, index);
  pay();
}

void Decoder::leave_mlp(const Layer& layer, int64_t index) {
  pay();  // out_ is wanted again
  if (spec_.at(index).intermediate > 0) {
    stream_.linear(layer.linear(Role::down), mlp_mixed(index), out_);
  } else {
    stream_.clear(out_);
  }
  if (!layer.experts.empty()) add_experts(layer);
  join(layer.norm(NormPlace::mlp_out), layer.norm(NormPlace::mlp));
  if (layer.scalar == 1.0) return;
  pay();
  stream_.scale(x_, static_cast<float>(layer.scalar));
}

void Decoder::add_experts(const Layer& layer) {
  if (const auto& shared = layer.linears[static_cast<size_t>(Role::shared)]) {
    const Matrix weight = with_cols(scores_, 1);
    stream_.linear(*shared, mlp_in_, weight);
    stream_.activate(Act::sigmoid, weight, nullptr, weight);
    stream_.scale_rows(out_, weight);
  }
  const auto downs = of_experts(layer, Role::expert_down);
  const PartsProjection down{downs, routed_};
  stream_.linear_parts(expert_gate_, routing_, {&down, 1});
  const Weigh weigh = spec_.traits.weighed == Weighed::outputs ? Weigh::yes : Weigh::no;
  stream_.scatter_add(out_, routing_, weigh, routed_);
}

Matrix Decoder::read_by(Input input, int64_t index, int64_t expert) {
  switch (input) {
    case Input::attention: return attention_in_;
    case Input::q_latent: return q_latent_;
    case Input::kv_latent: return kv_latent_;
    case Input::attention_out: return attention_mixed(index);
    case Input::mlp: return mlp_in_;
    case Input::expert: return rows_of(routed_, expert);
    case Input::mlp_out: return mlp_mixed(index);
    case Input::expert_out: return rows_of(expert_gate_, expert);
  }
  return {};
}

/// Of some rows of x, in h_ or out_.
Matrix Decoder::head_rows(const Weights& outer, Matrix x) {
  Matrix h = with(h_, x.rows, spec_.hidden);
  if (outer.final_norm) {
    norm_stream(outer.final_norm, x, h);
  } else if (spec_.head_scale != 1.0) {
    stream_.copy(x, h);  // which may be asked for again
  } else {
    h = x;
  }
  if (spec_.head_scale != 1.0) stream_.scale(h, static_cast<float>(spec_.head_scale));
  if (!outer.project_out) return h;
  const Matrix narrow = with(out_, x.rows, spec_.embed_dim);
  stream_.linear(*outer.project_out, h, narrow);
  return narrow;
}

Matrix Decoder::head_input(const Weights& outer) { return head_rows(outer, x_); }

void Decoder::run_layer(const Layer& layer, int64_t index, KvCache& cache, int64_t cache_layer) {
  attention_input(layer);
  attention_mix(layer, index, cache, cache_layer);
  if (x_.rows == 0) return;  // nobody reads any of them
  leave_attention(layer, index);
  mlp_input(layer);
  mlp_mix(layer, index);
  leave_mlp(layer, index);
}

void Decoder::forward(const Weights& weights, const Batch& batch, KvCache& cache, const float* before,
                      const RowLogits* wanted) {
  begin(batch);
  const bool begins = layers_.first == 0;
  // ahead of the step: a backend that gathers a step keeps what it reads of the host's memory, and has little room for that
  if (!begins) stream_.upload(before, x_);
  const Matrix all = x_, y = wanted != nullptr ? logits_memory(wanted->rows) : Matrix{};
  stream_.step(x_.rows, [&] {
    if (begins) embed(weights, batch);
    for (int64_t i = layers_.first; i < layers_.end(); ++i)
      run_layer(weights.layers[static_cast<size_t>(i)], i, cache, i - layers_.first);
    if (wanted == nullptr || x_.rows != wanted->rows || !weights.final_norm)
      pay();  // the norm of the head is not of all rows
    x_ = all;
    if (wanted == nullptr) return;
    run_head(weights, wanted->row, y);
    choose(*wanted, y);
  });
  if (wanted != nullptr) know_logits(wanted->row, wanted->rows);
}

Matrix Decoder::logits_memory(int64_t count) {
  if (logits_rows_ < count) {
    logits_ = stream_.allocate(static_cast<size_t>(count * spec_.vocab) * element_bytes_);
    logits_rows_ = count;
  }
  return {.data = logits_->data(), .rows = count, .cols = spec_.vocab};
}

/// y = logits of hidden rows from `begin` on
void Decoder::run_head(const Weights& weights, int64_t begin, Matrix y) {
  const Matrix x = with(from(x_, begin), y.rows, spec_.hidden);
  stream_.linear(*weights.head, head_rows(weights, x), y);
  if (spec_.logit_scale != 1.0) stream_.scale(y, static_cast<float>(spec_.logit_scale));
  if (spec_.logit_softcap > 0) stream_.softcap(y, static_cast<float>(spec_.logit_softcap));
}

void Decoder::know_logits(int64_t begin, int64_t count) noexcept {
  logits_begin_ = begin;
  logits_end_ = begin + count;
}

/// Logits of hidden rows [begin, begin + count), which stay there until the next of them are computed.
Matrix Decoder::head(const Weights& weights, int64_t begin, int64_t count) {
  if (begin >= logits_begin_ && begin + count <= logits_end_)
    return with(from(logits_memory(logits_end_ - logits_begin_), begin - logits_begin_), count, spec_.vocab);
  know_logits(begin, 0);
  const Matrix y = logits_memory(count);
  run_head(weights, begin, y);
  know_logits(begin, count);
  return y;
}

int64_t Decoder::most_logits() const {
  const size_t row_bytes = static_cast<size_t>(spec_.vocab) * element_bytes_;
  return std::max<int64_t>(1, static_cast<int64_t>(kLogitsBytes / row_bytes));
}

void Decoder::logits(const Weights& weights, int64_t begin, int64_t count, float* host) {
  const int64_t slice = std::min(count, most_logits());
  for (int64_t done = 0; done < count; done += slice)
    stream_.download(head(weights, begin + done, std::min(slice, count - done)), host + done * spec_.vocab);
}

void Decoder::logits_of(const Weights& weights, int64_t row, std::span<const int32_t> tokens,
                        std::span<float> host) {
  const auto most = static_cast<size_t>(room_ * spec_.hidden);  // that have room in h_
  for (size_t done = 0; done < tokens.size(); done += most) {
    const auto part = tokens.subspan(done, std::min(most, tokens.size() - done));
    const Matrix all = head(weights, row, 1), found = with(h_, static_cast<int64_t>(part.size()), 1);
    stream_.gather({all.data, spec_.vocab, 1}, part, found);
    stream_.download(found, host.data() + done);
  }
}

void Decoder::choose(const RowLogits& wanted, Matrix y) {
  if (!wanted.largest.empty())
    stream_.largest(y, static_cast<int64_t>(wanted.largest.size()) / wanted.rows, wanted.largest);
  if (!wanted.exp_sums.empty()) stream_.exp_sums(y, wanted.temperatures, wanted.exp_sums);
}

void Decoder::row_logits(const Weights& weights, const RowLogits& wanted) {
  choose(wanted, head(weights, wanted.row, wanted.rows));
}

void Decoder::download_hidden(int64_t begin, int64_t count, float* host) {
  stream_.download(with(from(x_, begin), count, x_.cols), host);
}

void Decoder::recall(const float* host) {
  owed_ = false;  // of a pass that was given up
  know_logits(0, 0);
  make_room(1);
  place_parts(1);
  stream_.upload(host, x_);
}

}  // namespace gptq
