// Reads memory once, for the measure of all else: what a GPU reads in a second.
#include "read.h"

#include "cuda/launch.cuh"

namespace gptq::cuda {
namespace {

constexpr int kThreads = 256, kAtOnce = 4;

/// Each thread has kAtOnce vectors of 16 bytes on their way; what they come to is written where it is never 0.
__global__ void __launch_bounds__(kThreads)
    read_vectors(const Words4* from, int64_t vectors, uint32_t* sink) {
  uint32_t seen = 0;
  const int64_t stride = int64_t{grid_x()} * kThreads * kAtOnce;
  for (int64_t at = int64_t{block_x()} * kThreads * kAtOnce + thread_x(); at < vectors; at += stride) {
    Words4 v[kAtOnce] = {};
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (at + i * kThreads < vectors) v[i] = load16_once(from + at + i * kThreads);
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) seen |= v[i].x | v[i].y | v[i].z | v[i].w;
  }
  if (seen == 0x5A5A5A5Au) *sink = seen;
}

}  // namespace

void read_all(const Queue& queue, const void* from, size_t bytes, uint32_t* sink) {
  launch(queue, read_vectors, {.x = int64_t{queue.processors} * 8, .threads = kThreads},
         static_cast<const Words4*>(from), static_cast<int64_t>(bytes / sizeof(Words4)), sink);
}

}  // namespace gptq::cuda
