// The largest elements of each row, in their order: pieces of the row are sorted, and the best of each are the rows of the next
// round, until one piece has them all.
//
//   row    [  piece  ][  piece  ][  piece  ] ...     a block sorts each and keeps the first `count` of it
//   keys   [count][count][count] ...                 of which there are fewer: pieces again
//
// A key (largest_of_key() reads it) has its element's place among all numbers in the upper half and its column, counted down,
// in the lower one: of two keys the greater one comes first, and no two are the same. 0 is no element's.
#include "cuda/elements.cuh"
#include "cuda/launch.cuh"

namespace gptq::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kPiece = 2 * kMostLargest;    // keys that are sorted in shared memory
constexpr int64_t kPieceOfBest = 8 * kThreads;  // where the best alone is wanted

GPTQ_DEVICE uint64_t key_of(float x, int64_t column) {
  const uint32_t bits = as_bits(x + 0.0f);  // -0 is 0
  const uint32_t place = x != x ? ~0u : (bits >> 31) != 0 ? ~bits : bits | 1u << 31;
  return uint64_t{place} << 32 | (~0u - static_cast<uint32_t>(column));
}
template <class T>
GPTQ_DEVICE uint64_t key_at(const T* row, int64_t column) {
  return key_of(to_float(row[column]), column);
}
GPTQ_DEVICE uint64_t key_at(const uint64_t* row, int64_t column) { return row[column]; }

/// Falling: runs of 2, 4, 8 ... keys, each made of two that are merged by exchanges over half, a quarter ... of it.
GPTQ_DEVICE void sort_piece(uint64_t* keys) {
  for (int run = 2; run <= kPiece; run *= 2) {
    for (int distance = run / 2; distance > 0; distance /= 2) {
      sync_threads();
      for (int i = thread_x(); i < kPiece / 2; i += kThreads) {
        const int low = (i & ~(distance - 1)) * 2 + (i & (distance - 1)), high = low + distance;
        const bool falls = (low & run) == 0;
        const uint64_t a = keys[low], b = keys[high];
        if ((a < b) == falls) {
          keys[low] = b;
          keys[high] = a;
        }
      }
    }
  }
  sync_threads();
}

/// out [rows][pieces][count]
template <class T>
__global__ void __launch_bounds__(kThreads)
    largest_of_piece(const T* x, int64_t cols, int64_t count, uint64_t* out) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  auto* const keys = reinterpret_cast<uint64_t*>(shared_memory());
  const T* const row = x + int64_t{block_y()} * cols;
  const int64_t first = int64_t{block_x()} * kPiece;
  for (int i = thread_x(); i < kPiece; i += kThreads) keys[i] = first + i < cols ? key_at(row, first + i) : 0;
  sort_piece(keys);
  uint64_t* const to = out + (int64_t{block_y()} * grid_x() + block_x()) * count;
  for (int64_t i = thread_x(); i < count; i += kThreads) to[i] = keys[i];
}

GPTQ_DEVICE uint64_t greater(uint64_t a, uint64_t b) { return a > b ? a : b; }

/// out [rows][pieces]
template <class T>
__global__ void __launch_bounds__(kThreads) best_of_piece(const T* x, int64_t cols, uint64_t* out) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  auto* const of_warps = reinterpret_cast<uint64_t*>(shared_memory());
  const T* const row = x + int64_t{block_y()} * cols;
  const int64_t first = int64_t{block_x()} * kPieceOfBest;
  uint64_t best = 0;
  for (int64_t i = first + thread_x(); i < first + kPieceOfBest && i < cols; i += kThreads)
    best = greater(best, key_at(row, i));
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) {
    const uint64_t high = shuffle_xor(static_cast<uint32_t>(best >> 32), lanes),
                   low = shuffle_xor(static_cast<uint32_t>(best), lanes);
    best = greater(best, high << 32 | low);
  }
  if (lane_of_thread() == 0) of_warps[warp_of_thread()] = best;
  sync_threads();
  if (thread_x() > 0) return;
  for (int w = 1; w < kThreads / kWarp; ++w) best = greater(best, of_warps[w]);
  out[int64_t{block_y()} * grid_x() + block_x()] = best;
}

int64_t pieces_of(int64_t cols, int64_t count) { return divide_up(cols, count > 1 ? kPiece : kPieceOfBest); }

/// One round: the keys of each piece of the rows of x.
template <class T>
void launch_round(const Queue& queue, const T* x, int64_t rows, int64_t cols, int64_t count, uint64_t* out) {
  const int64_t pieces = pieces_of(cols, count);
  if (count > 1) {
    launch(queue, largest_of_piece<T>,
           {.x = pieces, .y = rows, .threads = kThreads, .shared_bytes = kPiece * sizeof(uint64_t)}, x, cols,
           count, out);
  } else {
    launch(queue, best_of_piece<T>,
           {.x = pieces, .y = rows, .threads = kThreads, .shared_bytes = kThreads / kWarp * sizeof(uint64_t)},
           x, cols, out);
  }
}

}  // namespace

size_t scratch_of_largest(int64_t rows, int64_t cols, int64_t count) {
  const int64_t first = pieces_of(cols, count) * count, second = pieces_of(first, count) * count;
  return static_cast<size_t>(rows * (first + second)) * sizeof(uint64_t);
}

const uint64_t* largest(const Queue& queue, Element element, const void* x, int64_t rows, int64_t cols,
                        int64_t count, void* scratch) {
  if (count > kMostLargest || count > cols)
    throw Error(Status::internal,
                cat("the ", count, " largest of ", cols, ", wanted at most ", kMostLargest));
  int64_t keys = pieces_of(cols, count) * count;
  auto *from = static_cast<uint64_t*>(scratch), *to = from + rows * keys;
  with_element(element, [&](auto kind) {
    using T = decltype(kind);
    launch_round(queue, static_cast<const T*>(x), rows, cols, count, from);
  });
  while (keys > count) {
    launch_round(queue, static_cast<const uint64_t*>(from), rows, keys, count, to);
    keys = pieces_of(keys, count) * count;
    std::swap(from, to);
  }
  return from;
}

}  // namespace gptq::cuda
