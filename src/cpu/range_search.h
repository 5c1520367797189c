// Finding scale and zero point of a group, for 16 rows of weights side by side.
#pragma once

#include <cstdint>

#include "backend/range.h"
#include "cpu/quantize_columns.h"

namespace gptq::cpu {

/// The weights of one group.
struct GroupWeights {
  int64_t count;             // columns
  const float* weights;      // [count][kLanes]
  const float* curvature;    // [count] 1 / U_jj^2; null: all 1
  const float* u = nullptr;  // U [count][stride] of these columns, upper triangular; null: not at hand
  int64_t stride = 0;
};

/// ranges[l] for the weights of lane l, by params.range.
void search_ranges(const Kernels& kernels, const SolveParams& params, const GroupWeights& group,
                   Range* ranges);

}  // namespace gptq::cpu
