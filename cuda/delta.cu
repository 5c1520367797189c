// The gated delta rule (DeltaParams in backend/backend.h says what it is). The convolution goes over channels, the state
// over heads and columns of values; both walk the rows of a run one after the other.
#include "cuda/elements.cuh"
#include "cuda/launch.cuh"

namespace gptq::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kColumns = kWarp, kParts = kThreads / kWarp;  // of values; of keys, one to a warp
constexpr float kLengthEps = 1e-6f;                         // on squared lengths of queries and keys

GPTQ_DEVICE int64_t channels_of(const DeltaView& p) {
  return 2 * p.key_heads * p.key_dim + p.heads * p.value_dim;
}

/// A thread has a channel of a run: x becomes silu(sum_i conv[i] x_(r - kernel + 1 + i)). What is behind the run's end is
/// kept in `inputs`, and at its end in the state.
template <class T>
__global__ void __launch_bounds__(kThreads)
    convolve(DeltaView p, const DeltaRun* runs, T* x, int64_t cols, int64_t first_channel) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const int64_t column = int64_t{block_x()} * kThreads + thread_x();
  if (column >= cols) return;
  const DeltaRun run = runs[block_y()];
  const int64_t channel = first_channel + column, past = p.kernel - 1, channels = channels_of(p);
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
      inputs[i] = i + 1 < kTaps ? inputs[i + 1 < kTaps ? i + 1 : i] : to_float(x[r * cols + column]);
      sum += weights[i] * inputs[i];
    }
    x[r * cols + column] = from_float<T>(sum / (1.0f + expf(-sum)));
  }
  const int64_t next = run.position + run.rows;
#pragma unroll
  for (int i = 0; i < kTaps; ++i) {
    const int64_t back = kTaps - 1 - i;
    if (back < past && next - 1 - back >= 0) earlier[(next - 1 - back) % past * channels] = inputs[i];
  }
}

/// A warp has a head of a row: x = scale x / |x|
template <class T>
__global__ void __launch_bounds__(kWarp) normalize(T* x, int64_t dim, float scale) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  T* const head = x + int64_t{block_x()} * dim;
  float squares = 0;
  for (int64_t i = lane_of_thread(); i < dim; i += kWarp) squares += to_float(head[i]) * to_float(head[i]);
  const float factor = scale / sqrtf(warp_sum(squares) + kLengthEps);
  for (int64_t i = lane_of_thread(); i < dim; i += kWarp) head[i] = from_float<T>(to_float(head[i]) * factor);
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
    advance(DeltaView p, const DeltaRun* runs, const T* q, const T* k, const T* v, const T* beta,
            const T* decay, T* out) {
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
  const int64_t key_head = head / (p.heads / p.key_heads);
  const float rate = expf(p.a_log[head]), bias = p.dt_bias[head];
  for (int64_t r = run.first_row; r < run.first_row + run.rows; ++r) {
    sync_threads();  // the row before is done with k and q
    for (int i = thread_x(); i < keys; i += kThreads) {
      key[i] = to_float(k[(r * p.key_heads + key_head) * p.key_dim + i]);
      query[i] = to_float(q[(r * p.key_heads + key_head) * p.key_dim + i]);
    }
    const float x = to_float(decay[r * p.heads + head]) + bias;
    const float kept = expf(-rate * (x > 20.0f ? x : log1pf(expf(x))));
    const float write = 1.0f / (1.0f + expf(-to_float(beta[r * p.heads + head])));
    const float value = there ? to_float(v[(r * p.heads + head) * p.value_dim + column]) : 0.0f;
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

void delta_rule(const Queue& queue, Element element, const DeltaView& p, const DeltaRun* runs, int64_t count,
                int64_t rows, void* q, void* k, void* v, const void* beta, const void* decay, void* out) {
  if (p.kernel > kMostDeltaKernel || p.key_dim > kMostDeltaKeyDim)
    throw Error(Status::unsupported,
                cat("a delta rule with a convolution of ", p.kernel, " and keys of ", p.key_dim));
  if (rows == 0) return;
  const int64_t keys = p.key_heads * p.key_dim, values = p.heads * p.value_dim;
  const auto floats = static_cast<size_t>(p.key_dim * (kColumns + 2) + 2 * kThreads);
  with_element(element, [&](auto kind) {
    using T = decltype(kind);
    int64_t channel = 0;
    const auto convolve_part = [&](void* x, int64_t cols) {
      launch(queue, convolve<T>, {.x = divide_up(cols, kThreads), .y = count, .threads = kThreads}, p, runs,
             static_cast<T*>(x), cols, channel);
      channel += cols;
    };
    convolve_part(q, keys);
    convolve_part(k, keys);
    convolve_part(v, values);
    const float scale = 1.0f / sqrtf(static_cast<float>(p.key_dim));
    launch(queue, normalize<T>, {.x = rows * p.key_heads, .threads = kWarp}, static_cast<T*>(q), p.key_dim,
           scale);
    launch(queue, normalize<T>, {.x = rows * p.key_heads, .threads = kWarp}, static_cast<T*>(k), p.key_dim,
           1.0f);
    launch(queue, advance<T>,
           {.x = divide_up(p.value_dim, kColumns),
            .y = p.heads,
            .z = count,
            .threads = kThreads,
            .shared_bytes = floats * sizeof(float)},
           p, runs, static_cast<const T*>(q), static_cast<const T*>(k), static_cast<const T*>(v),
           static_cast<const T*>(beta), static_cast<const T*>(decay), static_cast<T*>(out));
  });
}

}  // namespace gptq::cuda
