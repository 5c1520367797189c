// The rows of parts in kernels: which part something belongs to.
#pragma once

#include "cuda/device.cuh"
#include "cuda/kernels.h"

namespace gptq::cuda {

/// The last of the parts whose `first`, which does not fall from one to the next, is `at` or before; the first one's is. A part
/// with nothing begins where the next one does, or where all end, and so is never it.
template <int32_t PartRows::*first>
GPTQ_DEVICE int last_part_at(const PartRows* parts, int count, int64_t at) {
  int low = 0, high = count;  // [low, high) has it
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (parts[middle].*first <= at) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return low;
}

}  // namespace gptq::cuda
