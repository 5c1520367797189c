// Weights of 4 bits in groups of 128, as those of a model that is quantized, but for what they mean.
#pragma once

#include "base/qtensor.h"
#include "base/random.h"

namespace gptq::test {

inline QTensor random_weights(int64_t rows, int64_t cols) {
  constexpr int64_t kGroup = 128;
  QTensor q{.bits = 4, .rows = rows, .cols = cols, .groups = cols / kGroup};
  Random random(5);
  q.codes.resize(static_cast<size_t>(rows * cols));
  for (uint8_t& code : q.codes) code = static_cast<uint8_t>(random.below(16));
  q.scales.assign(static_cast<size_t>(rows * q.groups), 0.015625f);
  q.zeros.assign(q.scales.size(), 8);
  for (int64_t k = 0; k < cols; ++k) q.group_of.push_back(static_cast<int32_t>(k / kGroup));
  return q;
}

}  // namespace gptq::test
