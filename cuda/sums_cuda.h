// What the quantizer keeps in the device's memory: sums over inputs, and factors of Hessians.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "backend/backend.h"
#include "cuda/runtime.h"

namespace gptq::cuda {

/// fp32 in row-major order, cleared in the queue.
class FloatSums {
 public:
  FloatSums(std::shared_ptr<Device> device, DeviceQueue& queue, int64_t rows, int64_t cols)
      : block_(std::move(device), static_cast<size_t>(rows) * static_cast<size_t>(cols) * sizeof(float)) {
    queue.clear(block_.data(), block_.bytes());
  }
  float* data() const { return block_.as<float>(); }

 private:
  Block block_;
};

/// X^T X [size, size], of which what is on and above the diagonal counts.
class CudaHessian final : public Hessian {
 public:
  CudaHessian(FloatSums sums, int64_t size) : sums_(std::move(sums)), size_(size) {}
  int64_t size() const override { return size_; }
  int64_t rows_seen() const override { return rows_seen_; }
  float* data() const { return sums_.data(); }
  void count(int64_t rows) { rows_seen_ += rows; }

 private:
  FloatSums sums_;
  int64_t size_, rows_seen_ = 0;
};

/// (A0 - A)^T X [rows, cols].
class CudaDrift final : public Drift {
 public:
  CudaDrift(FloatSums sums, int64_t rows, int64_t cols) : sums_(std::move(sums)), rows_(rows), cols_(cols) {}
  int64_t rows() const override { return rows_; }
  int64_t cols() const override { return cols_; }
  float* data() const { return sums_.data(); }

 private:
  FloatSums sums_;
  int64_t rows_, cols_;
};

/// U [size, size], 0 below the diagonal, and P of Stream::spread_drift(), 0 on it, too.
class CudaFactor final : public Factor {
 public:
  CudaFactor(Block u, int64_t size) : u_(std::move(u)), size_(size) {}
  int64_t size() const override { return size_; }
  const float* u() const { return u_.as<const float>(); }
  /// null: none
  const float* spread() const { return spread_.as<const float>(); }
  void set_spread(Block p) { spread_ = std::move(p); }

 private:
  Block u_, spread_;
  int64_t size_;
};

}  // namespace gptq::cuda
