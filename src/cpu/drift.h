// (A0 - A)^T X in host memory.
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
  CpuDrift(int64_t rows, int64_t cols);
  int64_t rows() const override { return rows_; }
  int64_t cols() const override { return cols_; }
  float at(int64_t row, int64_t col) const { return sums()[row * cols_ + col]; }

  /// Adds (a0 - a)^T x for a0 and a [count, rows()] and x [count, cols()]. Sums of 256 of them are made apart and added
  /// to the total.
  void add(const Workers& workers, const float* a0, const float* a, const float* x, int64_t count);

 private:
  float* sums() const { return block_.as<float>(); }

  int64_t rows_, cols_;
  AlignedBlock block_;  // [rows, cols]
};

}  // namespace gptq::cpu
