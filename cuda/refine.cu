// Coordinate descent on (W - Q) H (W - Q)^T, a block of columns at a time (RefineParams says what, src/cpu/refine.cpp why).
// R = W - Q lies in the device's memory. For each block G = R H is one product; in it a warp has a row, lane l its columns
// l, l + 32, l + 64 and l + 96, and H's rows of the block are in shared memory.
//
//   code_j = round(code_j + G_j / (H_jj s)) within the codes       G_i -= s (code_j - what it was) H_ji    for all i
//
// Then each group that ends with the block has its scale fitted, C = code - zero:  s += C G / C H C^T
#include <algorithm>
#include <vector>

#include "cuda/launch.cuh"
#include "cuda/range.cuh"
#include "cuda/solve.h"

namespace gptq::cuda {
namespace {

constexpr int kColumns = kRefinedBlock, kLaneColumns = kColumns / kWarp;
constexpr int kThreads = 512, kWarps = kThreads / kWarp;
constexpr int kBlockRows = 2 * kWarps;
constexpr size_t kSharedBytes = sizeof(float) * kColumns * kColumns;
static_assert(kSharedBytes <= kMostSharedBytes);
constexpr int kCopyThreads = 256;

struct Span {
  int64_t begin, end;
  GPTQ_BOTH int64_t size() const { return end - begin; }

  bool operator==(const Span&) const = default;
};
enum class Refit : uint8_t { no, yes };

/// The best scale for codes as they are, or the old one if that would be another solution altogether.
GPTQ_DEVICE float fitted_scale(float old, double numerator, double denominator, ScaleType type) {
  const double before = old, fitted = before + numerator / denominator;
  if (!(denominator > 0) || !(fitted >= 0.5 * before && fitted <= 2.0 * before)) return old;
  const auto scale = static_cast<float>(fitted);
  return type == ScaleType::f16 ? nearest_usable_half(scale) : scale;
}

/// R of columns [b.begin, b.end).
__global__ void __launch_bounds__(kCopyThreads) find_residual(RefineView s, Span b) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const int64_t row = block_x(), column = b.begin + int64_t{block_y()} * kCopyThreads + thread_x();
  if (column >= b.end) return;
  const int64_t at = row * s.cols + column, parameter = int64_t{s.group_of[column]} * s.rows + row;
  const int steps = static_cast<int>(s.codes[at]) - static_cast<int>(s.zeros[parameter]);
  s.residual[at] = s.target[at] - s.scales[parameter] * static_cast<float>(steps);
}

/// One row on its way through a block.
struct RowOfBlock {
  const RefineView& s;
  const Span b;
  const float* const h;  // [kColumns][kColumns] in shared memory
  const int64_t row;
  const int lane = lane_of_thread(), size = static_cast<int>(b.size());
  float g[kLaneColumns], code[kLaneColumns], change[kLaneColumns];

  GPTQ_DEVICE RowOfBlock(const RefineView& problem, Span span, const float* corner, int64_t number)
      : s(problem), b(span), h(corner), row(number) {
#pragma unroll
    for (int m = 0; m < kLaneColumns; ++m) {
      const int i = lane + m * kWarp;
      g[m] = i < size ? s.product[row * kColumns + i] : 0.0f;
      code[m] = i < size ? static_cast<float>(s.codes[row * s.cols + b.begin + i]) : 0.0f;
      change[m] = 0;
    }
  }

  /// Calls f(m, l, j) for columns j = 32 m + l in [begin, end): m is known to the compiler, which keeps arrays in registers.
  template <class F>
  GPTQ_DEVICE static void for_columns(int begin, int end, F f) {
#pragma unroll
    for (int m = 0; m < kLaneColumns; ++m) {
      const int last = end - m * kWarp < kWarp ? end - m * kWarp : kWarp;
      for (int l = begin > m * kWarp ? begin - m * kWarp : 0; l < last; ++l) f(m, l, m * kWarp + l);
    }
  }

  /// values -= x * row j of H
  GPTQ_DEVICE void follow(float (&values)[kLaneColumns], float x, int j) const {
#pragma unroll
    for (int m = 0; m < kLaneColumns; ++m) values[m] -= x * h[j * kColumns + lane + m * kWarp];
  }

  GPTQ_DEVICE int64_t parameter(int j) const { return int64_t{s.group_of[b.begin + j]} * s.rows + row; }

  GPTQ_DEVICE void move_codes() {
    const auto most = static_cast<float>((1 << s.params.bits) - 1);
    float scale = 1;
    for_columns(0, size, [&](int m, int l, int j) {
      if (j == 0 || s.group_of[b.begin + j] != s.group_of[b.begin + j - 1]) scale = s.scales[parameter(j)];
      const float before = shuffle(code[m], l);
      float best = before + shuffle(g[m], l) * (1.0f / h[j * kColumns + j]) * (1.0f / scale);
      best = best > 0.0f ? best : 0.0f;
      best = rintf(best < most ? best : most);
      if (best == before) return;
      const float up = scale * (best - before);
      code[m] = lane == l ? best : code[m];
      change[m] += lane == l ? up : 0.0f;
      follow(g, up, j);
    });
  }

  /// Of the group in columns [begin, end) of the block.
  GPTQ_DEVICE void fit_scale(int begin, int end) {
    const int64_t at = parameter(begin);
    const auto zero = static_cast<float>(s.zeros[at]);
    float c[kLaneColumns], less[kLaneColumns] = {};  // C and -C H
#pragma unroll
    for (int m = 0; m < kLaneColumns; ++m) {
      const int i = lane + m * kWarp;
      c[m] = i >= begin && i < end ? code[m] - zero : 0.0f;
    }
    for_columns(begin, end, [&](int m, int l, int j) { follow(less, shuffle(c[m], l), j); });
    double numerator = 0, denominator = 0;
#pragma unroll
    for (int m = 0; m < kLaneColumns; ++m) {
      numerator += static_cast<double>(c[m]) * static_cast<double>(g[m]);
      denominator -= static_cast<double>(c[m]) * static_cast<double>(less[m]);
    }
    const float old = s.scales[at];
    const float fitted = fitted_scale(old, warp_sum(numerator), warp_sum(denominator), s.params.scale_type);
    sync_warp();  // all have read the old one
    if (lane == 0) s.scales[at] = fitted;
    const float by = fitted - old;
#pragma unroll
    for (int m = 0; m < kLaneColumns; ++m) {
      g[m] += by * less[m];
      change[m] += by * c[m];
    }
  }

  GPTQ_DEVICE void run(Refit refit) {
    move_codes();
    for (int begin = 0, end; refit == Refit::yes && begin < size; begin = end) {
      for (end = begin + 1; end < size && s.group_of[b.begin + end] == s.group_of[b.begin + begin];) ++end;
      fit_scale(begin, end);
    }
#pragma unroll
    for (int m = 0; m < kLaneColumns; ++m) {
      const int i = lane + m * kWarp;
      if (i >= size) continue;
      s.codes[row * s.cols + b.begin + i] = static_cast<uint8_t>(static_cast<int>(code[m]));
      s.residual[row * s.cols + b.begin + i] -= change[m];
    }
  }
};

__global__ void __launch_bounds__(kThreads, 1) descend(RefineView s, Span b, Refit refit) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  auto* const h = reinterpret_cast<float*>(shared_memory());
  for (int t = thread_x(); t < kColumns * kColumns; t += kThreads) {
    const int j = t / kColumns, i = t % kColumns;
    h[t] = j < b.size() && i < b.size() ? s.hessian[(b.begin + j) * s.cols + b.begin + i] : 0.0f;
  }
  sync_threads();
  const int64_t first = int64_t{block_x()} * kBlockRows, left = s.rows - first;
  for (int r = warp_of_thread(); r < kBlockRows && r < left; r += kWarps)
    RowOfBlock(s, b, h, first + r).run(refit);
}

/// A warp has a row of a product with a block: sums[r] (+)= factor of left . right, with left [rows, cols] at the block.
GPTQ_DEVICE double row_product(const float* left, const float* right, int64_t row, int64_t cols,
                               const Span& b) {
  double sum = 0;
  for (int64_t i = lane_of_thread(); i < b.size(); i += kWarp)
    sum +=
        static_cast<double>(left[row * cols + b.begin + i]) * static_cast<double>(right[row * kColumns + i]);
  return warp_sum(sum);
}

__global__ void __launch_bounds__(kWarp) add_loss(RefineView s, Span b) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const int64_t row = block_x();
  const double sum = row_product(s.residual, s.product, row, s.cols, b);
  if (lane_of_thread() == 0) s.row_loss[row] = (b.begin > 0 ? s.row_loss[row] : 0.0) + sum / 2;
}

// ---- groups of several blocks: C in `numbers`, its products with G and with H in `fits`

__global__ void __launch_bounds__(kCopyThreads) find_numbers(RefineView s, Span group) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const int64_t row = block_x(), column = group.begin + int64_t{block_y()} * kCopyThreads + thread_x();
  if (column >= group.end) return;
  const int64_t at = row * s.cols + column;
  const int steps =
      static_cast<int>(s.codes[at]) - static_cast<int>(s.zeros[int64_t{s.group_of[column]} * s.rows + row]);
  s.numbers[at] = static_cast<float>(steps);
}

__global__ void __launch_bounds__(kWarp) add_fits(RefineView s, Span group, Span b) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const int64_t row = block_x();
  const double numerator = row_product(s.numbers, s.product, row, s.cols, b),
               denominator = row_product(s.numbers, s.numbers_product, row, s.cols, b);
  if (lane_of_thread() > 0) return;
  const bool first = b.begin == group.begin;
  s.fits[2 * row] = (first ? 0.0 : s.fits[2 * row]) + numerator;
  s.fits[2 * row + 1] = (first ? 0.0 : s.fits[2 * row + 1]) + denominator;
}

__global__ void __launch_bounds__(kCopyThreads) fit_scales(RefineView s, Span group) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const int64_t row = int64_t{block_x()} * kCopyThreads + thread_x();
  if (row >= s.rows) return;
  float& scale = s.scales[int64_t{s.group_of[group.begin]} * s.rows + row];
  scale = fitted_scale(scale, s.fits[2 * row], s.fits[2 * row + 1], s.params.scale_type);
}

/// Runs of columns of one group.
std::vector<Span> find_groups(std::span<const int32_t> group_of) {
  std::vector<Span> groups;
  const auto cols = static_cast<int64_t>(group_of.size());
  for (int64_t j = 0; j < cols; ++j) {
    const auto at = static_cast<size_t>(j);
    if (j == 0 || group_of[at] != group_of[at - 1]) groups.push_back({j, j});
    groups.back().end = j + 1;
  }
  return groups;
}

/// What is refined at a time: as many whole groups as fit, or a part of one that does not.
struct Step {
  Span block, group;  // of parts, what they are parts of
  bool whole;
};

std::vector<Step> find_steps(const std::vector<Span>& groups) {
  std::vector<Step> steps;
  for (const Span& group : groups) {
    if (group.size() > kColumns) {
      for (int64_t begin = group.begin; begin < group.end; begin += kColumns)
        steps.push_back({{begin, std::min(begin + kColumns, group.end)}, group, false});
    } else if (!steps.empty() && steps.back().whole && group.end - steps.back().block.begin <= kColumns) {
      steps.back().block.end = group.end;
    } else {
      steps.push_back({group, group, true});
    }
  }
  return steps;
}

/// The launches for one problem.
struct Refinement {
  const Queue& queue;
  const RefineView& s;
  const std::vector<Step> steps;
  const Between& between;

  void residual(const Span& b) const {
    launch(queue, find_residual,
           {.x = s.rows, .y = divide_up(b.size(), kCopyThreads), .threads = kCopyThreads}, s, b);
  }

  /// out [rows, kColumns] = x [rows, cols], columns `from` of it, times H[from, b]
  void multiply(const float* x, const Span& from, const Span& b, float* out) const {
    multiply_floats(queue, {.rows = s.rows,
                            .cols = b.size(),
                            .depth = from.size(),
                            .left = {.data = x + from.begin, .pitch = s.cols},
                            .right = {.data = s.hessian + from.begin * s.cols + b.begin, .pitch = s.cols},
                            .out = out,
                            .pitch = kColumns});
  }
  void multiply_residual(const Span& b) const {
    between();
    multiply(s.residual, {0, s.cols}, b, s.product);
  }

  void sweep(Refit refit) const {
    residual({0, s.cols});
    for (const Step& step : steps) {
      multiply_residual(step.block);
      launch(queue, descend,
             {.x = divide_up(s.rows, kBlockRows), .threads = kThreads, .shared_bytes = kSharedBytes}, s,
             step.block, step.whole ? refit : Refit::no);
      if (refit == Refit::yes && !step.whole && step.block.end == step.group.end) fit_large(step.group);
    }
  }

  void fit_large(const Span& group) const {
    launch(queue, find_numbers,
           {.x = s.rows, .y = divide_up(group.size(), kCopyThreads), .threads = kCopyThreads}, s, group);
    for (int64_t begin = group.begin; begin < group.end; begin += kColumns) {
      const Span b{begin, std::min(begin + kColumns, group.end)};
      multiply_residual(b);
      multiply(s.numbers, group, b, s.numbers_product);
      launch(queue, add_fits, {.x = s.rows, .threads = kWarp}, s, group, b);
    }
    launch(queue, fit_scales, {.x = divide_up(s.rows, kCopyThreads), .threads = kCopyThreads}, s, group);
    residual(group);
  }

  void loss() const {
    residual({0, s.cols});
    for (const Step& step : steps) {
      multiply_residual(step.block);
      launch(queue, add_loss, {.x = s.rows, .threads = kWarp}, s, step.block);
    }
  }
};

}  // namespace

bool fits_large_groups(const RefineParams& params, std::span<const int32_t> group_of) {
  const std::vector<Span> groups = find_groups(group_of);
  return params.refits > 0 &&
         std::any_of(groups.begin(), groups.end(), [](const Span& group) { return group.size() > kColumns; });
}

void refine(const Queue& queue, const RefineView& problem, std::span<const int32_t> group_of,
            const Between& between) {
  const Refinement refinement{queue, problem, find_steps(find_groups(group_of)), between};
  const RefineParams& params = problem.params;
  for (int i = 0; i < params.sweeps; ++i)
    refinement.sweep(i >= params.sweeps - params.refits ? Refit::yes : Refit::no);
  if (problem.row_loss != nullptr) refinement.loss();
}

}  // namespace gptq::cuda
