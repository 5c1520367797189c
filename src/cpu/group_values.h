// Where the scales and zero points of packed weights are kept, and one of them at a time; not for kernel files.
#pragma once

#include <algorithm>
#include <vector>

#include "base/half.h"
#include "cpu/aligned.h"
#include "cpu/kernels.h"

namespace gptq::cpu {

/// 0 where there are none.
inline float value_at(const GroupValues& values, int64_t at) {
  if (values.halves != nullptr) return fp16_to_float(values.halves[at]);
  return values.floats != nullptr ? values.floats[at] : 0.0f;
}

/// What GroupValues point to; none by default.
class GroupBlock {
 public:
  enum class Width : uint8_t { half, single };
  /// The narrower that has all of them exactly.
  static Width width_of(const std::vector<float>& values) {
    const auto fits = [](float x) { return fp16_to_float(float_to_fp16(x)) == x; };
    return std::all_of(values.begin(), values.end(), fits) ? Width::half : Width::single;
  }

  GroupBlock() = default;
  GroupBlock(int64_t count, Width width)
      : width_(width),
        block_(static_cast<size_t>(count) * (width == Width::half ? sizeof(uint16_t) : sizeof(float))) {}

  size_t bytes() const { return block_.bytes(); }
  bool empty() const { return block_.bytes() == 0; }
  void set(int64_t at, float value) {
    if (width_ == Width::half) {
      block_.as<uint16_t>()[at] = float_to_fp16(value);
    } else {
      block_.as<float>()[at] = value;
    }
  }
  /// Those from `at` on.
  GroupValues from(int64_t at) const {
    if (empty()) return {};
    return width_ == Width::half ? GroupValues{nullptr, block_.as<uint16_t>() + at}
                                 : GroupValues{block_.as<float>() + at, nullptr};
  }

 private:
  Width width_ = Width::single;
  AlignedBlock block_;
};

}  // namespace gptq::cpu
