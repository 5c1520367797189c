// Sums of exp((x - m) / temperature) over rows, m the largest element: a block has a piece of a row, and sums it up as if it
// were all, in double; the host joins pieces (exp_sum_of_pieces()). Exponentials in double are few, and a sampler that has the
// sum by this one and one that has it by its own choose the same tokens.
#include <cmath>

#include "cuda/elements.cuh"
#include "cuda/launch.cuh"

namespace gptq::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;
constexpr int kOfThread = 8;  // elements
constexpr int64_t kPiece = kThreads * kOfThread;

GPTQ_BOTH float larger(float a, float b) { return a > b ? a : b; }

/// out [rows][pieces]
template <class T>
__global__ void __launch_bounds__(kThreads)
    exp_sums_of_pieces(const T* x, int64_t cols, const double* temperatures, ExpSum* out) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  auto* const sums = reinterpret_cast<double*>(shared_memory());  // [kWarps] of warps, as the next
  auto* const mosts = reinterpret_cast<float*>(sums + kWarps);
  const T* const row = x + int64_t{block_y()} * cols;
  const double temperature = temperatures[block_y()];
  const int64_t first = int64_t{block_x()} * kPiece + thread_x();
  float values[kOfThread], most = -INFINITY;
#pragma unroll
  for (int i = 0; i < kOfThread; ++i) {
    const int64_t column = first + int64_t{i} * kThreads;
    values[i] = column < cols ? to_float(row[column]) : -INFINITY;
    most = larger(values[i], most);
  }
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) most = larger(most, shuffle_xor(most, lanes));
  if (lane_of_thread() == 0) mosts[warp_of_thread()] = most;
  sync_threads();
  for (int w = 0; w < kWarps; ++w) most = larger(mosts[w], most);
  double sum = 0;
  if (most > -INFINITY) {
#pragma unroll
    for (int i = 0; i < kOfThread; ++i)
      sum += exp((static_cast<double>(values[i]) - static_cast<double>(most)) / temperature);
  }
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) sum += shuffle_xor(sum, lanes);
  if (lane_of_thread() == 0) sums[warp_of_thread()] = sum;
  sync_threads();
  if (thread_x() > 0) return;
  for (int w = 1; w < kWarps; ++w) sum += sums[w];
  out[int64_t{block_y()} * grid_x() + block_x()] = {sum, most};
}

}  // namespace

int64_t pieces_of_exp_sum(int64_t cols) { return divide_up(cols, kPiece); }

void exp_sums(const Queue& queue, Element element, const void* x, int64_t rows, int64_t cols,
              const double* temperatures, ExpSum* out) {
  with_element(element, [&](auto kind) {
    using T = decltype(kind);
    launch(queue, exp_sums_of_pieces<T>,
           {.x = pieces_of_exp_sum(cols),
            .y = rows,
            .threads = kThreads,
            .shared_bytes = kWarps * (sizeof(double) + sizeof(float))},
           static_cast<const T*>(x), cols, temperatures, out);
  });
}

double exp_sum_of_pieces(std::span<const ExpSum> pieces, double temperature) {
  float most = -INFINITY;
  for (const ExpSum& piece : pieces) most = larger(piece.most, most);
  double sum = 0;
  for (const ExpSum& piece : pieces) {
    if (piece.most > -INFINITY)
      sum +=
          piece.sum * std::exp((static_cast<double>(piece.most) - static_cast<double>(most)) / temperature);
  }
  return sum;
}

}  // namespace gptq::cuda
