// The gated delta rule. The convolution goes over blocks of channels, the state over heads; both over sequences.
//
// A sequence's state: S of each head [key_dim][value_dim], then the last kernel - 1 inputs of the convolution
// [kernel - 1][channels], that of position p in row p mod (kernel - 1).
#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "cpu/kv_cache.h"
#include "cpu/stream_cpu.h"
#include "cpu/vector_cpu.h"

namespace gptq::cpu {
namespace {

constexpr int64_t kChannels = 64;    // of a block
constexpr float kLengthEps = 1e-6f;  // on squared lengths of queries and keys

/// Consecutive rows of one sequence.
struct Run {
  int64_t first = 0, rows = 0;
  int64_t position = 0;  // of the first
  float* state = nullptr;
};

struct Delta {
  const CpuStream& stream;
  const Kernels& kernels;
  const DeltaParams& p;

  float* history(const Run& run) const { return run.state + p.heads * p.key_dim * p.value_dim; }

  /// Channels [begin, end) of x, which are the convolution's from `channel` on.
  void convolve(const Run& run, Matrix x, int64_t channel, int64_t begin, int64_t end) const {
    const int64_t past = p.kernel - 1, n = end - begin;
    float* const earlier = history(run) + channel + begin;
    const float* const weights = values_of(*p.conv) + (channel + begin) * p.kernel;
    float sum[kChannels];
    for (int64_t r = 0; r < run.rows; ++r) {
      if (r % 64 == 63) stream.check_cancel();
      const int64_t position = run.position + r;
      float* const in = row(x, run.first + r) + begin;
      for (int64_t c = 0; c < n; ++c) sum[c] = weights[c * p.kernel + past] * in[c];
      for (int64_t back = 1; back <= past; ++back) {
        const float* const before = earlier + ((position + past - back) % past) * p.channels();
        for (int64_t c = 0; c < n; ++c) sum[c] += weights[c * p.kernel + past - back] * before[c];
      }
      if (past > 0) std::copy_n(in, n, earlier + (position % past) * p.channels());
      kernels.silu(sum, nullptr, n, in);
    }
  }

  /// x = scale x / |x|
  void normalize(float* x, float scale) const {
    float squares = 0;
    for (int64_t i = 0; i < p.key_dim; ++i) squares += x[i] * x[i];
    kernels.scale(scale / std::sqrt(squares + kLengthEps), p.key_dim, x);
  }

  /// All rows of a run for one head of values.
  void advance(const Run& run, int64_t head, Matrix q, Matrix k, Matrix v, Matrix beta, Matrix decay,
               Matrix out) const {
    const int64_t key = head / (p.heads / p.key_heads) * p.key_dim, value = head * p.value_dim;
    const float rate = std::exp(values_of(*p.a_log)[head]), bias = values_of(*p.dt_bias)[head];
    for (int64_t r = run.first; r < run.first + run.rows; ++r) {
      stream.check_cancel();
      const DeltaStep step{.keys = p.key_dim,
                           .values = p.value_dim,
                           .q = row(q, r) + key,
                           .k = row(k, r) + key,
                           .v = row(v, r) + value,
                           .kept = std::exp(-rate * softplus(row(decay, r)[head] + bias)),
                           .write = 1.0f / (1.0f + std::exp(-row(beta, r)[head]))};
      kernels.delta_step(step, run.state + head * p.key_dim * p.value_dim, row(out, r) + value);
    }
  }

  static float softplus(float x) { return x > 20.0f ? x : std::log1p(std::exp(x)); }
};

/// The state of a sequence must have seen all positions before its first row.
std::vector<Run> runs_of(std::span<const Row> rows, CpuKvCache& cache, int64_t layer) {
  std::vector<Run> runs;
  for (size_t i = 0; i < rows.size(); ++i) {
    const Row& r = rows[i];
    cache.require(r);
    const bool follows = i > 0 && rows[i - 1].sequence == r.sequence;
    if (!follows)
      runs.push_back({.first = static_cast<int64_t>(i),
                      .position = cache.state_positions(r.sequence, layer),
                      .state = cache.state(r.sequence, layer)});
    Run& run = runs.back();
    if (r.position != run.position + run.rows)
      throw Error(Status::internal, cat("position ", r.position, " of sequence ", r.sequence, ", wanted ",
                                        run.position + run.rows, ", the next of its state"));
    ++run.rows;
  }
  return runs;
}

}  // namespace

void CpuStream::delta_rule(const DeltaParams& params, std::span<const Row> rows, Matrix q, Matrix k, Matrix v,
                           Matrix beta, Matrix decay, KvCache& cache, int64_t layer, Matrix out) {
  auto& kept = static_cast<CpuKvCache&>(cache);
  const std::vector<Run> runs = runs_of(rows, kept, layer);
  const Delta delta{*this, kernels(), params};
  const auto count = static_cast<int64_t>(runs.size());
  // until all is done no position counts: a state that is given up half-way is no longer that of any
  for (const Run& run : runs) kept.state_positions(rows[static_cast<size_t>(run.first)].sequence, layer) = -1;
  int64_t channel = 0;
  for (const Matrix x : {q, k, v}) {
    const int64_t blocks = (x.cols + kChannels - 1) / kChannels;
    parallel_for(count * blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t first = i % blocks * kChannels;
        delta.convolve(runs[static_cast<size_t>(i / blocks)], x, channel, first,
                       std::min(first + kChannels, x.cols));
      }
    });
    channel += x.cols;
  }
  const float scale = 1.0f / std::sqrt(static_cast<float>(params.key_dim));
  parallel_for(q.rows * params.key_heads, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t at = i % params.key_heads * params.key_dim;
      delta.normalize(row(q, i / params.key_heads) + at, scale);
      delta.normalize(row(k, i / params.key_heads) + at, 1.0f);
    }
  });
  parallel_for(count * params.heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      delta.advance(runs[static_cast<size_t>(i / params.heads)], i % params.heads, q, k, v, beta, decay, out);
  });
  for (const Run& run : runs)
    kept.state_positions(rows[static_cast<size_t>(run.first)].sequence, layer) = run.position + run.rows;
}

}  // namespace gptq::cpu
