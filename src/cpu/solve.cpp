// Rows of weights don't depend on each other: a task takes some of them through all blocks of columns. Within a block
// each column's error goes to the block's later columns at once; columns after the block get all its errors in one
// product.
#include "cpu/solve.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "cpu/factor.h"
#include "cpu/quantize_columns.h"
#include "cpu/range_search.h"
#include "cpu/stream_cpu.h"

namespace gptq::cpu {
namespace {

struct Block {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

/// What all tasks share.
struct Plan {
  const SolveParams& params;
  const SolveProblem& problem;
  const UpperPanels* u;
  const UpperPanels* p;           // of GPTAQ, or null
  std::vector<int64_t> run_ends;  // [cols] end of the columns in sequence that are of the same group
  std::vector<Block> blocks;
  std::vector<float> u_corners,
      p_corners;                 // [cols][params.block]: row j within j's block; empty without u or p
  std::vector<float> curvature;  // [cols] 1 / U_jj^2; empty without u

  const float* corner(const std::vector<float>& corners, const Block& b) const {
    return corners.empty() ? nullptr : corners.data() + b.begin * params.block;
  }
};

enum class RangesFrom : uint8_t { original, current, stale };

RangesFrom ranges_from(const Plan& plan) {
  if (plan.params.static_groups == StaticGroups::yes) return RangesFrom::original;
  return plan.params.compat == Compat::none ? RangesFrom::current : RangesFrom::stale;
}

std::vector<int64_t> find_run_ends(const SolveProblem& problem) {
  std::vector<int64_t> ends(static_cast<size_t>(problem.cols));
  for (int64_t i = problem.cols - 1, end = problem.cols; i >= 0; --i) {
    ends[static_cast<size_t>(i)] = end;
    if (i > 0 && problem.group_of[i - 1] != problem.group_of[i]) end = i;
  }
  return ends;
}

/// A group that starts within a block and ends after it starts a block of its own when its range comes from current
/// weights: those after the block are not up to date before the block is done.
std::vector<Block> cut_blocks(const Plan& plan) {
  std::vector<Block> blocks;
  const int64_t cols = plan.problem.cols;
  for (int64_t begin = 0, end; begin < cols; begin = end) {
    end = std::min(begin + plan.params.block, cols);
    if (ranges_from(plan) == RangesFrom::current && plan.run_ends[static_cast<size_t>(end - 1)] > end) {
      int64_t start = end - 1;
      while (start > begin && plan.problem.group_of[start - 1] == plan.problem.group_of[start]) --start;
      if (start > begin) end = start;
    }
    blocks.push_back({begin, end});
  }
  return blocks;
}

std::vector<float> cut_corners(const Plan& plan, const UpperPanels* u) {
  if (u == nullptr) return {};
  std::vector<float> corners(static_cast<size_t>(plan.problem.cols * plan.params.block));
  for (const Block& b : plan.blocks) {
    for (int64_t j = b.begin; j < b.end; ++j) {
      float* row = corners.data() + j * plan.params.block - b.begin;
      for (int64_t i = j; i < b.end; ++i) row[i] = u->at(j, i);
    }
  }
  return corners;
}

std::vector<float> find_curvature(const UpperPanels* u) {
  if (u == nullptr) return {};
  std::vector<float> curvature(static_cast<size_t>(u->size()));
  for (int64_t j = 0; j < u->size(); ++j) {
    const float pivot = u->at(j, j);
    curvature[static_cast<size_t>(j)] = 1.0f / (pivot * pivot);
  }
  return curvature;
}

/// Some rows of the problem on their way through all blocks.
class RowTask {
 public:
  RowTask(const Workers& workers, const Plan& plan, int64_t first, int64_t rows)
      : workers_(workers),
        plan_(plan),
        problem_(plan.problem),
        first_(first),
        rows_(rows),
        tile_rows_(workers.kernels.tile_rows),
        tiles_((rows + tile_rows_ - 1) / tile_rows_) {
    const auto block = static_cast<size_t>(plan.params.block);
    weights_.resize(block * kLanes);
    errors_.resize(block * kLanes);
    turns_.resize(block * kLanes);
    codes_.resize(block * kLanes);
    packed_.resize(block * static_cast<size_t>(tiles_ * tile_rows_));
    if (plan.p != nullptr) packed_turns_.resize(packed_.size());
    loss_.resize(static_cast<size_t>(rows));
  }

  void run() {
    for (int64_t r = 0; ranges_from(plan_) == RangesFrom::original && r < rows_; r += kLanes) {
      find_static_ranges(r, std::min(kLanes, rows_ - r));
    }
    for (const Block& b : plan_.blocks) {
      for (int64_t r = 0; r < rows_; r += kLanes) {
        const int64_t lanes = std::min(kLanes, rows_ - r);
        solve_block(b, r, lanes);
        if (plan_.u != nullptr) pack(errors_, b, r, lanes, packed_);
        if (plan_.p != nullptr) pack(turns_, b, r, lanes, packed_turns_);
      }
      if (plan_.u != nullptr) push(b, packed_, *plan_.u, -1.0f);
      if (plan_.p != nullptr) push(b, packed_turns_, *plan_.p, 1.0f);
    }
    if (problem_.row_loss == nullptr) return;
    for (int64_t r = 0; r < rows_; ++r) problem_.row_loss[first_ + r] = loss_[static_cast<size_t>(r)] / 2;
  }

 private:
  float* row(int64_t r) const { return problem_.weights + (first_ + r) * problem_.cols; }

  /// Lanes are rows r, r + 1, ... of the task.
  void solve_block(const Block& b, int64_t r, int64_t lanes) {
    workers_.kernels.pack(Dense::f32, row(r) + b.begin, problem_.cols, lanes, b.size(), weights_.data(),
                          kLanes);
    float loss[kLanes] = {}, scales[kLanes], zeros[kLanes];
    for (int64_t begin = b.begin, end; begin < b.end; begin = end) {
      end = std::min(plan_.run_ends[static_cast<size_t>(begin)], b.end);
      const bool entered = begin == 0 || problem_.group_of[begin - 1] != problem_.group_of[begin];
      if (entered && ranges_from(plan_) != RangesFrom::original) find_ranges(b, begin, r, lanes);
      load_ranges(begin, r, lanes, scales, zeros);
      quantize_columns(workers_.kernels, {.begin = begin - b.begin,
                                          .end = end - b.begin,
                                          .size = b.size(),
                                          .u = plan_.corner(plan_.u_corners, b),
                                          .p = plan_.corner(plan_.p_corners, b),
                                          .stride = plan_.params.block,
                                          .scales = scales,
                                          .zeros = zeros,
                                          .max_code = static_cast<float>((1 << plan_.params.bits) - 1),
                                          .weights = weights_.data(),
                                          .errors = errors_.data(),
                                          .turns = turns_.data(),
                                          .codes = codes_.data(),
                                          .loss = loss});
    }
    for (int64_t l = 0; l < lanes; ++l) {
      loss_[static_cast<size_t>(r + l)] += double{loss[l]};
      float* out = row(r + l) + b.begin;
      uint8_t* codes = problem_.codes + (first_ + r + l) * problem_.cols + b.begin;
      for (int64_t j = 0; j < b.size(); ++j) {
        out[j] = weights_[static_cast<size_t>(j * kLanes + l)];
        codes[j] = codes_[static_cast<size_t>(j * kLanes + l)];
      }
    }
  }

  void find_ranges(const Block& b, int64_t begin, int64_t r, int64_t lanes) {
    const int64_t end = plan_.run_ends[static_cast<size_t>(begin)];
    group_.resize(static_cast<size_t>((end - begin) * kLanes));
    float* out = group_.data();
    int64_t from_memory = begin;
    if (ranges_from(plan_) == RangesFrom::current) {
      from_memory = std::min(end, b.end);
      const float* current = weights_.data() + (begin - b.begin) * kLanes;
      out = std::copy(current, current + (from_memory - begin) * kLanes, out);
    }
    workers_.kernels.pack(Dense::f32, row(r) + from_memory, problem_.cols, lanes, end - from_memory, out,
                          kLanes);
    const float* curvature = plan_.curvature.empty() ? nullptr : plan_.curvature.data() + begin;
    // U's rows and columns of the group, when they are in the block
    const float* u = end <= b.end ? plan_.corner(plan_.u_corners, b) : nullptr;
    if (u != nullptr) u += (begin - b.begin) * (plan_.params.block + 1);
    store_ranges({.count = end - begin,
                  .weights = group_.data(),
                  .curvature = curvature,
                  .u = u,
                  .stride = plan_.params.block},
                 problem_.group_of[begin], r, lanes);
  }

  void find_static_ranges(int64_t r, int64_t lanes) {
    std::vector<std::vector<int64_t>> columns(static_cast<size_t>(problem_.groups));
    for (int64_t j = 0; j < problem_.cols; ++j)
      columns[static_cast<size_t>(problem_.group_of[j])].push_back(j);
    std::vector<float> curvature;
    for (int64_t g = 0; g < problem_.groups; ++g) {
      const auto& members = columns[static_cast<size_t>(g)];
      group_.assign(members.size() * kLanes, 0.0f);
      curvature.assign(members.size(), 1.0f);
      for (size_t i = 0; i < members.size(); ++i) {
        if (!plan_.curvature.empty()) curvature[i] = plan_.curvature[static_cast<size_t>(members[i])];
        for (int64_t l = 0; l < lanes; ++l)
          group_[i * kLanes + static_cast<size_t>(l)] = row(r + l)[members[i]];
      }
      store_ranges({.count = static_cast<int64_t>(members.size()),
                    .weights = group_.data(),
                    .curvature = curvature.data()},
                   g, r, lanes);
    }
  }

  void store_ranges(const GroupWeights& weights, int64_t group, int64_t r, int64_t lanes) {
    Range ranges[kLanes];
    search_ranges(workers_.kernels, plan_.params, weights, ranges);
    for (int64_t l = 0; l < lanes; ++l) {
      const int64_t at = group * problem_.rows + first_ + r + l;
      problem_.scales[at] = ranges[l].scale;
      problem_.zeros[at] = ranges[l].zero;
    }
  }

  void load_ranges(int64_t column, int64_t r, int64_t lanes, float* scales, float* zeros) const {
    const int64_t at = problem_.group_of[column] * problem_.rows + first_ + r;
    for (int64_t l = 0; l < kLanes; ++l) {
      scales[l] = l < lanes ? problem_.scales[at + l] : 1.0f;
      zeros[l] = l < lanes ? static_cast<float>(problem_.zeros[at + l]) : 0.0f;
    }
  }

  /// Into tiles of [block size][tile_rows], one after the other.
  void pack(const std::vector<float>& values, const Block& b, int64_t r, int64_t lanes,
            std::vector<float>& packed) const {
    for (int64_t l = 0; l < lanes; ++l) {
      float* out = packed.data() + (r + l) / tile_rows_ * b.size() * tile_rows_ + (r + l) % tile_rows_;
      for (int64_t j = 0; j < b.size(); ++j)
        out[j * tile_rows_] = values[static_cast<size_t>(j * kLanes + l)];
    }
  }

  /// Columns after the block += sign * packed * the block's rows of `upper`.
  void push(const Block& b, const std::vector<float>& packed, const UpperPanels& upper, float sign) {
    constexpr int64_t kWidth = UpperPanels::kWidth;
    for (int64_t col = b.end, next; col < problem_.cols; col = next) {
      next = std::min((col / kWidth + 1) * kWidth, problem_.cols);
      const float* rows = upper.panel(col / kWidth) + b.begin * kWidth + col % kWidth;
      for (int64_t t = 0; t < tiles_; ++t) {
        workers_.kernels.tile(b.size(), packed.data() + t * b.size() * tile_rows_, rows, kWidth,
                              row(t * tile_rows_) + col, problem_.cols,
                              std::min(tile_rows_, rows_ - t * tile_rows_), next - col, sign, true);
      }
    }
  }

  const Workers& workers_;
  const Plan& plan_;
  const SolveProblem& problem_;
  int64_t first_, rows_, tile_rows_, tiles_;
  std::vector<float> weights_, errors_, turns_;  // [block][kLanes]
  std::vector<uint8_t> codes_;                   // [block][kLanes]
  std::vector<float> group_;                     // [columns][kLanes] of the group whose range is searched
  std::vector<float> packed_, packed_turns_;     // errors_ and turns_ of all rows as tiles
  std::vector<double> loss_;
};

/// Rows of a task: enough to reuse U from cache, few enough to keep threads busy.
int64_t task_rows(int64_t rows) { return rows >= 512 ? 64 : rows >= 128 ? 32 : 16; }

}  // namespace

void solve_columns(const Workers& workers, const CpuFactor* factor, const SolveParams& params,
                   SolveProblem& problem) {
  const UpperPanels* u = factor != nullptr ? &factor->u() : nullptr;
  if (params.block < 1 || (u != nullptr && u->size() != problem.cols)) {
    throw Error(Status::internal, cat("solve: ", problem.cols, " columns in blocks of ", params.block));
  }
  Plan plan{.params = params,
            .problem = problem,
            .u = u,
            .p = factor != nullptr ? factor->spread() : nullptr,
            .run_ends = find_run_ends(problem),
            .blocks = {},
            .u_corners = {},
            .p_corners = {},
            .curvature = find_curvature(u)};
  plan.blocks = cut_blocks(plan);
  plan.u_corners = cut_corners(plan, plan.u);
  plan.p_corners = cut_corners(plan, plan.p);
  const int64_t height = task_rows(problem.rows);
  workers.parallel_for((problem.rows + height - 1) / height, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      RowTask(workers, plan, i * height, std::min(height, problem.rows - i * height)).run();
    }
  });
}

void CpuStream::solve(const Factor* factor, const SolveParams& params, SolveProblem& problem) {
  solve_columns(workers_of(*this), static_cast<const CpuFactor*>(factor), params, problem);
}

}  // namespace gptq::cpu
