// (X0 - X)^T X in host memory.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "cpu/aligned.h"
#include "cpu/workers.h"

namespace gptq::cpu {

class CpuDrift final : public Drift {
 public:
  explicit CpuDrift(int64_t size);
  int64_t size() const override { return size_; }
  float at(int64_t row, int64_t col) const { return sums()[row * size_ + col]; }

  /// Adds (x0 - x)^T x for x0 and x [rows, size]. Sums of 256 rows are made apart and added to the total.
  void add(const Workers& workers, const float* x0, const float* x, int64_t rows);

 private:
  float* sums() const { return block_.as<float>(); }

  int64_t size_;
  AlignedBlock block_;  // [size, size]
};

}  // namespace gptq::cpu
