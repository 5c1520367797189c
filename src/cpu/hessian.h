// X^T X in host memory.
#pragma once

#include <cstdint>

#include "backend/backend.h"
#include "cpu/panel_product.h"
#include "cpu/upper_panels.h"

namespace gptq::cpu {

class CpuHessian final : public Hessian {
 public:
  explicit CpuHessian(int64_t size) : sums_(size) {}
  int64_t size() const override { return sums_.size(); }
  int64_t rows_seen() const override { return rows_seen_; }
  const UpperPanels& sums() const { return sums_; }

  /// Adds x [rows, size]. Sums of some hundred rows are made apart and added to the total.
  void add(const Workers& workers, const float* x, int64_t rows);

 private:
  UpperPanels sums_;
  int64_t rows_seen_ = 0;
};

}  // namespace gptq::cpu
