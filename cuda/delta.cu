// The gated delta rule (DeltaParams in backend/backend.h says what it is). The convolution goes over channels, the state
// over heads and columns of values; both walk the rows of a run one after the other.
#include "cuda/elements.cuh"
#include "cuda/launch.cuh"

namespace gptq::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kColumns = kWarp, kParts = kThreads / kWarp;  // of values; of keys, one to a warp
constexpr float kLengthEps = 1e-6f;                         // on squared lengths of queries and keys

GPTQ_BOTH int64_t channels_of(const DeltaView& p) {
  return 2 * p.key_heads * p.key_dim + p.heads * p.value_dim;
}

/// What a delta rule is given, and what the convolution makes of it: y [rows, channels] in fp32, queries, keys and values one
/// behind the other.
template <class T>
struct Given {
  const T *q, *k, *v, *beta, *decay;
  float* y;

  bool operator==(const Given&) const = default;
};

/// A thread has a channel of a run: y = silu(sum_i conv[i] x_(r - kernel + 1 + i)). What is behind the run's end is kept in
/// `inputs`, and at its end in the state.
template <class T>
__global__ void __launch_bounds__(kThreads) convolve(DeltaView p, const DeltaRun* runs, Given<T> given) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const int64_t channel = int64_t{block_x()} * kThreads + thread_x(), channels = channels_of(p);
  if (channel >= channels) return;
  const DeltaRun run = runs[block_y()];
  const int64_t past = p.kernel - 1, keys = p.key_heads * p.key_dim;
  const int64_t cols = channel < 2 * keys ? keys : channels - 2 * keys;
  const T* const x = channel < keys       ? given.q + channel
                     : channel < 2 * keys ? given.k + channel - keys
                                          : given.v + channel - 2 * keys;
  float* const earlier = run.state + p.heads * p.key_dim * p.value_dim + channel;
  constexpr int kTaps = kMostDeltaKernel;
  float weights[kTaps], inputs[kTaps];  // of the last ones kernel are in use
#pragma unroll
  for (int i = 0; i < kTaps; ++i) {
    const int64_t tap = i - (kTaps - p.kernel), back = kTaps - 1 - i;  // rows before the current one
    weights[i] = tap >= 0 ? p.conv[channel * p.kernel + tap] : 0.0f;
    // those before the first row; the one of `back` moves down before it is used
    inputs[i] = back < past ? earlier[(run.position + past - 1 - back) % past * channels] : 0.0f;
  }
  for (int64_t r = run.first_row; r < run.first_row + run.rows; ++r) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kTaps; ++i) {
      inputs[i] = i + 1 < kTaps ? inputs[i + 1 < kTaps ? i + 1 : i] : to_float(x[r * cols]);
      sum += weights[i] * inputs[i];
    }
    given.y[r * channels + channel] = sum / (1.0f + expf(-sum));
  }
  const int64_t next = run.position + run.rows;
#pragma unroll
  for (int i = 0; i < kTaps; ++i) {
    const int64_t back = kTaps - 1 - i;
    if (back < past && next - 1 - back >= 0) earlier[(next - 1 - back) % past * channels] = inputs[i];
  }
}

/// A warp has a head of queries or keys of a row: x / |x|, queries also / sqrt(key_dim)
__global__ void __launch_bounds__(kWarp) normalize(DeltaView p, float* y) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const int64_t head = block_y(), dim = p.key_dim;
  float* const x = y + int64_t{block_x()} * channels_of(p) + head * dim;
  const float scale = head < p.key_heads ? 1.0f / sqrtf(static_cast<float>(dim)) : 1.0f;
  float squares = 0;
  for (int64_t i = lane_of_thread(); i < dim; i += kWarp) squares += x[i] * x[i];
  const float factor = scale / sqrtf(warp_sum(squares) + kLengthEps);
  for (int64_t i = lane_of_thread(); i < dim; i += kWarp) x[i] *= factor;
}

/// Sums of the warps for each column, added in order. `shared` [kParts][kColumns] is free again after the next barrier.
GPTQ_DEVICE float sum_of_parts(float x, float* shared) {
  shared[thread_x()] = x;
  sync_threads();
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kParts; ++i) sum += shared[i * kColumns + lane_of_thread()];
  return sum;
}

/// A block has 32 columns of the state of a head and a run in shared memory, a lane one of them; each warp has every
/// fourth key.
template <class T>
__global__ void __launch_bounds__(kThreads, 4)
    advance(DeltaView p, const DeltaRun* runs, Given<T> given, T* out) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const DeltaRun run = runs[block_z()];
  const int64_t head = block_y(), column = int64_t{block_x()} * kColumns + lane_of_thread();
  const int keys = static_cast<int>(p.key_dim), part = warp_of_thread(), lane = lane_of_thread();
  const bool there = column < p.value_dim;
  auto* const state =
      reinterpret_cast<float*>(shared_memory());  // [keys][kColumns], then k and q of a row, sums
  float* const key = state + keys * kColumns;
  float* const query = key + keys;
  float* const sums = query + keys;  // twice
  float* const kept_state = run.state + head * p.key_dim * p.value_dim + column;
  for (int i = part; i < keys; i += kParts)
    state[i * kColumns + lane] = there ? kept_state[i * p.value_dim] : 0.0f;
  const int64_t key_head = head / (p.heads / p.key_heads), channels = channels_of(p);
  const float rate = expf(p.a_log[head]), bias = p.dt_bias[head];
  for (int64_t r = run.first_row; r < run.first_row + run.rows; ++r) {
    sync_threads();  // the row before is done with k and q
    for (int i = thread_x(); i < keys; i += kThreads) {
      const float* const of_head = given.y + r * channels + key_head * p.key_dim + i;
      query[i] = of_head[0];
      key[i] = of_head[p.key_heads * p.key_dim];
    }
    const float x = to_float(given.decay[r * p.heads + head]) + bias;
    const float kept = expf(-rate * (x > 20.0f ? x : log1pf(expf(x))));
    const float write = 1.0f / (1.0f + expf(-to_float(given.beta[r * p.heads + head])));
    const float value = there ? given.y[(r + 1) * channels - (p.heads - head) * p.value_dim + column] : 0.0f;
    sync_threads();
    float known = 0;
    for (int i = part; i < keys; i += kParts) known += key[i] * (state[i * kColumns + lane] *= kept);
    const float change = write * (value - sum_of_parts(known, sums));
    float result = 0;
    for (int i = part; i < keys; i += kParts)
      result += query[i] * (state[i * kColumns + lane] += key[i] * change);
    result = sum_of_parts(result, sums + kThreads);
    if (there && part == 0) out[(r * p.heads + head) * p.value_dim + column] = from_float<T>(result);
  }
  for (int i = part; there && i < keys; i += kParts) kept_state[i * p.value_dim] = state[i * kColumns + lane];
}

}  // namespace

size_t scratch_of_delta(const DeltaView& p, int64_t rows) {
  return static_cast<size_t>(rows * channels_of(p)) * sizeof(float);
}

void delta_rule(const Queue& queue, Element element, const DeltaView& p, const DeltaRun* runs, int64_t count,
                int64_t rows, const void* q, const void* k, const void* v, const void* beta,
                const void* decay, void* scratch, void* out) {
  if (p.kernel > kMostDeltaKernel || p.key_dim > kMostDeltaKeyDim)
    throw Error(Status::unsupported,
                cat("a delta rule with a convolution of ", p.kernel, " and keys of ", p.key_dim));
  if (rows == 0) return;
  const auto floats = static_cast<size_t>(p.key_dim * (kColumns + 2) + 2 * kThreads);
  with_element(element, [&](auto kind) {
    using T = decltype(kind);
    const auto typed = [](const void* x) { return static_cast<const T*>(x); };
    const Given<T> given{typed(q),    typed(k),     typed(v),
                         typed(beta), typed(decay), static_cast<float*>(scratch)};
    launch(queue, convolve<T>, {.x = divide_up(channels_of(p), kThreads), .y = count, .threads = kThreads}, p,
           runs, given);
    launch(queue, normalize, {.x = rows, .y = 2 * p.key_heads, .threads = kWarp}, p, given.y);
    launch(queue, advance<T>,
           {.x = divide_up(p.value_dim, kColumns),
            .y = p.heads,
            .z = count,
            .threads = kThreads,
            .shared_bytes = floats * sizeof(float)},
           p, runs, given, static_cast<T*>(out));
  });
}

}  // namespace gptq::cuda
