// Weights and vectors of parameters in a device's memory.
#pragma once

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "cuda/layout.h"
#include "cuda/loader.h"

namespace gptq::cuda {

class CudaLinear final : public Linear {
 public:
  /// `plan` is that of plan_packing() or plan_halves(), whose fields `rows` gives. `bias` is empty or has an element for
  /// each output.
  CudaLinear(std::shared_ptr<Loader> loader, PackedWeights plan, const Loader::Rows& rows,
             std::span<const float> bias);
  CudaLinear(std::shared_ptr<Loader> loader, const QTensor& weights, std::span<const float> bias);

  CudaLinear(const CudaLinear&) = delete;
  CudaLinear& operator=(const CudaLinear&) = delete;
  ~CudaLinear() override { loader_->count_gone(); }

  int64_t in_features() const override { return shape_.cols; }
  int64_t out_features() const override { return shape_.rows; }
  uint64_t bytes() const override;
  QTensor unpack() const override;

  /// For kernels. Those of equal orders have the same pointer to it, as far as Loader::upload_shared() knows.
  Weights weights() const;

 private:
  std::shared_ptr<Loader> loader_;
  Packing shape_;
  std::vector<int32_t> piece_groups_;
  int64_t groups_;
  std::shared_ptr<const Block> order_;  // null: inputs are in order
  Block words_, scales_f16_, scales_f32_, zeros_, bias_;
};

inline Weights weights_of(const Linear& linear) { return static_cast<const CudaLinear&>(linear).weights(); }

class CudaVector final : public Vector {
 public:
  CudaVector(Loader& loader, std::unique_ptr<Vector> on_host, std::span<const float> values)
      : on_host_(std::move(on_host)), values_(loader.upload(values)) {}
  int64_t size() const override { return on_host_->size(); }
  const float* data() const { return values_.as<const float>(); }
  /// The same of the CPU backend.
  const Vector& on_host() const { return *on_host_; }

 private:
  std::unique_ptr<Vector> on_host_;
  Block values_;
};

/// Null for null.
inline const float* values_of(const Vector* vector) {
  return vector != nullptr ? static_cast<const CudaVector*>(vector)->data() : nullptr;
}
inline const Vector* on_host(const Vector* vector) {
  return vector != nullptr ? &static_cast<const CudaVector*>(vector)->on_host() : nullptr;
}

}  // namespace gptq::cuda
