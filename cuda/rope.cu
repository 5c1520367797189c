// Rotary position embedding, and keys and values on their way into the cache.
#include "cuda/cache.cuh"
#include "cuda/elements.cuh"
#include "cuda/launch.cuh"

namespace gptq::cuda {
namespace {

constexpr int kThreads = 128;

/// Rotates the heads of one row: (a, b) -> (a cos - b sin, b cos + a sin) for each pair.
template <class T>
GPTQ_DEVICE void rotate_row(const RopeView& rope, int64_t row, T* heads, int64_t count, int64_t head_dim) {
  const int64_t half = rope.dim / 2;
  const int64_t step = rope.layout == RopeLayout::half ? 1 : 2,
                partner = rope.layout == RopeLayout::half ? half : 1;
  for (int64_t i = thread_x(); i < count * half; i += kThreads) {
    const int64_t pair = i % half;
    const float cos = rope.cos[row * half + pair], sin = rope.sin[row * half + pair];
    T* const at = heads + i / half * head_dim + rope.offset + pair * step;
    const float a = to_float(at[0]), b = to_float(at[partner]);
    at[0] = from_float<T>(a * cos - b * sin);
    at[partner] = from_float<T>(b * cos + a * sin);
  }
}

/// One position of all heads into a page, with zeros behind each head.
template <class T>
GPTQ_DEVICE void store_heads(const T* from, int64_t heads, int64_t dim, T* page, int64_t slot) {
  const int64_t pitch = cache_pitch(dim);
  for (int64_t i = thread_x(); i < heads * pitch; i += kThreads) {
    const int64_t head = i / pitch, c = i % pitch;
    page[(head * kPagePositions + slot) * pitch + c] = c < dim ? from[head * dim + c] : from_float<T>(0.0f);
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    rotate_rows(RopeView rope, T* x, int64_t heads, int64_t head_dim) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  rotate_row(rope, block_x(), x + int64_t{block_x()} * heads * head_dim, heads, head_dim);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    rotate_and_store(RopeView rope, const Row* rows, int64_t heads, T* q, T* k, const T* v, CacheView cache) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const int64_t row = block_x();
  T* const keys = k + row * cache.kv_heads * cache.key_dim;
  if (rope.dim > 0) {
    rotate_row(rope, row, q + row * heads * cache.key_dim, heads, cache.key_dim);
    rotate_row(rope, row, keys, cache.kv_heads, cache.key_dim);
    sync_threads();
  }
  const int64_t slot = rows[row].position % kPagePositions;
  store_heads(keys, cache.kv_heads, cache.key_dim, keys_of<T>(cache, rows[row], 0), slot);
  store_heads(v + row * cache.kv_heads * cache.value_dim, cache.kv_heads, cache.value_dim,
              values_of<T>(cache, rows[row], 0), slot);
}

}  // namespace

void rotate(const Queue& queue, Element element, const RopeView& rope, void* x, int64_t rows, int64_t heads,
            int64_t head_dim) {
  if (rope.dim == 0) return;
  with_element(element, [&](auto kind) {
    using T = decltype(kind);
    launch(queue, rotate_rows<T>, {.x = rows, .threads = kThreads}, rope, static_cast<T*>(x), heads,
           head_dim);
  });
}

void rope_store(const Queue& queue, Element element, const RopeView& rope, const Row* rows, int64_t count,
                int64_t heads, void* q, void* k, const void* v, const CacheView& cache) {
  with_element(element, [&](auto kind) {
    using T = decltype(kind);
    launch(queue, rotate_and_store<T>, {.x = count, .threads = kThreads}, rope, rows, heads,
           static_cast<T*>(q), static_cast<T*>(k), static_cast<const T*>(v), cache);
  });
}

}  // namespace gptq::cuda
