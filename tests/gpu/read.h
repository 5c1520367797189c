// The measure of what the GPU's memory gives.
#pragma once

#include <cstddef>

#include "cuda/kernels.h"

namespace gptq::cuda {

/// Reads so many bytes, a multiple of 16, and keeps nothing of them. `sink` is one word.
void read_all(const Queue& queue, const void* from, size_t bytes, uint32_t* sink);

}  // namespace gptq::cuda
