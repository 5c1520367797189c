// Coordinate descent on (W - Q) H (W - Q)^T. With R = W - Q and G = R H, the best value of one weight, all else equal,
// is q + G_j / H_jj. Spans of columns go one after another: G of a span is one product with all of H's rows. In it blocks go
// one after another: a product with some of H's rows makes up for what has changed in the span before the block, and what
// changes inside the block is kept up to date in it, 16 rows of weights side by side. Rows know nothing of each other, so
// that bands of them go through all sweeps one after another.
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

constexpr int64_t kBlock = 128, kSpan = kRefinedColumns;  // columns

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

/// Whole blocks; a group of several has spans of its own, since its scale changes behind it.
std::vector<Columns> find_spans(const std::vector<Columns>& blocks, const std::vector<Columns>& groups) {
  const auto cut_at = [&](int64_t column) {
    return std::any_of(groups.begin(), groups.end(), [&](const Columns& group) {
      return group.size() > kBlock && (group.begin == column || group.end == column);
    });
  };
  std::vector<Columns> spans;
  for (const Columns& block : blocks) {
    const bool open = !spans.empty() && block.end - spans.back().begin <= kSpan && !cut_at(block.begin);
    open ? void(spans.back().end = block.end) : spans.push_back(block);
  }
  return spans;
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
        most_rows_(refined_rows(problem.rows, stream.threads())),
        residual_(static_cast<size_t>(most_rows_ * problem.cols)),
        groups_(find_groups(problem)),
        blocks_(find_blocks(groups_)),
        spans_(find_spans(blocks_, groups_)) {
    int64_t widest = 0;
    for (const Columns& span : spans_) widest = std::max(widest, span.size());
    product_.resize(static_cast<size_t>(most_rows_ * widest));
    if (params.sweeps > 0) less_.resize(product_.size());
  }

  void run() {
    for (first_row_ = 0; first_row_ < problem_.rows; first_row_ += most_rows_) {
      rows_ = std::min(most_rows_, problem_.rows - first_row_);
      for (int i = 0; i < params_.sweeps; ++i) sweep(i >= params_.sweeps - params_.refits);
      if (problem_.row_loss != nullptr) find_loss();
    }
  }

 private:
  // Rows r of the band; those of the problem are counted with these.
  uint8_t* codes(int64_t r) const { return problem_.codes + (first_row_ + r) * problem_.cols; }
  /// Of scales and zeros.
  int64_t place(int64_t column, int64_t r) const {
    return problem_.group_of[column] * problem_.rows + first_row_ + r;
  }
  float* residual(int64_t r) { return residual_.data() + r * problem_.cols; }

  void each_row(const std::function<void(int64_t r)>& visit) {
    stream_.parallel_for(rows_, 16, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) visit(r);
    });
  }
  void each_lanes(const std::function<void(int64_t r, int64_t lanes)>& visit) {
    stream_.parallel_for((rows_ + kLanes - 1) / kLanes, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) visit(i * kLanes, std::min(kLanes, rows_ - i * kLanes));
    });
  }

  void sweep(bool refit) {
    find_residual({0, problem_.cols});
    size_t group = 0;  // the first that is not behind
    auto block = blocks_.begin();
    for (const Columns& span : spans_) {
      multiply_residual(span);
      for (; block != blocks_.end() && block->end <= span.end; ++block) {
        const Columns& b = *block;
        follow_span(span, b);
        const size_t first = group;
        while (group < groups_.size() && groups_[group].end <= b.end) ++group;
        const bool whole = first < group && groups_[first].begin >= b.begin;
        each_lanes([&](int64_t r, int64_t lanes) {
          descend(span, b, r, lanes, refit && whole ? first : group, group);
        });
        if (refit && first < group && !whole) refit_large(groups_[first]);
      }
    }
  }

  void find_residual(const Columns& columns) {
    each_row([&](int64_t r) {
      const float* target = problem_.target + (first_row_ + r) * problem_.cols;
      for (int64_t j = columns.begin; j < columns.end; ++j) {
        const int64_t at = place(j, r);
        const float value = problem_.scales[at] * static_cast<float>(codes(r)[j] - problem_.zeros[at]);
        residual(r)[j] = target[j] - value;
      }
    });
  }

  /// y [rows, to.size()] (+)= x [rows, from.size()] H[from, to]
  void multiply(const float* x, int64_t x_stride, const Columns& from, const Columns& to, float* y,
                int64_t y_stride, TiledStart start) {
    const FillPanel fill = [&](int64_t col, int64_t cols, int64_t k, int64_t depth, float* panel) {
      const float* h = h_.data() + (from.begin + k) * problem_.cols + to.begin + col;
      for (int64_t i = 0; i < depth; ++i, h += problem_.cols, panel += kTileCols)
        std::copy(h, h + cols, panel);
    };
    tiled_product(stream_, stream_.gemms().usual, {x, x_stride, y, y_stride, rows_, from.size(), to.size()},
                  start, nullptr, fill);
  }
  /// product_ = R H[all, to]
  void multiply_residual(const Columns& to) {
    multiply(residual_.data(), problem_.cols, {0, problem_.cols}, to, product_.data(), to.size(),
             TiledStart::zero);
  }
  /// G of a block after the changes in the span before it.
  void follow_span(const Columns& span, const Columns& b) {
    if (b.begin == span.begin) return;
    multiply(less_.data(), span.size(), {span.begin, b.begin}, b, product_.data() + b.begin - span.begin,
             span.size(), TiledStart::y);
  }

  /// What the lanes have in a block, [columns][kLanes] each.
  struct Lanes {
    float g[kBlock * kLanes];            // G
    float codes[kBlock * kLanes] = {};   // whole numbers
    float change[kBlock * kLanes] = {};  // of the weights, so far
  };

  /// Rows r, r + 1, ... of the block, whose G is in product_; fits the scales of groups [first, last) behind it.
  void descend(const Columns& span, const Columns& b, int64_t r, int64_t lanes, size_t first, size_t last) {
    Lanes x;
    const int64_t at = r * span.size() + b.begin - span.begin;
    stream_.kernels().pack(Dense::f32, product_.data() + at, span.size(), lanes, b.size(), x.g, kLanes);
    for (int64_t l = 0; l < lanes; ++l) {
      const uint8_t* from = codes(r + l) + b.begin;
      for (int64_t j = 0; j < b.size(); ++j) x.codes[j * kLanes + l] = from[j];
    }
    float scales[kLanes], inverses[kLanes];
    for (int64_t j = 0; j < b.size(); ++j) {
      const int64_t column = b.begin + j;
      if (j == 0 || problem_.group_of[column] != problem_.group_of[column - 1]) {
        const float* from = problem_.scales + place(column, r);
        for (int64_t l = 0; l < kLanes; ++l) {
          scales[l] = l < lanes ? from[l] : 1.0f;
          inverses[l] = 1.0f / scales[l];
        }
      }
      move_codes(b, j, scales, inverses, x);
    }
    for (int64_t l = 0; l < lanes; ++l) {
      uint8_t* to = codes(r + l) + b.begin;
      for (int64_t j = 0; j < b.size(); ++j) to[j] = static_cast<uint8_t>(x.codes[j * kLanes + l]);
    }
    for (size_t group = first; group < last; ++group) refit_small(b, groups_[group], r, lanes, x);
    for (int64_t l = 0; l < lanes; ++l) {
      float *row = residual(r + l) + b.begin, *less = less_.data() + at + l * span.size();
      for (int64_t j = 0; j < b.size(); ++j) {
        row[j] -= x.change[j * kLanes + l];
        less[j] = -x.change[j * kLanes + l];
      }
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
    const int64_t at = place(group.begin, r);
    for (int64_t j = group.begin; j < group.end; ++j) {
      float* column = c + (j - b.begin) * kLanes;
      for (int64_t l = 0; l < lanes; ++l)
        column[l] = static_cast<float>(codes(r + l)[j]) - problem_.zeros[at + l];
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

  /// A group of several blocks. Its span ends with it, so that product_ and less_ are free.
  void refit_large(const Columns& group) {
    const auto rows = static_cast<size_t>(rows_);
    std::vector<float> c(rows * static_cast<size_t>(group.size()));
    std::vector<double> numerator(rows), denominator(rows);
    each_row([&](int64_t r) {
      const uint16_t zero = problem_.zeros[place(group.begin, r)];
      for (int64_t j = group.begin; j < group.end; ++j)
        c[static_cast<size_t>(r * group.size() + j - group.begin)] = static_cast<float>(codes(r)[j]) - zero;
    });
    for (const Columns& s : spans_) {
      if (s.begin < group.begin || s.end > group.end) continue;
      multiply_residual(s);
      multiply(c.data(), group.size(), group, s, less_.data(), s.size(), TiledStart::zero);
      each_row([&](int64_t r) {
        const float* code = c.data() + r * group.size() + s.begin - group.begin;
        for (int64_t i = 0; i < s.size(); ++i) {
          numerator[static_cast<size_t>(r)] +=
              double{code[i]} * product_[static_cast<size_t>(r * s.size() + i)];
          denominator[static_cast<size_t>(r)] +=
              double{code[i]} * less_[static_cast<size_t>(r * s.size() + i)];
        }
      });
    }
    each_row([&](int64_t r) {
      const auto i = static_cast<size_t>(r);
      float& scale = problem_.scales[place(group.begin, r)];
      scale = fitted_scale(scale, numerator[i], denominator[i], params_.scale_type);
    });
    find_residual(group);
  }

  void find_loss() {
    find_residual({0, problem_.cols});
    double* const loss = problem_.row_loss + first_row_;
    std::fill(loss, loss + rows_, 0.0);
    for (const Columns& s : spans_) {
      multiply_residual(s);
      each_row([&](int64_t r) {
        double sum = 0;
        for (int64_t i = 0; i < s.size(); ++i)
          sum += double{residual(r)[s.begin + i]} * product_[static_cast<size_t>(r * s.size() + i)];
        loss[r] += sum / 2;
      });
    }
  }

  CpuStream& stream_;
  const RefineParams& params_;
  const RefineProblem& problem_;
  std::vector<float> h_;  // [cols, cols]
  // of the band under way
  int64_t most_rows_, first_row_ = 0, rows_ = 0;
  std::vector<float> residual_;  // R [rows, cols]
  std::vector<float> product_,
      less_;  // of the span, [rows, its columns]: R H, and what was taken from weights
  std::vector<Columns> groups_, blocks_, spans_;
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
