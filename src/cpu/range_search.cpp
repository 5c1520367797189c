// Every candidate is tried on all weights of the group; the first of the best counts. Under the Hessian the best few are
// then tried by what the solver itself will do to the group.
#include "cpu/range_search.h"

#include <algorithm>
#include <cmath>

#include "cpu/quantize_columns.h"

namespace gptq::cpu {
namespace {

/// Candidate ranges are these parts of the one that covers all weights.
struct Shrinks {
  int count;
  float first, step;
  float at(int i) const { return first - step * static_cast<float>(i); }
};
constexpr Shrinks kForLoss{33, 1.05f, 0.02f};
constexpr Shrinks kForMse{80, 1.0f, 0.01f};  // as the reference implementation

/// Candidates that are tried with error feedback, and columns of a group that may be.
constexpr int kShortlist = 8;
constexpr int64_t kMaxFeedback = 128;

/// A candidate for each lane.
struct Candidate {
  float scale[kLanes], inverse[kLanes], least[kLanes], most[kLanes];

  void set(int64_t l, const Range& range, int bits) {
    scale[l] = range.scale;
    inverse[l] = 1.0f / range.scale;
    least[l] = -static_cast<float>(range.zero);
    most[l] = static_cast<float>((1 << bits) - 1) - static_cast<float>(range.zero);
  }
};

/// w - q for the lanes of one column
inline void residuals(const Candidate& c, const float* w, float* out) {
  constexpr float kShift = 0x1.8p23f;  // adding it rounds to an integer, half to even
  for (int64_t l = 0; l < kLanes; ++l) {
    float steps = w[l] * c.inverse[l];
    steps = steps > c.least[l] ? steps : c.least[l];
    steps = steps < c.most[l] ? steps : c.most[l];
    steps = (steps + kShift) - kShift;
    out[l] = w[l] - c.scale[l] * steps;
  }
}

/// error[l] = sum over columns of curvature * (w - q)^2
void squared_errors(const Candidate& c, const GroupWeights& group, float* error) {
  float difference[kLanes];
  std::fill(error, error + kLanes, 0.0f);
  for (int64_t j = 0; j < group.count; ++j) {
    residuals(c, group.weights + j * kLanes, difference);
    const float curvature = group.curvature != nullptr ? group.curvature[j] : 1.0f;
    for (int64_t l = 0; l < kLanes; ++l) error[l] += curvature * (difference[l] * difference[l]);
  }
}

/// error[l] = sum over columns of |w - q|^norm
void norm_errors(const Candidate& c, const GroupWeights& group, float norm, float* error) {
  float difference[kLanes];
  std::fill(error, error + kLanes, 0.0f);
  for (int64_t j = 0; j < group.count; ++j) {
    residuals(c, group.weights + j * kLanes, difference);
    for (int64_t l = 0; l < kLanes; ++l) error[l] += std::pow(std::fabs(difference[l]), norm);
  }
}

/// error[l] = sum over columns of ((w - q) / U_jj)^2, with each column's error fed back to the later ones: GPTQ within
/// the group. At most kMaxFeedback columns.
void feedback_errors(const Kernels& kernels, const Candidate& c, const GroupWeights& group, float* error) {
  float w[kMaxFeedback * kLanes], steps[kTogether * kLanes];
  std::copy(group.weights, group.weights + group.count * kLanes, w);
  std::fill(error, error + kLanes, 0.0f);
  for (int64_t j = 0, first = 0; j < group.count; ++j) {
    if (j == first + kTogether) first = j;
    const int64_t end = std::min(first + kTogether, group.count);
    const float* u = group.u + j * group.stride;
    float* const step = steps + (j - first) * kLanes;
    residuals(c, w + j * kLanes, step);
    for (int64_t l = 0; l < kLanes; ++l) {
      step[l] /= u[j];
      error[l] += step[l] * step[l];
    }
    kernels.subtract_outer(u + j + 1, 0, step, 1, end - (j + 1), w + (j + 1) * kLanes);
    if (j + 1 < end) continue;
    kernels.subtract_outer(group.u + first * group.stride + end, group.stride, steps, end - first,
                           group.count - end, w + end * kLanes);
  }
}

/// The candidates of least error so far, by lane, best first; the first of equals is before the others.
struct Shortlist {
  static constexpr int kMost = kShortlist;
  int most;  // that are kept
  Range ranges[kMost][kLanes] = {};
  float errors[kMost][kLanes];

  explicit Shortlist(int keep) : most(keep) {
    for (auto& lanes : errors) std::fill(lanes, lanes + kLanes, INFINITY);
  }

  void offer(int64_t l, const Range& range, float error) {
    if (!(error < errors[most - 1][l])) return;
    int i = most - 1;
    for (; i > 0 && error < errors[i - 1][l]; --i) {
      errors[i][l] = errors[i - 1][l];
      ranges[i][l] = ranges[i - 1][l];
    }
    errors[i][l] = error;
    ranges[i][l] = range;
  }
};

struct Search {
  const SolveParams& params;
  const GroupWeights& group;
  Shortlist best;

  void try_all(const Range* candidates) {
    Candidate c;
    float error[kLanes];
    for (int64_t l = 0; l < kLanes; ++l) c.set(l, candidates[l], params.bits);
    if (params.range == RangeSearch::mse) {
      norm_errors(c, group, static_cast<float>(params.mse_norm), error);
    } else {
      squared_errors(c, group, error);
    }
    for (int64_t l = 0; l < kLanes; ++l) best.offer(l, candidates[l], error[l]);
  }

  /// The candidates with their zero points moved.
  void try_moved(const Range* candidates, int by) {
    const int most = (1 << params.bits) - 1;
    Range moved[kLanes];
    for (int64_t l = 0; l < kLanes; ++l) {
      const int zero = std::clamp(int{candidates[l].zero} + by, params.least_zero, most);
      moved[l] = {candidates[l].scale, static_cast<uint16_t>(zero)};
    }
    try_all(moved);
  }

  /// ranges[l]: of the shortlist, the one that loses least once errors are fed back.
  void choose(const Kernels& kernels, Range* ranges) const {
    float least[kLanes];
    std::fill(least, least + kLanes, INFINITY);
    for (int i = 0; i < best.most; ++i) {
      Candidate c;
      float error[kLanes] = {};
      for (int64_t l = 0; l < kLanes; ++l) c.set(l, best.ranges[i][l], params.bits);
      if (best.most > 1) feedback_errors(kernels, c, group, error);
      for (int64_t l = 0; l < kLanes; ++l) {
        if (!(error[l] < least[l]) || !std::isfinite(best.errors[i][l])) continue;
        least[l] = error[l];
        ranges[l] = best.ranges[i][l];
      }
    }
  }
};

/// Whether zero points beside the rounded one are tried.
bool moves_zeros(const SolveParams& params) {
  return params.symmetric == Symmetric::no && (params.range == RangeSearch::hessian || params.bits == 2);
}

}  // namespace

void search_ranges(const Kernels& kernels, const SolveParams& params, const GroupWeights& group,
                   Range* ranges) {
  float low[kLanes] = {}, high[kLanes] = {};
  for (int64_t j = 0; j < group.count; ++j) {
    const float* w = group.weights + j * kLanes;
    for (int64_t l = 0; l < kLanes; ++l) {
      low[l] = w[l] < low[l] ? w[l] : low[l];
      high[l] = w[l] > high[l] ? w[l] : high[l];
    }
  }
  for (int64_t l = 0; l < kLanes; ++l) ranges[l] = range_of(low[l], high[l], params);
  if (params.range == RangeSearch::minmax) return;

  const bool feeds_back =
      params.range == RangeSearch::hessian && group.u != nullptr && group.count <= kMaxFeedback;
  Search search{.params = params, .group = group, .best = Shortlist(feeds_back ? kShortlist : 1)};
  Range candidates[kLanes];
  std::copy(ranges, ranges + kLanes, candidates);
  search.try_all(candidates);
  const Shrinks& shrinks = params.range == RangeSearch::mse ? kForMse : kForLoss;
  for (int i = 0; i < shrinks.count; ++i) {
    const float part = shrinks.at(i);
    for (int64_t l = 0; l < kLanes; ++l) candidates[l] = range_of(part * low[l], part * high[l], params);
    search.try_all(candidates);
    if (!moves_zeros(params)) continue;
    search.try_moved(candidates, -1);
    search.try_moved(candidates, 1);
  }
  search.choose(kernels, ranges);
}

}  // namespace gptq::cpu
