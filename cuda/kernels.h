// The one list of what the GPU is asked to do. Each function launches kernels behind what is in a queue and returns;
// pointers are to the device's memory and stay valid until the queue has come so far.
//
// Matrices of activations are row-major, of fp16 or bf16 (Element), without gaps between rows. All start at multiples
// of 16 bytes. Arithmetic is in fp32. Any size may be 0.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gptq::cuda {

/// Where work goes, and what the device behind it has.
struct Queue {
  void* stream = nullptr;  // a cudaStream_t
  int processors = 1;      // its SMs
  int architecture = 80;   // 10 major + minor
};

/// What activations are made of.
enum class Element : uint8_t { f16, bf16 };

}  // namespace gptq::cuda
