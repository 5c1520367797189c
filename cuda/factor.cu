// U of a Hessian, upper triangular with H'^-1 = U^T U, in fp32 and without a library.
//
// With F = H' turned about its other diagonal, F = L L^T by blocks of 64 columns, and U = L^-1 turned back: one Cholesky
// factorization and one triangular inverse, no inverse of H'.
//
//   for each block k:   L_kk and its inverse D_k            one block of threads, in shared memory
//                       L_ik = F_ik D_k^T                   i > k
//                       F_ij -= L_ik L_jk^T                 i >= j > k
//   for each block row: X_ij = -D_i sum_k L_ik X_kj         X = L^-1, j <= k < i
#include "cuda/blocks.cuh"
#include "cuda/launch.cuh"

namespace gptq::cuda {
namespace {

constexpr int kThreads = kBlockThreads, kPitch = kBlockPitch;

/// A matrix [n][n], or the same turned about its other diagonal.
struct Square {
  float* data;
  int n;
  bool turned;

  GPTQ_DEVICE float& at(int r, int c) const {
    return turned ? data[int64_t{n - 1 - r} * n + (n - 1 - c)] : data[int64_t{r} * n + c];
  }
  GPTQ_DEVICE bool has(int r, int c) const { return r < n && c < n; }

  bool operator==(const Square&) const = default;
};

enum class Transposed : uint8_t { no, yes };

/// Block (i, j) of a matrix into shared memory; zeros where there is none.
GPTQ_DEVICE void load_block(const Square& m, int i, int j, Transposed transposed, float* to) {
  for (int t = thread_x(); t < kBlock * kBlock; t += kThreads) {
    const int r = t / kBlock, c = t % kBlock, row = i * kBlock + r, column = j * kBlock + c;
    to[transposed == Transposed::yes ? c * kPitch + r : r * kPitch + c] =
        m.has(row, column) ? m.at(row, column) : 0.0f;
  }
}
/// Likewise of the inverses of diagonal blocks [block][64][64].
GPTQ_DEVICE void load_inverse(const float* inverses, int i, Transposed transposed, float* to) {
  for (int t = thread_x(); t < kBlock * kBlock; t += kThreads) {
    const int r = t / kBlock, c = t % kBlock;
    to[transposed == Transposed::yes ? c * kPitch + r : r * kPitch + c] =
        inverses[int64_t{i} * kBlock * kBlock + t];
  }
}

/// F, of which what is on and below the diagonal is made. Of H what is on and above it is read.
__global__ void __launch_bounds__(kThreads)
    permute_and_turn(const float* h, int n, const int32_t* order, const float* diagonal_add, Square f) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const int r = block_y(), c = block_x() * kThreads + thread_x();
  if (c > r) return;
  const int a = order[n - 1 - r], b = order[n - 1 - c];
  const float value = h[int64_t{a < b ? a : b} * n + (a < b ? b : a)];
  f.at(r, c) = r == c ? value + diagonal_add[n - 1 - r] : value;
}

/// Diagonal block k into shared memory, and zeros for its inverse. What is missing to a whole block is the identity.
GPTQ_DEVICE void load_diagonal(const Square& f, int k, float* l, float* inverse) {
  const int first = k * kBlock;
  for (int t = thread_x(); t < kBlock * kBlock; t += kThreads) {
    const int r = t / kBlock, c = t % kBlock;
    const bool there = f.has(first + r, first + c);
    l[r * kPitch + c] = c <= r && there ? f.at(first + r, first + c) : r == c ? 1.0f : 0.0f;
    inverse[r * kPitch + c] = 0;
  }
  sync_threads();
}

/// The inverse of a lower triangle, which it is stored as, too: a thread has a column.
GPTQ_DEVICE void invert_triangle(const float* l, float* inverse, float* to) {
  if (thread_x() < kBlock) {
    const int c = thread_x();
    for (int r = c; r < kBlock; ++r) {
      float sum = r == c ? 1.0f : 0.0f;
      for (int i = c; i < r; ++i) sum -= l[r * kPitch + i] * inverse[i * kPitch + c];
      inverse[r * kPitch + c] = sum / l[r * kPitch + r];
    }
  }
  sync_threads();
  for (int t = thread_x(); t < kBlock * kBlock; t += kThreads)
    to[t] = inverse[t / kBlock * kPitch + t % kBlock];
}

GPTQ_DEVICE bool is_pivot(float x) { return x > 0 && x < INFINITY; }

/// A block of threads factors diagonal block k and inverts the factor.
__global__ void __launch_bounds__(kThreads)
    factor_diagonal(Square f, int k, float* inverses, uint32_t* failed) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  auto* const l = reinterpret_cast<float*>(shared_memory());
  float* const inverse = l + kBlock * kPitch;
  load_diagonal(f, k, l, inverse);
  for (int j = 0; j < kBlock; ++j) {
    const float pivot = l[j * kPitch + j];
    if (thread_x() == 0 && !is_pivot(pivot)) *failed = 1;
    const float root = sqrtf(pivot);
    sync_threads();
    for (int r = j + thread_x(); r < kBlock; r += kThreads)
      l[r * kPitch + j] = r == j ? root : l[r * kPitch + j] / root;
    sync_threads();
    for (int t = thread_x(); t < kBlock * kBlock; t += kThreads) {
      const int r = t / kBlock, c = t % kBlock;
      if (c > j && c <= r) l[r * kPitch + c] -= l[r * kPitch + j] * l[c * kPitch + j];
    }
    sync_threads();
  }
  invert_triangle(l, inverse, inverses + int64_t{k} * kBlock * kBlock);
  const int first = k * kBlock;
  for (int t = thread_x(); t < kBlock * kBlock; t += kThreads) {
    const int r = t / kBlock, c = t % kBlock;
    if (c <= r && f.has(first + r, first + c)) f.at(first + r, first + c) = l[r * kPitch + c];
  }
}

/// Where the factor is there already: a block of threads inverts a diagonal block of it. A library may have gone on with
/// numbers that are not finite.
__global__ void __launch_bounds__(kThreads) invert_diagonal(Square f, float* inverses, uint32_t* failed) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  auto* const l = reinterpret_cast<float*>(shared_memory());
  float* const inverse = l + kBlock * kPitch;
  load_diagonal(f, block_x(), l, inverse);
  if (thread_x() < kBlock && !is_pivot(l[thread_x() * kPitch + thread_x()])) *failed = 1;
  invert_triangle(l, inverse, inverses + int64_t{block_x()} * kBlock * kBlock);
}

__global__ void __launch_bounds__(kThreads) factor_panel(Square f, int k, const float* inverses) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  auto* const left = reinterpret_cast<float*>(shared_memory());
  float* const right = left + kBlock * kPitch;
  const int i = k + 1 + block_x();
  load_block(f, i, k, Transposed::no, left);
  load_inverse(inverses, k, Transposed::yes, right);
  sync_threads();
  BlockSums sums = {};
  multiply_blocks(left, right, sums);
  for_sums(sums, [&](int r, int c, float sum) {
    if (f.has(i * kBlock + r, k * kBlock + c)) f.at(i * kBlock + r, k * kBlock + c) = sum;
  });
}

__global__ void __launch_bounds__(kThreads) update_rest(Square f, int k) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  auto* const left = reinterpret_cast<float*>(shared_memory());
  float* const right = left + kBlock * kPitch;
  const int i = k + 1 + block_y(), j = k + 1 + block_x();
  if (j > i) return;
  load_block(f, i, k, Transposed::no, left);
  load_block(f, j, k, Transposed::yes, right);
  sync_threads();
  BlockSums sums = {};
  multiply_blocks(left, right, sums);
  for_sums(sums, [&](int r, int c, float sum) {
    if (f.has(i * kBlock + r, j * kBlock + c)) f.at(i * kBlock + r, j * kBlock + c) -= sum;
  });
}

/// A block of threads has block j of block row i of X.
__global__ void __launch_bounds__(kThreads) invert_row(Square f, int i, const float* inverses, Square x) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  auto* const left = reinterpret_cast<float*>(shared_memory());
  float* const right = left + kBlock * kPitch;
  const int j = block_x();
  BlockSums sums = {};
  for (int k = j; k < i; ++k) {
    load_block(f, i, k, Transposed::no, left);
    load_block(x, k, j, Transposed::no, right);
    sync_threads();
    multiply_blocks(left, right, sums);
    sync_threads();
  }
  load_inverse(inverses, i, Transposed::no, left);
  for_sums(sums, [&](int r, int c, float sum) {
    right[r * kPitch + c] = j < i ? -sum : r == c ? 1.0f : 0.0f;
  });
  sync_threads();
  BlockSums result = {};
  multiply_blocks(left, right, result);
  for_sums(result, [&](int r, int c, float sum) {
    if (x.has(i * kBlock + r, j * kBlock + c)) x.at(i * kBlock + r, j * kBlock + c) = sum;
  });
}

__global__ void __launch_bounds__(kThreads) clear_floats(float* x, int64_t n) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const int64_t i = int64_t{block_x()} * kThreads + thread_x();
  if (i < n) x[i] = 0;
}

Square square_of(void* scratch, int64_t n) {
  return {static_cast<float*>(scratch), static_cast<int>(n), false};
}

}  // namespace

size_t scratch_of_factor(int64_t n) {
  return static_cast<size_t>(n * n + divide_up(n, kBlock) * kBlock * kBlock) * sizeof(float);
}

void begin_factor(const Queue& queue, const float* h, int64_t n, const int32_t* order,
                  const float* diagonal_add, void* scratch) {
  if (n > kMostFactor) throw Error(Status::unsupported, cat("a Hessian of ", n, " inputs"));
  launch(queue, permute_and_turn, {.x = divide_up(n, kThreads), .y = n, .threads = kThreads}, h,
         static_cast<int>(n), order, diagonal_add, square_of(scratch, n));
}

void factor_blocks(const Queue& queue, int64_t n, void* scratch, uint32_t* failed, const Between& between) {
  const Square f = square_of(scratch, n);
  float* const inverses = f.data + n * n;
  const auto blocks = static_cast<int>(divide_up(n, kBlock));
  for (int k = 0; k < blocks; ++k) {
    between();
    launch(queue, factor_diagonal, {.threads = kThreads, .shared_bytes = kTwoBlocks}, f, k, inverses, failed);
    const int64_t rest = blocks - k - 1;
    launch(queue, factor_panel, {.x = rest, .threads = kThreads, .shared_bytes = kTwoBlocks}, f, k, inverses);
    launch(queue, update_rest, {.x = rest, .y = rest, .threads = kThreads, .shared_bytes = kTwoBlocks}, f, k);
  }
}

void take_factor(const Queue& queue, int64_t n, void* scratch, uint32_t* failed) {
  const Square f = square_of(scratch, n);
  launch(queue, invert_diagonal, {.x = divide_up(n, kBlock), .threads = kThreads, .shared_bytes = kTwoBlocks},
         f, f.data + n * n, failed);
}

void finish_factor(const Queue& queue, int64_t n, void* scratch, float* u, const Between& between) {
  const Square f = square_of(scratch, n), x{u, static_cast<int>(n), true};
  const auto blocks = static_cast<int>(divide_up(n, kBlock));
  launch(queue, clear_floats, {.x = divide_up(n * n, kThreads), .threads = kThreads}, u, n * n);
  for (int i = 0; i < blocks; ++i) {
    between();
    launch(queue, invert_row, {.x = i + 1, .threads = kThreads, .shared_bytes = kTwoBlocks}, f, i,
           f.data + n * n, x);
  }
}

}  // namespace gptq::cuda
