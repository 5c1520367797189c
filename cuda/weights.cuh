// Packed weights as kernels read them: single ones, and a lane's registers of a slab.
#pragma once

#include "cuda/device.cuh"
#include "cuda/kernels.h"

namespace gptq::cuda {

/// Scale and zero point of a row and a piece.
GPTQ_DEVICE float scale_at(const Weights& w, int64_t parameter) {
  return w.scales_f16 != nullptr ? to_float(Half{w.scales_f16[parameter]}) : w.scales_f32[parameter];
}
GPTQ_DEVICE uint32_t zero_at(const Weights& w, int64_t parameter) {
  return w.zeros != nullptr ? w.zeros[parameter] : 1u << (w.shape.bits - 1);
}

/// Of a row and a packed input.
template <class T>
GPTQ_DEVICE T weight_at(const Weights& w, int64_t row, int64_t input) {
  const Packing& s = w.shape;
  const uint32_t* const slab = w.words + s.first_word(row / kStripRows, input / kSlabInputs);
  const uint32_t field =
      get_field(slab, s.bits, static_cast<int>(row % kStripRows), static_cast<int>(input % kSlabInputs));
  if (s.bits == 16) return T{static_cast<uint16_t>(field)};
  const int64_t parameter = s.parameter(row, input / s.piece);
  return from_float<T>(scale_at(w, parameter) *
                       static_cast<float>(static_cast<int>(field) - static_cast<int>(zero_at(w, parameter))));
}

}  // namespace gptq::cuda
