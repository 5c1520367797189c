// Matrices of floats that the quantizer has: products of them, and Hessians in another order.
//
// A product is made on the tensor cores: x = h + l in two bf16 numbers, which leaves 2^-17 of it, and of the four products
// the three that count are added in fp32. 64 x 64 of the result to a block of threads; while 32 of the depth, in shared
// memory, are multiplied, the next 32 are on their way into registers.
//
//   in shared memory, twice: [left, right][h, l][64 rows, or columns][32 of the depth, and 8 that keep banks apart]
//   8 warps: 2 x 4, each 32 x 16 of the result
#include "cuda/elements.cuh"
#include "cuda/launch.cuh"
#include "cuda/solve.h"

namespace gptq::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kTile = 64, kDepth = 32, kPitch = kDepth + 8;
constexpr int kOperand = kTile * kPitch;  // bf16 numbers of one
constexpr int kStage = 4 * kOperand;
constexpr size_t kSharedBytes = 2 * kStage * sizeof(BFloat);
static_assert(fit(2, kSharedBytes, 100), "two blocks on an SM of sm_86");
constexpr int kPairs = kTile * kDepth / 2 / kThreads;  // of a thread and operand
constexpr int kChain = 1024;                           // of the depth, added before it goes to the sum
constexpr int kWarpRows = 32, kWarpColumns = 16;

/// Pairs in the direction of the depth, on their way from an operand [rows, depth] to shared memory.
struct Pairs {
  Floats2 values[kPairs];

  /// Threads side by side read what lies side by side.
  GPTQ_DEVICE static void place_of(const FloatOperand& m, int i, int& row, int& k) {
    const int t = i * kThreads + thread_x();
    const bool along_depth = m.turned == Turned::no;
    row = along_depth ? t / (kDepth / 2) : t % kTile;
    k = (along_depth ? t % (kDepth / 2) : t / kTile) * 2;
  }
  /// From (row, k) on; zeros where there is none.
  GPTQ_DEVICE void load(const FloatOperand& m, int64_t row, int64_t rows, int64_t k, int64_t depth) {
    const auto value = [&](int64_t r, int64_t c) {
      if (r >= rows || c >= depth) return 0.0f;
      const int64_t i = m.rows != nullptr ? m.rows[r] : r, j = m.cols != nullptr ? m.cols[c] : c;
      return m.turned == Turned::yes ? m.data[j * m.pitch + i] : m.data[i * m.pitch + j];
    };
#pragma unroll
    for (int i = 0; i < kPairs; ++i) {
      int r, c;
      place_of(m, i, r, c);
      values[i] = {value(row + r, k + c), value(row + r, k + c + 1)};
    }
  }
  GPTQ_DEVICE void store(const FloatOperand& m, BFloat* to) const {
#pragma unroll
    for (int i = 0; i < kPairs; ++i) {
      int r, c;
      place_of(m, i, r, c);
      const uint32_t high = pack2<BFloat>(values[i].lo, values[i].hi);
      const Floats2 taken = unpack2<BFloat>(high);
      auto* const at = reinterpret_cast<uint32_t*>(to + r * kPitch + c);
      at[0] = high;
      at[kOperand / 2] = pack2<BFloat>(values[i].lo - taken.lo, values[i].hi - taken.hi);
    }
  }
};

using Sums = float[2][2][4];  // of a warp: 16 rows, 8 columns of each

/// sums += what a stage in shared memory has
GPTQ_DEVICE void multiply_stage(const BFloat* stage, Sums& sums) {
  const int lane = lane_of_thread(), in_matrix = lane % 8;
  const int row = warp_of_thread() / 4 * kWarpRows + lane / 8 % 2 * 8 + in_matrix,
            column = warp_of_thread() % 4 * kWarpColumns + lane / 16 * 8 + in_matrix;
#pragma unroll
  for (int k = 0; k < kDepth; k += 16) {
    uint32_t a[2][2][4], b[2][4];  // [h, l]
#pragma unroll
    for (int part = 0; part < 2; ++part) {
#pragma unroll
      for (int m = 0; m < 2; ++m)
        load_matrices(a[part][m], stage + part * kOperand + (row + m * 16) * kPitch + k + lane / 16 * 8);
      load_matrices(b[part], stage + (2 + part) * kOperand + column * kPitch + k + lane / 8 % 2 * 8);
    }
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        const uint32_t high[2] = {b[0][2 * n], b[0][2 * n + 1]}, low[2] = {b[1][2 * n], b[1][2 * n + 1]};
        multiply_16816<BFloat>(sums[m][n], a[1][m], high);
        multiply_16816<BFloat>(sums[m][n], a[0][m], low);
        multiply_16816<BFloat>(sums[m][n], a[0][m], high);
      }
    }
  }
}

__global__ void __launch_bounds__(kThreads, 2) multiply_split(FloatProduct p) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  auto* const shared = reinterpret_cast<BFloat*>(shared_memory());
  const int64_t row = int64_t{block_y()} * kTile, col = int64_t{block_x()} * kTile;
  int64_t begin = 0, end = p.depth;
  if (p.right_is == Triangle::upper && col + kTile < end) end = col + kTile;
  if (p.right_is == Triangle::lower) begin = col;
  if (p.wanted == Triangle::above && col + kTile <= row) end = begin;
  // the right one by columns
  const FloatOperand right{.data = p.right.data,
                           .pitch = p.right.pitch,
                           .turned = p.right.turned == Turned::yes ? Turned::no : Turned::yes,
                           .rows = p.right.cols,
                           .cols = p.right.rows};
  Pairs from_left, from_right;
  const auto load = [&](int64_t k) {
    from_left.load(p.left, row, p.rows, k, end);
    from_right.load(right, col, p.cols, k, end);
  };
  Sums sums = {}, chain = {};
  const auto end_chain = [&] {
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      sums[i / 8][i / 4 % 2][i % 4] += chain[i / 8][i / 4 % 2][i % 4];
      chain[i / 8][i / 4 % 2][i % 4] = 0;
    }
  };
  load(begin);
  int stage = 0;
  for (int64_t k = begin; k < end; k += kDepth, stage ^= 1) {
    BFloat* const to = shared + stage * kStage;
    from_left.store(p.left, to);
    from_right.store(right, to + 2 * kOperand);
    sync_threads();  // the stage is there; the one before it is free again behind the next of these
    if (k + kDepth < end) load(k + kDepth);
    multiply_stage(to, chain);
    if ((k - begin) % kChain == kChain - kDepth) end_chain();
  }
  end_chain();
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int n = 0; n < 2; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int64_t i = row + warp_of_thread() / 4 * kWarpRows + m * 16 + lane_of_thread() / 4 + e / 2 * 8;
        const int64_t j =
            col + warp_of_thread() % 4 * kWarpColumns + n * 8 + lane_of_thread() % 4 * 2 + e % 2;
        if (i >= p.rows || j >= p.cols) continue;
        float& out = p.out[i * p.pitch + j];
        const float before = p.onto == Onto::what_is_there ? out : 0.0f;
        out = p.wanted == Triangle::above && j <= i ? 0.0f : before + p.factor * sums[m][n][e];
      }
    }
  }
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
  launch(queue, multiply_split,
         {.x = divide_up(p.cols, kTile),
          .y = divide_up(p.rows, kTile),
          .threads = kThreads,
          .shared_bytes = kSharedBytes},
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
