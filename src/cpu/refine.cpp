// Coordinate descent on (W - Q) H (W - Q)^T. With R = W - Q and G = R H, the best value of one weight, all else equal,
// is q + G_j / H_jj. Blocks of columns go one after another: G of a block is one product with all of H's rows, and what
// changes inside the block is kept up to date in it, 16 rows of weights side by side.
#include <algorithm>
#include <cmath>
#include <vector>

#include "backend/range.h"
#include "base/error.h"
#include "base/text.h"
#include "cpu/hessian.h"
#include "cpu/linear.h"
#include "cpu/quantize_columns.h"
#include "cpu/stream_cpu.h"

namespace gptq::cpu {
namespace {

constexpr int64_t kBlock = 128;  // columns

struct Columns {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

/// Runs of columns of one group.
std::vector<Columns> find_groups(const RefineProblem& problem) {
  std::vector<Columns> groups;
  for (int64_t j = 0; j < problem.cols; ++j) {
    if (j == 0 || problem.group_of[j] != problem.group_of[j - 1]) groups.push_back({j, j});
    groups.back().end = j + 1;
  }
  return groups;
}

/// As many whole groups as fit; a group that does not fit is cut into blocks of its own.
std::vector<Columns> find_blocks(const std::vector<Columns>& groups) {
  std::vector<Columns> blocks;
  bool open = false;  // the last block has whole groups
  for (const Columns& group : groups) {
    if (open && group.end - blocks.back().begin <= kBlock) {
      blocks.back().end = group.end;
      continue;
    }
    open = group.size() <= kBlock;
    for (int64_t begin = group.begin; begin < group.end; begin += kBlock) {
      blocks.push_back({begin, std::min(begin + kBlock, group.end)});
    }
  }
  return blocks;
}

/// The best scale for codes as they are, or the old one if that would be another solution altogether.
float fitted_scale(float old, double numerator, double denominator, ScaleType type) {
  const double fitted = old + numerator / denominator;
  if (!(denominator > 0) || !(fitted >= 0.5 * old && fitted <= 2.0 * old)) return old;
  const auto scale = static_cast<float>(fitted);
  return type == ScaleType::f16 ? usable_fp16(scale) : scale;
}

class Refinement {
 public:
  Refinement(CpuStream& stream, std::vector<float> h, const RefineParams& params,
             const RefineProblem& problem)
      : stream_(stream),
        params_(params),
        problem_(problem),
        h_(std::move(h)),
        residual_(static_cast<size_t>(problem.rows * problem.cols)),
        product_(static_cast<size_t>(problem.rows * kBlock)),
        groups_(find_groups(problem)),
        blocks_(find_blocks(groups_)) {}

  void run() {
    for (int sweep = 0; sweep < params_.sweeps; ++sweep) {
      const bool refit = sweep >= params_.sweeps - params_.refits;
      find_residual();
      size_t group = 0;  // the first that is not behind
      for (const Columns& b : blocks_) {
        multiply_residual(b);
        const size_t first = group;
        while (group < groups_.size() && groups_[group].end <= b.end) ++group;
        const bool whole = first < group && groups_[first].begin >= b.begin;
        each_lanes(
            [&](int64_t r, int64_t lanes) { descend(b, r, lanes, refit && whole ? first : group, group); });
        if (refit && first < group && !whole) refit_large(groups_[first]);
      }
    }
    if (problem_.row_loss != nullptr) find_loss();
  }

 private:
  float value(int64_t r, int64_t j) const {
    const int64_t at = problem_.group_of[j] * problem_.rows + r;
    return problem_.scales[at] *
           static_cast<float>(problem_.codes[r * problem_.cols + j] - problem_.zeros[at]);
  }
  float* residual(int64_t r) { return residual_.data() + r * problem_.cols; }

  void each_row(const std::function<void(int64_t r)>& visit) {
    stream_.parallel_for(problem_.rows, 16, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) visit(r);
    });
  }
  void each_lanes(const std::function<void(int64_t r, int64_t lanes)>& visit) {
    stream_.parallel_for((problem_.rows + kLanes - 1) / kLanes, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) visit(i * kLanes, std::min(kLanes, problem_.rows - i * kLanes));
    });
  }

  void find_residual() {
    each_row([&](int64_t r) {
      const float* target = problem_.target + r * problem_.cols;
      for (int64_t j = 0; j < problem_.cols; ++j) residual(r)[j] = target[j] - value(r, j);
    });
  }

  /// out [rows, b.size()] = x [rows, from.size()] H[from, b]
  void multiply(const std::vector<float>& x, const Columns& from, const Columns& b, std::vector<float>& out) {
    tiled_product(stream_, stream_.kernels().gemm, x.data(), problem_.rows, from.size(), b.size(), nullptr,
                  out.data(), [&](int64_t col, int64_t cols, int64_t k, int64_t depth, float* panel) {
                    const float* h = h_.data() + (from.begin + k) * problem_.cols + b.begin + col;
                    for (int64_t i = 0; i < depth; ++i, h += problem_.cols, panel += kTileCols)
                      std::copy(h, h + cols, panel);
                  });
  }
  void multiply_residual(const Columns& b) { multiply(residual_, {0, problem_.cols}, b, product_); }

  /// What the lanes have in a block, [columns][kLanes] each.
  struct Lanes {
    float g[kBlock * kLanes];            // G
    float codes[kBlock * kLanes] = {};   // whole numbers
    float change[kBlock * kLanes] = {};  // of the weights, so far
  };

  /// Rows r, r + 1, ... of the block, whose G is in product_; fits the scales of groups [first, last) behind it.
  void descend(const Columns& b, int64_t r, int64_t lanes, size_t first, size_t last) {
    Lanes x;
    stream_.kernels().pack(Dense::f32, product_.data() + r * b.size(), b.size(), lanes, b.size(), x.g,
                           kLanes);
    for (int64_t l = 0; l < lanes; ++l) {
      const uint8_t* codes = problem_.codes + (r + l) * problem_.cols + b.begin;
      for (int64_t j = 0; j < b.size(); ++j) x.codes[j * kLanes + l] = codes[j];
    }
    float scales[kLanes], inverses[kLanes];
    for (int64_t j = 0; j < b.size(); ++j) {
      const int64_t column = b.begin + j;
      if (j == 0 || problem_.group_of[column] != problem_.group_of[column - 1]) {
        const float* from = problem_.scales + problem_.group_of[column] * problem_.rows + r;
        for (int64_t l = 0; l < kLanes; ++l) {
          scales[l] = l < lanes ? from[l] : 1.0f;
          inverses[l] = 1.0f / scales[l];
        }
      }
      move_codes(b, j, scales, inverses, x);
    }
    for (int64_t l = 0; l < lanes; ++l) {
      uint8_t* codes = problem_.codes + (r + l) * problem_.cols + b.begin;
      for (int64_t j = 0; j < b.size(); ++j) codes[j] = static_cast<uint8_t>(x.codes[j * kLanes + l]);
    }
    for (size_t group = first; group < last; ++group) refit_small(b, groups_[group], r, lanes, x);
    for (int64_t l = 0; l < lanes; ++l) {
      float* row = residual(r + l) + b.begin;
      for (int64_t j = 0; j < b.size(); ++j) row[j] -= x.change[j * kLanes + l];
    }
  }

  /// G of the block after column j of the lanes went up by `by`.
  void follow(const Columns& b, int64_t j, const float* by, float* g) const {
    const float* h = h_.data() + (b.begin + j) * problem_.cols + b.begin;
    stream_.kernels().subtract_outer(h, by, b.size(), g);
  }

  /// Column j of the lanes: each code goes to the best one. Loops over lanes become vector instructions.
  void move_codes(const Columns& b, int64_t j, const float* scales, const float* inverses, Lanes& x) const {
    constexpr float kShift = 0x1.8p23f;  // adding it rounds to an integer, half to even
    const auto most = static_cast<float>((1 << params_.bits) - 1);
    const float by_curvature = 1.0f / h_[static_cast<size_t>((b.begin + j) * (problem_.cols + 1))];
    const float* g = x.g + j * kLanes;
    float *codes = x.codes + j * kLanes, *change = x.change + j * kLanes;
    float up[kLanes], moved = 0;
    for (int64_t l = 0; l < kLanes; ++l) {
      float best = codes[l] + g[l] * by_curvature * inverses[l];
      best = best > 0.0f ? best : 0.0f;
      best = best < most ? best : most;
      best = (best + kShift) - kShift;
      up[l] = scales[l] * (best - codes[l]);
      moved += std::fabs(best - codes[l]);
      codes[l] = best;
    }
    if (moved == 0) return;
    for (int64_t l = 0; l < kLanes; ++l) change[l] += up[l];
    follow(b, j, up, x.g);
  }

  /// A group inside the block: the scale s minimizes (R - (s - s_old) C) H (...)^T for C = code - zero.
  void refit_small(const Columns& b, const Columns& group, int64_t r, int64_t lanes, Lanes& x) const {
    float c[kBlock * kLanes] = {}, h_c[kBlock * kLanes] = {};
    const int64_t at = problem_.group_of[group.begin] * problem_.rows + r;
    for (int64_t j = group.begin; j < group.end; ++j) {
      float* column = c + (j - b.begin) * kLanes;
      for (int64_t l = 0; l < lanes; ++l) {
        column[l] = static_cast<float>(problem_.codes[(r + l) * problem_.cols + j]) - problem_.zeros[at + l];
      }
      follow(b, j - b.begin, column, h_c);  // h_c = -C H
    }
    float by[kLanes] = {};
    for (int64_t l = 0; l < lanes; ++l) {
      double numerator = 0, denominator = 0;
      for (int64_t i = group.begin - b.begin; i < group.end - b.begin; ++i) {
        numerator += double{c[i * kLanes + l]} * x.g[i * kLanes + l];
        denominator -= double{c[i * kLanes + l]} * h_c[i * kLanes + l];
      }
      float& scale = problem_.scales[at + l];
      const float fitted = fitted_scale(scale, numerator, denominator, params_.scale_type);
      by[l] = fitted - scale;
      scale = fitted;
    }
    for (int64_t i = 0; i < b.size(); ++i) {
      for (int64_t l = 0; l < kLanes; ++l) {
        x.g[i * kLanes + l] += by[l] * h_c[i * kLanes + l];
        x.change[i * kLanes + l] += by[l] * c[i * kLanes + l];
      }
    }
  }

  /// A group of several blocks, all rows.
  void refit_large(const Columns& group) {
    const auto rows = static_cast<size_t>(problem_.rows);
    std::vector<float> c(rows * static_cast<size_t>(group.size())), h_c(rows * kBlock);
    std::vector<double> numerator(rows), denominator(rows);
    const int64_t at = problem_.group_of[group.begin] * problem_.rows;
    each_row([&](int64_t r) {
      for (int64_t j = group.begin; j < group.end; ++j) {
        c[static_cast<size_t>(r * group.size() + j - group.begin)] =
            static_cast<float>(problem_.codes[r * problem_.cols + j]) - problem_.zeros[at + r];
      }
    });
    for (int64_t begin = group.begin; begin < group.end; begin += kBlock) {
      const Columns b{begin, std::min(begin + kBlock, group.end)};
      multiply_residual(b);
      multiply(c, group, b, h_c);
      each_row([&](int64_t r) {
        for (int64_t i = 0; i < b.size(); ++i) {
          const double code = c[static_cast<size_t>(r * group.size() + b.begin - group.begin + i)];
          numerator[static_cast<size_t>(r)] += code * product_[static_cast<size_t>(r * b.size() + i)];
          denominator[static_cast<size_t>(r)] += code * h_c[static_cast<size_t>(r * b.size() + i)];
        }
      });
    }
    each_row([&](int64_t r) {
      const auto i = static_cast<size_t>(r);
      float& scale = problem_.scales[at + r];
      scale = fitted_scale(scale, numerator[i], denominator[i], params_.scale_type);
      const float* target = problem_.target + r * problem_.cols;
      for (int64_t j = group.begin; j < group.end; ++j) residual(r)[j] = target[j] - value(r, j);
    });
  }

  void find_loss() {
    find_residual();
    std::fill(problem_.row_loss, problem_.row_loss + problem_.rows, 0.0);
    for (const Columns& b : blocks_) {
      multiply_residual(b);
      each_row([&](int64_t r) {
        double sum = 0;
        for (int64_t i = 0; i < b.size(); ++i) {
          sum += double{residual(r)[b.begin + i]} * product_[static_cast<size_t>(r * b.size() + i)];
        }
        problem_.row_loss[r] += sum / 2;
      });
    }
  }

  CpuStream& stream_;
  const RefineParams& params_;
  const RefineProblem& problem_;
  std::vector<float> h_;         // [cols, cols]
  std::vector<float> residual_;  // R [rows, cols]
  std::vector<float> product_;   // R H [rows, columns of the block]
  std::vector<Columns> groups_, blocks_;
};

/// H'[i][j] = H[order[i]][order[j]] + (i == j ? diagonal_add[i] : 0) [size, size]
std::vector<float> permuted(CpuStream& stream, const UpperPanels& h, std::span<const int32_t> order,
                            std::span<const float> diagonal_add) {
  const int64_t size = h.size();
  std::vector<float> result(static_cast<size_t>(size * size));
  stream.parallel_for(size, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto from = static_cast<size_t>(i);
      float* out = result.data() + i * size;
      for (int64_t j = 0; j < size; ++j) out[j] = h.symmetric(order[from], order[static_cast<size_t>(j)]);
      out[i] += diagonal_add[from];
    }
  });
  return result;
}

}  // namespace

void CpuStream::refine(const Hessian& hessian, std::span<const int32_t> order,
                       std::span<const float> diagonal_add, const RefineParams& params,
                       RefineProblem& problem) {
  const auto size = static_cast<size_t>(problem.cols);
  if (hessian.size() != problem.cols || order.size() != size || diagonal_add.size() != size) {
    throw Error(Status::internal, cat("refine: ", size, " columns, a Hessian of ", hessian.size()));
  }
  if (problem.rows == 0 || problem.cols == 0) return;
  const UpperPanels& sums = static_cast<const CpuHessian&>(hessian).sums();
  Refinement(*this, permuted(*this, sums, order, diagonal_add), params, problem).run();
}

}  // namespace gptq::cpu
