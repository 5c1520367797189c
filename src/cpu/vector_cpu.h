// A vector of parameters in host memory.
#pragma once

#include <utility>
#include <vector>

#include "backend/backend.h"

namespace gptq::cpu {

class CpuVector final : public Vector {
 public:
  explicit CpuVector(std::vector<float> values) : values_(std::move(values)) {}
  int64_t size() const override { return static_cast<int64_t>(values_.size()); }
  const float* data() const { return values_.data(); }

 private:
  std::vector<float> values_;
};

inline const float* values_of(const Vector& v) { return static_cast<const CpuVector&>(v).data(); }

}  // namespace gptq::cpu
