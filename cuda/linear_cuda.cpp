#include "cuda/linear_cuda.h"

namespace gptq::cuda {

CudaLinear::CudaLinear(std::shared_ptr<Loader> loader, PackedWeights packed, std::span<const float> bias)
    : loader_(std::move(loader)),
      shape_(packed.shape),
      piece_groups_(std::move(packed.piece_groups)),
      groups_(packed.groups),
      words_(loader_->upload(packed.words)),
      scales_f16_(loader_->upload(packed.scales_f16)),
      scales_f32_(loader_->upload(packed.scales_f32)),
      zeros_(loader_->upload(packed.zeros)),
      order_(loader_->upload(packed.order)),
      bias_(loader_->upload(bias)) {}

uint64_t CudaLinear::bytes() const {
  return words_.bytes() + scales_f16_.bytes() + scales_f32_.bytes() + zeros_.bytes() + order_.bytes() +
         bias_.bytes();
}

Weights CudaLinear::weights() const {
  return {.shape = shape_,
          .words = words_.as<const uint32_t>(),
          .scales_f16 = scales_f16_.as<const uint16_t>(),
          .scales_f32 = scales_f32_.as<const float>(),
          .zeros = zeros_.as<const uint16_t>(),
          .order = order_.as<const int32_t>(),
          .bias = bias_.as<const float>()};
}

QTensor CudaLinear::unpack() const {
  return cuda::unpack({.shape = shape_,
                       .words = loader_->download<uint32_t>(words_),
                       .scales_f16 = loader_->download<uint16_t>(scales_f16_),
                       .scales_f32 = loader_->download<float>(scales_f32_),
                       .zeros = loader_->download<uint16_t>(zeros_),
                       .order = loader_->download<int32_t>(order_),
                       .piece_groups = piece_groups_,
                       .groups = groups_});
}

}  // namespace gptq::cuda
