// Coordinate descent on (W - Q) H (W - Q)^T. With R = W - Q and G = R H, the best value of one weight, all else equal,
// is q + G_j / H_jj. Spans of columns go one after another: G of a span is one product with all of H's rows. In it blocks go
// one after another: a product with some of H's rows makes up for what has changed in the span before the block, and what
// changes inside the block is kept up to date in it, 16 rows of weights side by side. Rows know nothing of each other, so
// that bands of them go through all sweeps one after another.
//
// Products may be rounded as sums over inputs are: G decides where codes go and is found again from R in each sweep.
//
// R, G and H have room after each block, zeros, so that every block begins where a packed H may be entered:
//
//   columns      0 ... 127 | 128 ... 227 | 228 ...      blocks of 128 and 100 columns
//   their place  0 ... 127 | 128 ... 227, zeros | 256 ...
#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "backend/range.h"
#include "base/error.h"
#include "base/text.h"
#include "cpu/hessian.h"
#include "cpu/quantize_columns.h"
#include "cpu/stream_cpu.h"
#include "cpu/tiled_product.h"

namespace gptq::cpu {
namespace {

constexpr int64_t kBlock = 128, kSpan = kRefinedColumns;  // columns

struct Columns {
  int64_t begin, end;
  int64_t place = 0, room = 0;  // of one block or several
  int64_t size() const { return end - begin; }
  int64_t end_place() const { return place + room; }
};

constexpr int64_t room_for(int64_t columns) {
  return (columns + PackedRight::kInputs - 1) / PackedRight::kInputs * PackedRight::kInputs;
}

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
  int64_t place = 0;
  for (Columns& block : blocks) {
    block.place = place;
    block.room = room_for(block.size());
    place = block.end_place();
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
    if (spans.empty() || block.end_place() - spans.back().place > kSpan || cut_at(block.begin)) {
      spans.push_back(block);
    } else {
      spans.back().end = block.end;
      spans.back().room += block.room;
    }
  }
  return spans;
}

/// H'[i][j] = H[order[i]][order[j]] + (i == j ? diagonal_add[i] : 0) for places i and j.
class PlacedHessian {
 public:
  PlacedHessian(const UpperPanels& h, std::span<const int32_t> order, std::span<const float> diagonal_add,
                const std::vector<Columns>& blocks)
      : h_(h), source_(static_cast<size_t>(blocks.back().end_place()), -1), diagonal_add_(source_.size()) {
    for (const Columns& b : blocks) {
      const auto copy = [&](const auto& from, auto& to) {
        std::copy(from.begin() + b.begin, from.begin() + b.end, to.begin() + b.place);
      };
      copy(order, source_);
      copy(diagonal_add, diagonal_add_);
    }
  }

  int64_t places() const { return static_cast<int64_t>(source_.size()); }

  float at(int64_t i, int64_t j) const {
    const int32_t row = source_[static_cast<size_t>(i)], col = source_[static_cast<size_t>(j)];
    if (row < 0 || col < 0) return 0;
    return h_.symmetric(row, col) + (i == j ? diagonal_add_[static_cast<size_t>(i)] : 0.0f);
  }

  FillPanel panels() const {
    return [this](int64_t col, int64_t cols, int64_t k, int64_t depth, float* out) {
      for (int64_t i = 0; i < depth; ++i, out += kTileCols) {
        for (int64_t c = 0; c < cols; ++c) out[c] = at(k + i, col + c);
      }
    };
  }

 private:
  const UpperPanels& h_;
  std::vector<int32_t> source_;      // [places] column of H, -1 for none
  std::vector<float> diagonal_add_;  // [places]
};

/// The best scale for codes as they are, or the old one if that would be another solution altogether.
float fitted_scale(float old, double numerator, double denominator, ScaleType type) {
  const double fitted = old + numerator / denominator;
  if (!(denominator > 0) || !(fitted >= 0.5 * old && fitted <= 2.0 * old)) return old;
  const auto scale = static_cast<float>(fitted);
  return type == ScaleType::f16 ? usable_fp16(scale) : scale;
}

class Refinement {
 public:
  Refinement(CpuStream& stream, const UpperPanels& h, std::span<const int32_t> order,
             std::span<const float> diagonal_add, const RefineParams& params, const RefineProblem& problem)
      : stream_(stream),
        params_(params),
        problem_(problem),
        groups_(find_groups(problem)),
        blocks_(find_blocks(groups_)),
        spans_(find_spans(blocks_, groups_)),
        h_(h, order, diagonal_add, blocks_),
        packed_(stream, stream.gemms().rounded, h_.places(), h_.places(), h_.panels()),
        most_rows_(refined_rows(problem.rows, stream.threads())),
        residual_(static_cast<size_t>(most_rows_ * h_.places())) {
    for (const Columns& span : spans_) stride_ = std::max(stride_, span.room + kTileCols);
    product_.resize(static_cast<size_t>(most_rows_ * stride_));
    if (params.sweeps > 0) prepare_sweeps();
  }

  void run() {
    for (first_row_ = 0; first_row_ < problem_.rows; first_row_ += most_rows_) {
      rows_ = std::min(most_rows_, problem_.rows - first_row_);
      for (int i = 0; i < params_.sweeps; ++i) sweep(i >= params_.sweeps - params_.refits);
      if (problem_.row_loss != nullptr) find_loss();
    }
  }

 private:
  void prepare_sweeps() {
    less_.resize(product_.size());
    corners_.resize(static_cast<size_t>(h_.places() * kBlock));
    for (const Columns& b : blocks_) {
      for (int64_t j = 0; j < b.size(); ++j) {
        for (int64_t i = 0; i < b.size(); ++i) corner(b, j)[i] = h_.at(b.place + j, b.place + i);
      }
    }
  }

  /// Row j of H within the block.
  float* corner(const Columns& b, int64_t j) { return corners_.data() + (b.place + j) * kBlock; }
  const float* corner(const Columns& b, int64_t j) const { return corners_.data() + (b.place + j) * kBlock; }

  // Rows r of the band; those of the problem are counted with these.
  uint8_t& code(int64_t r, int64_t column) const {
    return problem_.codes[(first_row_ + r) * problem_.cols + problem_.stored[column]];
  }
  /// Of scales and zeros.
  int64_t range(int64_t column, int64_t r) const {
    return problem_.group_of[column] * problem_.rows + first_row_ + r;
  }
  float* residual(int64_t r) { return residual_.data() + r * h_.places(); }

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
    find_residual(blocks_);
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

  void find_residual(std::span<const Columns> blocks) {
    each_row([&](int64_t r) {
      const float* target = problem_.target + (first_row_ + r) * problem_.cols;
      for (const Columns& b : blocks) {
        float* const row = residual(r) + b.place;
        for (int64_t j = b.begin; j < b.end; ++j) {
          const int64_t at = range(j, r);
          const float value = problem_.scales[at] * static_cast<float>(code(r, j) - problem_.zeros[at]);
          row[j - b.begin] = target[problem_.stored[j]] - value;
        }
      }
    });
  }

  /// y (+)= x H[from, to] for x [rows, from.room]; y is product_ or less_ from some place of a span on.
  void multiply(const float* x, int64_t x_stride, const Columns& from, const Columns& to, float* y,
                TiledStart start) {
    tiled_product(stream_, packed_, from.place, to.place,
                  {x, x_stride, y, stride_, rows_, from.room, to.room}, start);
  }
  Columns all() const { return {0, problem_.cols, 0, h_.places()}; }
  /// product_ = R H[all, to]
  void multiply_residual(const Columns& to) {
    multiply(residual_.data(), h_.places(), all(), to, product_.data(), TiledStart::zero);
  }
  /// G of a block after the changes in the span before it.
  void follow_span(const Columns& span, const Columns& b) {
    if (b.begin == span.begin) return;
    const Columns before{span.begin, b.begin, span.place, b.place - span.place};
    multiply(less_.data(), stride_, before, b, product_.data() + before.room, TiledStart::y);
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
    const int64_t at = r * stride_ + b.place - span.place;
    stream_.kernels().pack(Dense::f32, product_.data() + at, stride_, lanes, b.size(), x.g, kLanes);
    for (int64_t l = 0; l < lanes; ++l) {
      for (int64_t j = 0; j < b.size(); ++j) x.codes[j * kLanes + l] = code(r + l, b.begin + j);
    }
    move_codes(b, r, lanes, first < last ? Behind::followed : Behind::done, x);
    for (int64_t l = 0; l < lanes; ++l) {
      for (int64_t j = 0; j < b.size(); ++j)
        code(r + l, b.begin + j) = static_cast<uint8_t>(x.codes[j * kLanes + l]);
    }
    for (size_t group = first; group < last; ++group) refit_small(b, groups_[group], r, lanes, x);
    for (int64_t j = 0; j < b.room; j += kTileCols) {
      float change[kLanes * kTileCols];  // as rows
      stream_.kernels().pack(Dense::f32, x.change + j * kLanes, kLanes, kTileCols, kLanes, change, kTileCols);
      for (int64_t l = 0; l < lanes; ++l) {
        float *row = residual(r + l) + b.place + j, *less = less_.data() + at + l * stride_ + j;
        for (int64_t i = 0; i < kTileCols; ++i) {
          row[i] -= change[l * kTileCols + i];
          less[i] = -change[l * kTileCols + i];
        }
      }
    }
  }

  /// G of columns [to, end) of the block after columns from j on went up by `by`, [count][kLanes].
  void follow(const Columns& b, int64_t j, int64_t count, const float* by, int64_t to, int64_t end,
              float* g) const {
    stream_.kernels().subtract_outer(corner(b, j) + to, kBlock, by, count, end - to, g + to * kLanes);
  }

  /// Whether anybody asks for G of columns that codes have been found for.
  enum class Behind : uint8_t { followed, done };

  /// Columns left to right, each code goes to the best one.
  void move_codes(const Columns& b, int64_t r, int64_t lanes, Behind behind, Lanes& x) const {
    float scales[kLanes], inverses[kLanes], up[kTogether * kLanes];
    for (int64_t first = 0, end; first < b.size(); first = end) {
      end = std::min(first + kTogether, b.size());
      bool moved = false;
      for (int64_t j = first; j < end; ++j) {
        const int64_t column = b.begin + j;
        if (j == 0 || problem_.group_of[column] != problem_.group_of[column - 1])
          load_scales(column, r, lanes, scales, inverses);
        float* const by = up + (j - first) * kLanes;
        if (!move_column(j, 1.0f / corner(b, j)[j], scales, inverses, by, x)) continue;
        moved = true;
        follow(b, j, 1, by, behind == Behind::followed ? first : j + 1, end, x.g);
      }
      if (!moved) continue;
      follow(b, first, end - first, up, end, b.size(), x.g);
      if (behind == Behind::followed) follow(b, first, end - first, up, 0, first, x.g);
    }
  }

  void load_scales(int64_t column, int64_t r, int64_t lanes, float* scales, float* inverses) const {
    const float* from = problem_.scales + range(column, r);
    for (int64_t l = 0; l < kLanes; ++l) {
      scales[l] = l < lanes ? from[l] : 1.0f;
      inverses[l] = 1.0f / scales[l];
    }
  }

  /// Returns whether a code has changed; up [kLanes] is by how much the weights went up. Loops over lanes become vector
  /// instructions.
  bool move_column(int64_t j, float by_curvature, const float* scales, const float* inverses, float* up,
                   Lanes& x) const {
    constexpr float kShift = 0x1.8p23f;  // adding it rounds to an integer, half to even
    const auto most = static_cast<float>((1 << params_.bits) - 1);
    const float* g = x.g + j * kLanes;
    float *codes = x.codes + j * kLanes, *change = x.change + j * kLanes;
    float moved = 0;
    for (int64_t l = 0; l < kLanes; ++l) {
      float best = codes[l] + g[l] * by_curvature * inverses[l];
      best = best > 0.0f ? best : 0.0f;
      best = best < most ? best : most;
      best = (best + kShift) - kShift;
      up[l] = scales[l] * (best - codes[l]);
      moved += std::fabs(best - codes[l]);
      codes[l] = best;
    }
    for (int64_t l = 0; l < kLanes; ++l) change[l] += up[l];
    return moved != 0;
  }

  /// A group inside the block: the scale s minimizes (R - (s - s_old) C) H (...)^T for C = code - zero.
  void refit_small(const Columns& b, const Columns& group, int64_t r, int64_t lanes, Lanes& x) const {
    float c[kBlock * kLanes] = {}, h_c[kBlock * kLanes] = {};
    const int64_t at = range(group.begin, r);
    for (int64_t j = group.begin; j < group.end; ++j) {
      float* column = c + (j - b.begin) * kLanes;
      for (int64_t l = 0; l < lanes; ++l)
        column[l] = x.codes[(j - b.begin) * kLanes + l] - static_cast<float>(problem_.zeros[at + l]);
    }
    const int64_t first = group.begin - b.begin;
    follow(b, first, group.size(), c + first * kLanes, 0, b.size(), h_c);  // h_c = -C H
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
    const auto within = [&](const Columns& part) {
      return part.begin >= group.begin && part.end <= group.end;
    };
    const auto first = std::find_if(blocks_.begin(), blocks_.end(), within);
    const auto last = std::find_if_not(first, blocks_.end(), within);
    const std::span<const Columns> blocks(first, last);
    const Columns whole{group.begin, group.end, first->place, std::prev(last)->end_place() - first->place};
    const auto rows = static_cast<size_t>(rows_);
    std::vector<float> c(rows * static_cast<size_t>(whole.room));
    std::vector<double> numerator(rows), denominator(rows);
    each_row([&](int64_t r) {
      const uint16_t zero = problem_.zeros[range(group.begin, r)];
      for (const Columns& b : blocks) {
        float* const row = c.data() + r * whole.room + b.place - whole.place;
        for (int64_t j = b.begin; j < b.end; ++j) row[j - b.begin] = static_cast<float>(code(r, j)) - zero;
      }
    });
    for (const Columns& s : spans_) {
      if (!within(s)) continue;
      multiply_residual(s);
      multiply(c.data(), whole.room, whole, s, less_.data(), TiledStart::zero);
      each_row([&](int64_t r) {
        const auto at = static_cast<size_t>(r);
        const float* codes = c.data() + r * whole.room + s.place - whole.place;
        const float *g = product_.data() + r * stride_, *h_c = less_.data() + r * stride_;
        for (int64_t i = 0; i < s.room; ++i) {
          numerator[at] += double{codes[i]} * g[i];
          denominator[at] += double{codes[i]} * h_c[i];
        }
      });
    }
    each_row([&](int64_t r) {
      const auto i = static_cast<size_t>(r);
      float& scale = problem_.scales[range(group.begin, r)];
      scale = fitted_scale(scale, numerator[i], denominator[i], params_.scale_type);
    });
    find_residual(blocks);
  }

  /// R H R^T / 2 by the half of H above its diagonal blocks, and these: H is symmetric.
  void find_loss() {
    find_residual(blocks_);
    double* const loss = problem_.row_loss + first_row_;
    std::fill(loss, loss + rows_, 0.0);
    const auto add = [&](const Columns& b, const Columns& from, double factor) {
      multiply(residual_.data() + from.place, h_.places(), from, b, product_.data(), TiledStart::zero);
      each_row([&](int64_t r) {
        const float *row = residual(r) + b.place, *g = product_.data() + r * stride_;
        double sum = 0;
        for (int64_t i = 0; i < b.room; ++i) sum += double{row[i]} * g[i];
        loss[r] += factor * sum;
      });
    };
    for (const Columns& s : spans_) {
      if (s.place > 0) add(s, {0, s.begin, 0, s.place}, 1);
      add(s, s, 0.5);
    }
  }

  CpuStream& stream_;
  const RefineParams& params_;
  const RefineProblem& problem_;
  std::vector<Columns> groups_, blocks_, spans_;
  PlacedHessian h_;
  PackedRight packed_;          // H
  std::vector<float> corners_;  // [places][kBlock] of each block's columns
  // of the band under way
  int64_t most_rows_, first_row_ = 0, rows_ = 0;
  std::vector<float> residual_;  // R [rows, places]
  // of the span, [rows, its room]: R H, and what was taken from weights. Rows are not a power of two apart, which would put
  // those of a tile into one place of the cache
  std::vector<float> product_, less_;
  int64_t stride_ = 0;
};

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
  Refinement(*this, sums, order, diagonal_add, params, problem).run();
}

}  // namespace gptq::cpu
