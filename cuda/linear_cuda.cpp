#include "cuda/linear_cuda.h"

namespace gptq::cuda {

CudaLinear::CudaLinear(std::shared_ptr<Loader> loader, PackedWeights plan, const Loader::Rows& rows,
                       std::span<const float> bias)
    : loader_(std::move(loader)),
      shape_(plan.shape),
      piece_groups_(std::move(plan.piece_groups)),
      groups_(plan.groups),
      order_(loader_->upload_shared(plan.order)),
      words_(loader_->pack(shape_, order_ == nullptr ? nullptr : order_->as<const int32_t>(), rows)),
      scales_f16_(loader_->upload(plan.scales_f16)),
      scales_f32_(loader_->upload(plan.scales_f32)),
      zeros_(loader_->upload(plan.zeros)),
      bias_(loader_->upload(bias)) {}

CudaLinear::CudaLinear(std::shared_ptr<Loader> loader, const QTensor& weights, std::span<const float> bias)
    : CudaLinear(
          std::move(loader), plan_packing(weights),
          [&](int64_t first, int64_t) { return weights.codes.data() + first * weights.cols; }, bias) {}

uint64_t CudaLinear::bytes() const {
  return words_.bytes() + scales_f16_.bytes() + scales_f32_.bytes() + zeros_.bytes() + bias_.bytes() +
         (order_ != nullptr ? order_->bytes() : 0);
}

Weights CudaLinear::weights() const {
  return {.shape = shape_,
          .words = words_.as<const uint32_t>(),
          .scales_f16 = scales_f16_.as<const uint16_t>(),
          .scales_f32 = scales_f32_.as<const float>(),
          .zeros = zeros_.as<const uint16_t>(),
          .order = order_ != nullptr ? order_->as<const int32_t>() : nullptr,
          .bias = bias_.as<const float>()};
}

QTensor CudaLinear::unpack() const {
  return cuda::unpack(
      {.shape = shape_,
       .words = loader_->download<uint32_t>(words_),
       .scales_f16 = loader_->download<uint16_t>(scales_f16_),
       .scales_f32 = loader_->download<float>(scales_f32_),
       .zeros = loader_->download<uint16_t>(zeros_),
       .order = order_ != nullptr ? loader_->download<int32_t>(*order_) : std::vector<int32_t>(),
       .piece_groups = piece_groups_,
       .groups = groups_});
}

}  // namespace gptq::cuda
