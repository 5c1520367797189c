// The range of a group of weights, found by a warp: as backend/range.h and the search that SolveParams speaks of.
#pragma once

#include <cfloat>

#include "cuda/elements.cuh"
#include "cuda/solve.h"

namespace gptq::cuda {

struct GroupRange {
  float scale;
  int zero;
};

GPTQ_DEVICE float least_of(float a, float b) { return a < b ? a : b; }
GPTQ_DEVICE float most_of(float a, float b) { return a > b ? a : b; }

/// The nearest fp16 value that is neither zero nor infinite.
GPTQ_DEVICE float nearest_usable_half(float scale) {
  return to_float(from_float<Half>(least_of(most_of(scale, 0x1p-24f), 65504.0f)));
}

/// As range_of() of backend/range.h.
GPTQ_DEVICE GroupRange range_between(float low, float high, const SolveParams& params) {
  const auto steps = static_cast<float>((1 << params.bits) - 1);
  low = least_of(low, 0.0f);
  high = most_of(high, 0.0f);
  if (params.symmetric == Symmetric::yes) {
    high = most_of(-low, high);
    if (low < 0.0f || params.compat == Compat::none) low = -high;
  }
  if (low == 0.0f && high == 0.0f) {
    low = -1.0f;
    high = 1.0f;
  }
  float scale = least_of(most_of((high - low) / steps, FLT_MIN), FLT_MAX);
  if (params.scale_type == ScaleType::f16) scale = nearest_usable_half(scale);
  if (params.symmetric == Symmetric::yes) return {scale, 1 << (params.bits - 1)};
  const float zero = least_of(most_of(rintf(-low / scale), 0.0f), steps);
  const auto least = static_cast<float>(params.least_zero);
  if (zero >= least) return {scale, static_cast<int>(zero)};
  scale = most_of(scale, high / (steps - least));
  if (params.scale_type == ScaleType::f16) scale = nearest_usable_half(scale);
  return {scale, params.least_zero};
}

/// What a weight is rounded to, in steps of the scale.
GPTQ_DEVICE float rounded_steps(float steps, const GroupRange& range, int bits) {
  const auto zero = static_cast<float>(range.zero), most = static_cast<float>((1 << bits) - 1) - zero;
  steps = steps > -zero ? steps : -zero;
  return rintf(steps < most ? steps : most);
}

/// The candidates of least error so far, best first; the first of equals is before the others.
struct Shortlist {
  static constexpr int kMost = 8;
  GroupRange ranges[kMost];
  float errors[kMost];

  GPTQ_DEVICE explicit Shortlist(GroupRange range) {
#pragma unroll
    for (int i = 0; i < kMost; ++i) {
      ranges[i] = range;
      errors[i] = INFINITY;
    }
  }
  GPTQ_DEVICE void offer(GroupRange range, float error) {
    if (!(error < errors[kMost - 1])) return;
    ranges[kMost - 1] = range;
    errors[kMost - 1] = error;
#pragma unroll
    for (int i = kMost - 1; i > 0; --i) {
      if (!(errors[i] < errors[i - 1])) continue;
      const GroupRange lesser = ranges[i];
      const float error_of_lesser = errors[i];
      ranges[i] = ranges[i - 1];
      errors[i] = errors[i - 1];
      ranges[i - 1] = lesser;
      errors[i - 1] = error_of_lesser;
    }
  }
};

/// `columns(f)` calls f(weight, curvature) for the lane's columns of the group; `feedback(range)` gives what the group
/// loses when errors are fed back, or is not asked where `feeds_back` is false.
template <class Columns, class Feedback>
GPTQ_DEVICE GroupRange search_range(const SolveParams& params, Columns columns, bool feeds_back,
                                    Feedback feedback) {
  float low = 0, high = 0;
  columns([&](float w, float) {
    low = w < low ? w : low;
    high = w > high ? w : high;
  });
  high = warp_max(high);
  low = -warp_max(-low);
  const GroupRange whole = range_between(low, high, params);
  if (params.range == RangeSearch::minmax) return whole;

  const bool mse = params.range == RangeSearch::mse;
  const auto norm = static_cast<float>(params.mse_norm);
  Shortlist best(whole);
  const auto offer = [&](GroupRange range) {
    const float inverse = 1.0f / range.scale;
    float error = 0;
    columns([&](float w, float curvature) {
      const float difference = w - range.scale * rounded_steps(w * inverse, range, params.bits);
      error += mse ? powf(fabsf(difference), norm) : curvature * (difference * difference);
    });
    best.offer(range, warp_sum(error));
  };
  offer(whole);
  const bool moves_zeros = params.symmetric == Symmetric::no && (!mse || params.bits == 2);
  const int most_zero = (1 << params.bits) - 1, count = mse ? 80 : 33;
  for (int i = 0; i < count; ++i) {
    const float part = mse ? 1.0f - 0.01f * static_cast<float>(i) : 1.05f - 0.02f * static_cast<float>(i);
    const GroupRange range = range_between(part * low, part * high, params);
    offer(range);
    if (!moves_zeros) continue;
    offer({range.scale, range.zero - 1 > params.least_zero ? range.zero - 1 : params.least_zero});
    offer({range.scale, range.zero + 1 < most_zero ? range.zero + 1 : most_zero});
  }
  if (!feeds_back || mse) return best.errors[0] < INFINITY ? best.ranges[0] : whole;
  GroupRange chosen = whole;
  float least = INFINITY;
#pragma unroll
  for (int i = 0; i < Shortlist::kMost; ++i) {
    if (!(best.errors[i] < INFINITY)) continue;
    const float error = feedback(best.ranges[i]);
    if (!(error < least)) continue;
    least = error;
    chosen = best.ranges[i];
  }
  return chosen;
}

}  // namespace gptq::cuda
