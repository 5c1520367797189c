// The range of a group of weights: the scale and zero point that cover it. The same for every backend.
#pragma once

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdint>

#include "backend/solve.h"
#include "base/half.h"

namespace gptq {

struct Range {
  float scale;
  uint16_t zero;
};

/// The nearest fp16 value that is neither zero nor infinite.
inline float usable_fp16(float scale) {
  return fp16_to_float(float_to_fp16(std::clamp(scale, 0x1p-24f, 65504.0f)));
}

/// For weights whose least is `low` and greatest `high`, both finite. A group of zeros has the range -1 to 1.
inline Range range_of(float low, float high, const SolveParams& params) {
  const auto steps = static_cast<float>((1 << params.bits) - 1);
  low = std::min(low, 0.0f);
  high = std::max(high, 0.0f);
  if (params.symmetric == Symmetric::yes) {
    high = std::max(-low, high);
    if (low < 0.0f || params.compat == Compat::none) low = -high;
  }
  if (low == 0.0f && high == 0.0f) {
    low = -1.0f;
    high = 1.0f;
  }
  float scale = std::clamp((high - low) / steps, FLT_MIN, FLT_MAX);
  if (params.scale_type == ScaleType::f16) scale = usable_fp16(scale);
  if (params.symmetric == Symmetric::yes) return {scale, static_cast<uint16_t>(1 << (params.bits - 1))};
  const float zero = std::clamp(std::nearbyint(-low / scale), 0.0f, steps);
  const auto least = static_cast<float>(params.least_zero);
  if (zero >= least) return {scale, static_cast<uint16_t>(zero)};
  scale = std::max(scale, high / (steps - least));
  if (params.scale_type == ScaleType::f16) scale = usable_fp16(scale);
  return {scale, static_cast<uint16_t>(least)};
}

}  // namespace gptq
