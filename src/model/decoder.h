// The forward pass, the one for all families. Every family runs through these lines.
//
// A layer is six steps, so that the quantizer can stop before any Linear and look at its input:
//
//   h = attention_input(x)     norm
//   a = attention_mix(h)       q, k, v, their norms, rotation, cache, softmax; or what else Mixer names
//   attention_output(a, x)     x += o(a)
//   h = mlp_input(x)           norm; where there are experts, which of them each row goes to
//   m = mlp_mix(h)             act(gate h) * up h
//   mlp_output(m, x)           x += down(m)
//
// A layer with experts has, beside or instead of the MLP of all rows, one for each expert, which reads its rows alone:
// these are sorted by expert, and what comes out is added up, weighed, in the places where they were.
//
// Latents (Mixer::latent) are a step within attention_mix(), which attention_latents() takes alone.
//
// Where attention and MLP stand side by side (Flow::parallel) the first step computes the MLP's input, too.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "model/rope.h"
#include "model/segment.h"
#include "model/spec.h"
#include "model/weights.h"

namespace gptq {

/// Tokens to go through one step, of one or many sequences. All spans have one entry per row.
struct Batch {
  std::span<const int32_t> tokens;
  std::span<const Row> rows;
  std::span<const int64_t> lengths;  // of each row's sequence once all tokens given with it are in (rope.h)
  /// Rows at the beginning whose hidden states nobody reads behind the last layer: they leave keys and values there, or a
  /// state, and hidden() has nothing of use for them.
  int64_t unread = 0;
};

/// What is wanted of the logits of some rows, one behind the other.
struct RowLogits {
  int64_t row = 0;  // the first
  int64_t rows = 1;
  std::span<Ranked> largest{};  // [rows, n] becomes the n largest of each (Stream::largest()); n may be 0
  std::span<const double> temperatures{};  // [rows]
  std::span<double> exp_sums{};            // empty, or [rows] becomes the sum over each (Stream::exp_sums())
};

/// Belongs to one session: its matrices are reused from step to step.
class Decoder {
 public:
  /// Rows of the largest batch, unless `max_rows` is given.
  static constexpr int64_t kMaxRows = 512;
  /// Of logits that are computed at a time, unless those of one row are more.
  static constexpr size_t kLogitsBytes = size_t{16} << 20;

  /// Of all layers.
  Decoder(const Spec& spec, const Backend& backend, Stream& stream, int64_t max_rows = kMaxRows)
      : Decoder(spec, backend, stream, max_rows, {0, spec.layers}) {}
  Decoder(const Spec& spec, const Backend& backend, Stream& stream, int64_t max_rows, LayerRange layers);

  int64_t max_rows() const { return max_rows_; }
  const LayerRange& layers() const { return layers_; }
  /// Of its matrices.
  static uint64_t workspace_bytes(const Spec& spec, int64_t rows, size_t element_bytes);
  /// What a layer keeps, and the cache of the decoder's layers for `sequences` sequences.
  static CacheLayer cache_layer(const Spec& spec, int64_t index);
  CacheShape cache_shape(int64_t sequences, KvElements elements = KvElements::automatic) const;

  /// Embeds the batch and runs the layers; the hidden states stay in hidden(). Layers that are not the first begin with
  /// what those before them left: `before` [rows, hidden] in host memory. Logits of at most most_logits() rows that are wanted
  /// of the last layer's states are computed in the same step; logits() has all of them then.
  void forward(const Weights& weights, const Batch& batch, KvCache& cache, const float* before = nullptr,
               const RowLogits* wanted = nullptr);
  Matrix hidden() const { return x_; }
  /// Logits of hidden rows [begin, begin + count) into host memory [count, vocab].
  void logits(const Weights& weights, int64_t begin, int64_t count, float* host);
  /// Of some tokens in a row, into host memory.
  void logits_of(const Weights& weights, int64_t row, std::span<const int32_t> tokens, std::span<float> host);
  /// Logits of rows are not computed again while they are among the last that were.
  void row_logits(const Weights& weights, const RowLogits& wanted);
  /// Of how many rows these are computed at a time at most.
  int64_t most_logits() const;
  /// Rows [begin, begin + count) of hidden() into host memory.
  void download_hidden(int64_t begin, int64_t count, float* host);
  /// hidden() of one row, out of host memory, to ask for its logits: as forward() with it left it.
  void recall(const float* host);
  /// Whether matrices of a large batch are in the host's memory, where others could use it. With rest() they go, hidden() among
  /// them, until the next forward() or recall().
  bool may_rest() const;
  void rest() noexcept;

  // The steps. begin() sets the batch's size and positions; rows of other matrices follow.
  void begin(const Batch& batch);
  void embed(const Weights& weights, const Batch& batch);
  void run_layer(const Layer& layer, int64_t index, KvCache& cache, int64_t cache_layer);
  Matrix attention_input(const Layer& layer);
  void attention_latents(const Layer& layer);
  /// Of a layer with a state once for each row, in the order of positions.
  Matrix attention_mix(const Layer& layer, int64_t index, KvCache& cache, int64_t cache_layer);
  void attention_output(const Layer& layer, int64_t index);
  Matrix mlp_input(const Layer& layer);
  Matrix mlp_mix(const Layer& layer, int64_t index);
  void mlp_output(const Layer& layer, int64_t index);
  /// What attention_mix() and mlp_mix() gave, or where it may be put instead of calling them.
  Matrix attention_mixed(int64_t index) const;
  Matrix mlp_mixed(int64_t index) const;
  /// What the Linears of an input read, once the step has been taken at which it comes up.
  Matrix read_by(Input input, int64_t index, int64_t expert);
  /// What the output head reads, behind the last layer.
  Matrix head_input(const Weights& outer);

 private:
  /// A matrix of room_ rows, and its columns: the most of any layer.
  struct Part {
    Matrix Decoder::*matrix;
    int64_t cols;
  };
  static std::vector<Part> parts(const Spec& spec);
  size_t bytes_of(const Part& part, int64_t rows) const;
  size_t bytes_of_all(int64_t rows) const;
  void make_room(int64_t rows);
  static DeltaParams delta_params(const Spec& spec, const LayerSpec& layer);  // without the layer's vectors
  static Matrix with(Matrix m, int64_t rows, int64_t cols) { return {m.data, rows, cols}; }
  static Matrix with_cols(Matrix m, int64_t cols) { return {m.data, m.rows, cols}; }
  /// Without its rows before `first`.
  Matrix from(Matrix m, int64_t first) const {
    return {m.data + static_cast<size_t>(first * m.cols) * element_bytes_, m.rows - first, m.cols};
  }
  void place_parts(int64_t rows);
  void leave_unread(int64_t index);
  void add_positions(const Weights& weights);
  static Norm norm_kind(const Spec& spec);
  void norm(const NormWeights& weights, Matrix x, Matrix out);
  /// Of x, a part of the residual stream that has all rows there are of out_, while that is owed.
  void norm_stream(const NormWeights& weights, Matrix x, Matrix out);
  void pay();
  void leave_attention(const Layer& layer, int64_t index);
  void leave_mlp(const Layer& layer, int64_t index);
  void norm_heads(const NormWeights& weights, Matrix x, int64_t head_dim);
  void join(const NormWeights& behind, const NormWeights& own);
  void scale_by_position(Matrix q);
  void project(const Layer& layer, const LayerSpec& shape, RopeRows& angles, Matrix q, Matrix k, Matrix v);
  void project_latents(const Layer& layer, const LayerSpec& shape, RopeRows& angles, Matrix q, Matrix k,
                       Matrix v);
  void run_delta(const Layer& layer, const LayerSpec& shape, KvCache& cache, int64_t cache_layer, Matrix q,
                 Matrix k, Matrix v, Matrix out);
  void attend(const Layer& layer, const LayerSpec& shape, KvCache& cache, int64_t cache_layer, Matrix q,
              Matrix out);
  void send_to_experts(const Layer& layer);
  void mix(const Activation& act, const Linear* gate, const Linear& up, Matrix in, Matrix beside, Matrix out);
  static std::vector<const Linear*> of_experts(const Layer& layer, Role role);
  void mix_experts(const Layer& layer, int64_t intermediate);
  void add_experts(const Layer& layer);
  Matrix rows_of(Matrix sorted, int64_t expert);
  Matrix head_rows(const Weights& outer, Matrix x);
  Matrix logits_memory(int64_t count);
  void know_logits(int64_t begin, int64_t count) noexcept;
  void run_head(const Weights& weights, int64_t begin, Matrix y);
  Matrix head(const Weights& weights, int64_t begin, int64_t count);
  void choose(const RowLogits& wanted, Matrix y);
  const Spec& spec_;
  Stream& stream_;
  std::vector<Rope> ropes_;
  std::unique_ptr<Vector> slopes_;  // of ALiBi
  int64_t max_rows_;
  int64_t room_ = 0;  // rows that workspace_ is for
  LayerRange layers_;
  size_t element_bytes_;
  std::vector<Part> parts_;
  std::unique_ptr<Memory> workspace_;
  std::vector<Row> rows_;
  int64_t unread_ = 0;            // Batch::unread
  bool owed_ = false;             // to x_: out_, which the norm that comes next adds on its way
  std::vector<RopeRows> angles_;  // of ropes_
  // x the residual stream, h a norm of it, g what a parallel MLP reads
  Matrix x_, h_, g_, q_, k_, v_, a_, gate_, up_, out_;
  Matrix out_gate_, q_latent_, kv_latent_, k_rope_, k_plain_, beta_, decay_;  // as Role has them
  // rows sorted by expert; routed_ what experts read, and then what they give
  Matrix scores_, routed_, expert_gate_, expert_up_;
  Routing routing_;
  Matrix attention_in_, mlp_in_;  // what their Linears read: h, g, or x itself
  std::unique_ptr<Memory> logits_;
  int64_t logits_rows_ = 0;
  int64_t logits_begin_ = 0, logits_end_ = 0;  // the hidden rows whose logits are there
};

}  // namespace gptq
