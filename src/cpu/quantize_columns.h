// GPTQ within a block of columns, for 16 rows of weights side by side: loops over them become vector instructions.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/kernels.h"

namespace gptq::cpu {

/// Columns [begin, end) of a block of `size`, all of one group.
struct ColumnStep {
  int64_t begin, end, size;
  const float* u;  // [size][stride], upper triangular; null: no feedback
  const float* p;  // likewise: what later columns get of each weight; null: nothing
  int64_t stride;
  const float* scales;  // [kLanes]
  const float* zeros;   // [kLanes]
  float max_code;
  /// [size][kLanes]: columns of the step become dequantized codes, later ones get their errors
  float* weights;
  float* errors;   // [size][kLanes] out: (w - q) / u_jj
  float* turns;    // [size][kLanes] out: w before it was rounded; only with p
  uint8_t* codes;  // [size][kLanes] out
  float* loss;     // [kLanes] += errors^2
};

/// Columns after which the errors of all of them go to the later ones in one go.
inline constexpr int64_t kTogether = 8;

inline void quantize_columns(const Kernels& kernels, const ColumnStep& step) {
  constexpr float kShift = 0x1.8p23f;  // adding it rounds to an integer, half to even
  float least[kLanes], most[kLanes], error[kLanes];
  for (int64_t l = 0; l < kLanes; ++l) {
    least[l] = -step.zeros[l];
    most[l] = step.max_code - step.zeros[l];
  }
  float less[kTogether * kLanes];  // turns, negative
  for (int64_t j = step.begin, first = j; j < step.end; ++j) {
    if (j == first + kTogether) first = j;
    const int64_t end = std::min(first + kTogether, step.end);
    float* w = step.weights + j * kLanes;
    const float* u = step.u != nullptr ? step.u + j * step.stride : nullptr;
    const float* p = step.p != nullptr ? step.p + j * step.stride : nullptr;
    for (int64_t l = 0; p != nullptr && l < kLanes; ++l) step.turns[j * kLanes + l] = w[l];
    const float pivot = u != nullptr ? u[j] : 1.0f;
    float code[kLanes];
    for (int64_t l = 0; l < kLanes; ++l) {
      float steps = w[l] / step.scales[l];
      steps = steps > least[l] ? steps : least[l];
      steps = steps < most[l] ? steps : most[l];
      steps = (steps + kShift) - kShift;
      code[l] = steps + step.zeros[l];
      const float q = step.scales[l] * steps;
      error[l] = (w[l] - q) / pivot;
      w[l] = q;
      step.errors[j * kLanes + l] = error[l];
      step.loss[l] += error[l] * error[l];
    }
    for (int64_t l = 0; l < kLanes; ++l)
      step.codes[j * kLanes + l] = static_cast<uint8_t>(static_cast<int>(code[l]));
    if (u == nullptr) continue;
    // to columns [from, to): this one's, or those of all since the first
    const auto spread = [&](int64_t first_row, int64_t from, int64_t to) {
      const int64_t rows = j + 1 - first_row;
      float* const later = step.weights + from * kLanes;
      const auto subtract = [&](const float* upper, const float* values) {
        kernels.subtract_outer(upper + first_row * step.stride + from, step.stride, values, rows, to - from,
                               later);
      };
      subtract(step.u, step.errors + first_row * kLanes);
      if (p != nullptr) subtract(step.p, less + (first_row - first) * kLanes);
    };
    for (int64_t l = 0; p != nullptr && l < kLanes; ++l)
      less[(j - first) * kLanes + l] = -step.turns[j * kLanes + l];
    spread(j, j + 1, end);
    if (j + 1 == end) spread(first, end, step.size);
  }
}

}  // namespace gptq::cpu
