// Quantized weights as a test wants them, and packed ones as kernels see them.
#pragma once

#include <algorithm>
#include <vector>

#include "base/half.h"
#include "base/random.h"
#include "cuda/kernels.h"
#include "cuda_support.h"

namespace gptq::cuda {

struct WeightShape {
  int bits = 4;
  int64_t rows = 16, cols = 64, group_size = 64;
  enum class Zeros : uint8_t { middle, own } zeros = Zeros::middle;
  enum class Scales : uint8_t { f16, f32 } scales = Scales::f16;
  enum class Order : uint8_t { sequential, shuffled } order = Order::sequential;
};

inline QTensor random_weights(Random& random, const WeightShape& s) {
  QTensor q{
      .bits = s.bits, .rows = s.rows, .cols = s.cols, .groups = (s.cols + s.group_size - 1) / s.group_size};
  for (int64_t i = 0; i < s.rows * s.cols; ++i)
    q.codes.push_back(static_cast<uint8_t>(random.below(uint64_t{1} << s.bits)));
  for (int64_t i = 0; i < q.groups * s.rows; ++i) {
    const auto scale = static_cast<float>((0.2 + random.uniform()) / (1 << s.bits));
    q.scales.push_back(s.scales == WeightShape::Scales::f16 ? fp16_to_float(float_to_fp16(scale)) : scale);
    q.zeros.push_back(static_cast<uint16_t>(s.zeros == WeightShape::Zeros::middle
                                                ? uint64_t{1} << (s.bits - 1)
                                                : random.below((uint64_t{1} << s.bits) + 1)));
  }
  for (int64_t k = 0; k < s.cols; ++k) q.group_of.push_back(static_cast<int32_t>(k / s.group_size));
  for (size_t k = q.group_of.size(); s.order == WeightShape::Order::shuffled && k > 1; --k)
    std::swap(q.group_of[k - 1], q.group_of[random.below(k)]);
  return q;
}

inline std::vector<float> dequantized(const QTensor& q) {
  std::vector<float> w(static_cast<size_t>(q.rows * q.cols));
  for (int64_t row = 0; row < q.rows; ++row) dequantize_row(q, row, w.data() + row * q.cols);
  return w;
}

/// `packed` and `bias` outlive it.
inline Weights view_of(const PackedWeights& packed, const std::vector<float>& bias = {}) {
  return {.shape = packed.shape,
          .words = packed.words.data(),
          .scales_f16 = packed.scales_f16.empty() ? nullptr : packed.scales_f16.data(),
          .scales_f32 = packed.scales_f32.empty() ? nullptr : packed.scales_f32.data(),
          .zeros = packed.zeros.empty() ? nullptr : packed.zeros.data(),
          .order = packed.order.empty() ? nullptr : packed.order.data(),
          .bias = bias.empty() ? nullptr : bias.data()};
}

}  // namespace gptq::cuda
