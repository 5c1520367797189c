// GPTQ (arXiv 2210.17323) a block of columns at a time. Within a block a warp has a row, lane l its columns l, l + 32,
// l + 64 and l + 96, and U's rows of the block are in shared memory: each column is rounded and its error goes to the later
// ones at once, without a barrier. Columns after the block get all its errors by one product.
//
//   q_j = s (round(w_j / s) within the codes)      e_j = (w_j - q_j) / U_jj      w_i += w_j P_ji - e_j U_ji   for i > j
#include "cuda/solve.h"

#include <algorithm>

#include "cuda/blocks.cuh"
#include "cuda/launch.cuh"
#include "cuda/range.cuh"

namespace gptq::cuda {
namespace {

constexpr int kColumns = kMostSolvedColumns, kLaneColumns = kColumns / kWarp;
constexpr int kThreads = 512, kWarps = kThreads / kWarp;
constexpr int kBlockRows = 2 * kWarps;  // of weights

/// Where the ranges of groups come from.
enum class Ranges : uint8_t { original, current, stale };

/// Columns [begin, end), and whether they are the first.
struct Span {
  int begin, end;
  GPTQ_DEVICE int size() const { return end - begin; }

  bool operator==(const Span&) const = default;
};

/// One row on its way through a block.
struct RowOfBlock {
  const SolveView& s;
  const Ranges ranges;
  const Span b;
  const float* const u;  // [kColumns][kColumns] in shared memory, or null
  const int64_t row;
  const int lane = lane_of_thread();
  float w[kLaneColumns];

  GPTQ_DEVICE RowOfBlock(const SolveView& problem, Ranges from, Span span, const float* upper, int64_t number)
      : s(problem), ranges(from), b(span), u(upper), row(number) {
#pragma unroll
    for (int m = 0; m < kLaneColumns; ++m)
      w[m] = lane + m * kWarp < b.size() ? s.weights[row * s.cols + b.begin + lane + m * kWarp] : 0.0f;
  }

  /// Of column j of the block, from the lane that has it.
  GPTQ_DEVICE static float value_of(const float (&values)[kLaneColumns], int j) {
    float mine = in_register(values[0]);
#pragma unroll
    for (int m = 1; m < kLaneColumns; ++m) {
      const float other = in_register(values[m]);
      mine = j / kWarp == m ? other : mine;
    }
    return shuffle(mine, j % kWarp);
  }

  GPTQ_DEVICE float pivot(int j) const { return u != nullptr ? u[j * kColumns + j] : 1.0f; }

  /// 1 / U_jj^2 of a column of the matrix.
  GPTQ_DEVICE float curvature(int column) const {
    if (s.u == nullptr) return 1.0f;
    const float diagonal = s.u[int64_t{column} * s.cols + column];
    return 1.0f / (diagonal * diagonal);
  }

  GPTQ_DEVICE GroupRange find_range(int begin) const {
    const int group = s.group_of[begin];
    int end = begin + 1;
    while (end < s.cols && s.group_of[end] == group) ++end;
    const auto columns = [&](auto f) {
      int from_memory = begin + lane;
      if (ranges == Ranges::current) {
#pragma unroll
        for (int m = 0; m < kLaneColumns; ++m) {
          const int column = b.begin + lane + m * kWarp;
          if (column >= begin && column < end && column < b.end) f(w[m], curvature(column));
        }
        from_memory = b.end + lane;
      }
      for (int column = from_memory; column < end; column += kWarp)
        f(s.weights[row * s.cols + column], curvature(column));
    };
    // GPTQ within the group, which is in the block then
    const auto feedback = [&](GroupRange range) {
      float copy[kLaneColumns], loss = 0;
      if (ranges == Ranges::current) {
#pragma unroll
        for (int m = 0; m < kLaneColumns; ++m) copy[m] = w[m];
      } else {
#pragma unroll
        for (int m = 0; m < kLaneColumns; ++m)
          copy[m] = lane + m * kWarp < b.size() ? s.weights[row * s.cols + b.begin + lane + m * kWarp] : 0.0f;
      }
      const float inverse = 1.0f / range.scale;
      for (int j = begin - b.begin; j < end - b.begin; ++j) {
        const float x = value_of(copy, j);
        const float error = (x - range.scale * rounded_steps(x * inverse, range, s.params.bits)) / pivot(j);
        loss += error * error;
        push(copy, error, u, j);
      }
      return loss;
    };
    return search_range(s.params, columns, u != nullptr && end <= b.end, feedback);
  }

  /// values -= error * row j of `upper`, after column j.
  GPTQ_DEVICE void push(float (&values)[kLaneColumns], float error, const float* upper, int j) const {
#pragma unroll
    for (int m = 0; m < kLaneColumns; ++m) {
      const int i = lane + m * kWarp;
      if (i > j && i < b.size()) values[m] -= error * upper[j * kColumns + i];
    }
  }

  GPTQ_DEVICE void run() {
    GroupRange range{1, 0};
    float loss = 0;
    for (int j = 0; j < b.size(); ++j) {
      const int column = b.begin + j, group = s.group_of[column];
      const int64_t parameter = group * s.rows + row;
      const bool entered = column == 0 || s.group_of[column - 1] != group;
      if (entered && ranges != Ranges::original) {
        range = find_range(column);
        if (lane == 0) {
          s.scales[parameter] = range.scale;
          s.zeros[parameter] = static_cast<uint16_t>(range.zero);
        }
      } else if (entered || j == 0) {
        range = {s.scales[parameter], s.zeros[parameter]};
      }
      const float x = value_of(w, j), steps = rounded_steps(x / range.scale, range, s.params.bits);
      const float q = range.scale * steps, error = (x - q) / pivot(j);
      loss += error * error;
      if (lane == j % kWarp) {
        s.codes[row * s.cols + column] = static_cast<uint8_t>(static_cast<int>(steps) + range.zero);
        s.errors[row * kColumns + j] = error;
        if (s.p != nullptr) s.turns[row * kColumns + j] = x;
      }
#pragma unroll
      for (int m = 0; m < kLaneColumns; ++m) w[m] = lane + m * kWarp == j ? q : w[m];
      if (u == nullptr) continue;
      push(w, error, u, j);
      if (s.p == nullptr) continue;
#pragma unroll
      for (int m = 0; m < kLaneColumns; ++m) {
        const int i = lane + m * kWarp;
        if (i > j && i < b.size()) w[m] += x * s.p[int64_t{column} * s.cols + b.begin + i];
      }
    }
    sync_warp();
#pragma unroll
    for (int m = 0; m < kLaneColumns; ++m) {
      if (lane + m * kWarp < b.size()) s.weights[row * s.cols + b.begin + lane + m * kWarp] = w[m];
    }
    if (lane == 0 && s.row_loss != nullptr)
      s.row_loss[row] = (b.begin > 0 ? s.row_loss[row] : 0.0) + static_cast<double>(loss) / 2;
  }
};

__global__ void __launch_bounds__(kThreads, 1) solve_block(SolveView s, Ranges ranges, Span b) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  float* u = nullptr;
  if (s.u != nullptr) {
    u = reinterpret_cast<float*>(shared_memory());
    for (int t = thread_x(); t < kColumns * kColumns; t += kThreads) {
      const int j = t / kColumns, i = t % kColumns;
      u[t] = i >= j && i < b.size() ? s.u[int64_t{b.begin + j} * s.cols + b.begin + i] : 0.0f;
    }
    sync_threads();
  }
  const int64_t first = int64_t{block_x()} * kBlockRows, left = s.rows - first;
  for (int r = warp_of_thread(); r < kBlockRows && r < left; r += kWarps)
    RowOfBlock(s, ranges, b, u, first + r).run();
}

/// A warp has a row and a group.
__global__ void __launch_bounds__(kWarp) find_static_ranges(SolveView s) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const int64_t row = block_x();
  const int group = block_y();
  const auto columns = [&](auto f) {
    for (int i = s.begin[group] + lane_of_thread(); i < s.begin[group + 1]; i += kWarp) {
      const int column = s.members[i];
      float curvature = 1;
      if (s.u != nullptr) {
        const float diagonal = s.u[int64_t{column} * s.cols + column];
        curvature = 1.0f / (diagonal * diagonal);
      }
      f(s.weights[row * s.cols + column], curvature);
    }
  };
  const GroupRange range = search_range(s.params, columns, false, [](GroupRange) { return 0.0f; });
  if (lane_of_thread() > 0) return;
  s.scales[group * s.rows + row] = range.scale;
  s.zeros[group * s.rows + row] = static_cast<uint16_t>(range.zero);
}

/// Columns after the block += sign * values [rows, kColumns] * the block's rows of `upper`.
__global__ void __launch_bounds__(kBlockThreads)
    push_block(SolveView s, const float* values, const float* upper, float sign, Span b) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  auto* const left = reinterpret_cast<float*>(shared_memory());
  float* const right = left + kBlock * kBlockPitch;
  const int64_t first_row = int64_t{block_y()} * kBlock, first_column = b.end + int64_t{block_x()} * kBlock;
  BlockSums sums = {};
  for (int k = 0; k < b.size(); k += kBlock) {
    for (int t = thread_x(); t < kBlock * kBlock; t += kBlockThreads) {
      const int r = t / kBlock, c = t % kBlock;
      left[r * kBlockPitch + c] =
          first_row + r < s.rows && k + c < b.size() ? values[(first_row + r) * kColumns + k + c] : 0.0f;
      right[r * kBlockPitch + c] = k + r < b.size() && first_column + c < s.cols
                                       ? upper[int64_t{b.begin + k + r} * s.cols + first_column + c]
                                       : 0.0f;
    }
    sync_threads();
    multiply_blocks(left, right, sums);
    sync_threads();
  }
  for_sums(sums, [&](int r, int c, float sum) {
    if (first_row + r < s.rows && first_column + c < s.cols)
      s.weights[(first_row + r) * s.cols + first_column + c] += sign * sum;
  });
}

/// The end of the block that begins at `begin`. A group that starts within it and ends after it starts a block of its
/// own when its range comes from current weights: those after the block are not up to date before the block is done.
int64_t end_of_block(const SolveView& s, Ranges ranges, std::span<const int32_t> group_of, int64_t begin) {
  const int64_t end = std::min(begin + s.params.block, s.cols);
  const auto group = [&](int64_t i) { return group_of[static_cast<size_t>(i)]; };
  if (ranges != Ranges::current || end == s.cols || group(end) != group(end - 1)) return end;
  int64_t start = end - 1;
  while (start > begin && group(start - 1) == group(start)) --start;
  return start > begin ? start : end;
}

}  // namespace

void solve(const Queue& queue, const SolveView& s, std::span<const int32_t> group_of,
           const Between& between) {
  if (s.params.block < 1 || s.params.block > kColumns)
    throw Error(Status::unsupported,
                cat("blocks of ", s.params.block, " columns, at most ", kColumns, " on a GPU"));
  Ranges ranges = s.params.compat == Compat::none ? Ranges::current : Ranges::stale;
  if (s.params.static_groups == StaticGroups::yes) {
    ranges = Ranges::original;
    launch(queue, find_static_ranges, {.x = s.rows, .y = s.groups, .threads = kWarp}, s);
  }
  constexpr size_t kMatrixBytes = sizeof(float) * kColumns * kColumns;
  static_assert(kMatrixBytes <= kMostSharedBytes);
  const size_t shared = s.u != nullptr ? kMatrixBytes : 0;
  for (int64_t begin = 0, end; begin < s.cols; begin = end) {
    between();
    end = end_of_block(s, ranges, group_of, begin);
    const Span b{static_cast<int>(begin), static_cast<int>(end)};
    launch(queue, solve_block,
           {.x = divide_up(s.rows, kBlockRows), .threads = kThreads, .shared_bytes = shared}, s, ranges, b);
    const Grid rest{.x = divide_up(s.cols - end, kBlock),
                    .y = divide_up(s.rows, kBlock),
                    .threads = kBlockThreads,
                    .shared_bytes = kTwoBlocks};
    if (s.u != nullptr)
      launch(queue, push_block, rest, s, static_cast<const float*>(s.errors), s.u, -1.0f, b);
    if (s.p != nullptr) launch(queue, push_block, rest, s, static_cast<const float*>(s.turns), s.p, 1.0f, b);
  }
}

}  // namespace gptq::cuda
