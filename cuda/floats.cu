// Matrices of floats that the quantizer has: products of them, and Hessians in another order. 64 x 64 of a result to a block
// of threads, which reads 64 of the depth at a time into shared memory.
#include "cuda/blocks.cuh"
#include "cuda/launch.cuh"
#include "cuda/solve.h"

namespace gptq::cuda {
namespace {

constexpr int kThreads = kBlockThreads, kPitch = kBlockPitch;

/// 64 x 64 of an operand [rows, cols], from (row, col) on, into shared memory; zeros where there is none.
GPTQ_DEVICE void load_block(const FloatOperand& m, int64_t row, int64_t rows, int64_t col, int64_t cols,
                            float* to) {
  for (int t = thread_x(); t < kBlock * kBlock; t += kThreads) {
    // threads side by side read what lies side by side
    const bool turned = m.turned == Turned::yes;
    const int r = turned ? t % kBlock : t / kBlock, c = turned ? t / kBlock : t % kBlock;
    float value = 0;
    if (row + r < rows && col + c < cols) {
      const int64_t i = m.rows != nullptr ? m.rows[row + r] : row + r,
                    j = m.cols != nullptr ? m.cols[col + c] : col + c;
      value = turned ? m.data[j * m.pitch + i] : m.data[i * m.pitch + j];
    }
    to[r * kPitch + c] = value;
  }
}

__global__ void __launch_bounds__(kThreads) multiply_blocks_of(FloatProduct p) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  auto* const left = reinterpret_cast<float*>(shared_memory());
  float* const right = left + kBlock * kPitch;
  const int64_t row = int64_t{block_y()} * kBlock, col = int64_t{block_x()} * kBlock;
  int64_t begin = 0, end = p.depth;
  if (p.right_is == Triangle::upper && col + kBlock < end) end = col + kBlock;
  if (p.right_is == Triangle::lower) begin = col;
  if (p.wanted == Triangle::above && col + kBlock <= row) end = begin;
  BlockSums sums = {};
  for (int64_t k = begin; k < end; k += kBlock) {
    load_block(p.left, row, p.rows, k, p.depth, left);
    load_block(p.right, k, p.depth, col, p.cols, right);
    sync_threads();
    multiply_blocks(left, right, sums);
    sync_threads();
  }
  for_sums(sums, [&](int r, int c, float sum) {
    const int64_t i = row + r, j = col + c;
    if (i >= p.rows || j >= p.cols) return;
    float& out = p.out[i * p.pitch + j];
    const float before = p.onto == Onto::what_is_there ? out : 0.0f;
    out = p.wanted == Triangle::above && j <= i ? 0.0f : before + p.factor * sum;
  });
}

__global__ void __launch_bounds__(kThreads)
    add_rows_of(const float* from, int64_t cols, const int32_t* order, float factor, float* out) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const int64_t row = block_x(), i = int64_t{block_y()} * kThreads + thread_x();
  if (i < cols) out[row * cols + i] += factor * from[row * cols + order[i]];
}

__global__ void __launch_bounds__(kThreads)
    permute(const float* h, int64_t n, const int32_t* order, const float* diagonal_add, float* out) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const int64_t i = block_x(), j = int64_t{block_y()} * kThreads + thread_x();
  if (j >= n) return;
  const int64_t a = order[i], b = order[j];
  out[i * n + j] = h[(a < b ? a : b) * n + (a < b ? b : a)] + (i == j ? diagonal_add[i] : 0.0f);
}

__global__ void __launch_bounds__(kThreads) copy_diagonal(const float* h, int64_t n, float* out) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const int64_t i = int64_t{block_x()} * kThreads + thread_x();
  if (i < n) out[i] = h[i * n + i];
}

}  // namespace

void multiply_floats(const Queue& queue, const FloatProduct& p) {
  launch(queue, multiply_blocks_of,
         {.x = divide_up(p.cols, kBlock),
          .y = divide_up(p.rows, kBlock),
          .threads = kThreads,
          .shared_bytes = kTwoBlocks},
         p);
}

void add_rows(const Queue& queue, const float* from, int64_t rows, int64_t cols, const int32_t* order,
              float factor, float* out) {
  launch(queue, add_rows_of, {.x = rows, .y = divide_up(cols, kThreads), .threads = kThreads}, from, cols,
         order, factor, out);
}

void permute_hessian(const Queue& queue, const float* h, int64_t n, const int32_t* order,
                     const float* diagonal_add, float* out) {
  launch(queue, permute, {.x = n, .y = divide_up(n, kThreads), .threads = kThreads}, h, n, order,
         diagonal_add, out);
}

void diagonal_of(const Queue& queue, const float* h, int64_t n, float* out) {
  launch(queue, copy_diagonal, {.x = divide_up(n, kThreads), .threads = kThreads}, h, n, out);
}

}  // namespace gptq::cuda
