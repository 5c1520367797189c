// Products of 64 x 64 blocks in fp32: 256 threads, each with 4 x 4 of the result.
#pragma once

#include "cuda/device.cuh"

namespace gptq::cuda {

constexpr int kBlock = 64, kBlockThreads = 256;
constexpr int kBlockPitch = kBlock + 4;  // of a block in shared memory
constexpr int kThreadRows = 4;           // and columns
constexpr int kThreadsAcross = kBlock / kThreadRows;
constexpr size_t kTwoBlocks = size_t{2} * kBlock * kBlockPitch * sizeof(float);

using BlockSums = float[kThreadRows][kThreadRows];

/// sums += left right, both [64][kBlockPitch] in shared memory.
GPTQ_DEVICE void multiply_blocks(const float* left, const float* right, BlockSums& sums) {
  const int row = thread_x() / kThreadsAcross * kThreadRows,
            column = thread_x() % kThreadsAcross * kThreadRows;
#pragma unroll 4
  for (int k = 0; k < kBlock; ++k) {
    const Words4 words = load_shared16(right + k * kBlockPitch + column);
    const float b[kThreadRows] = {as_float(words.x), as_float(words.y), as_float(words.z), as_float(words.w)};
#pragma unroll
    for (int i = 0; i < kThreadRows; ++i) {
#pragma unroll
      for (int j = 0; j < kThreadRows; ++j) sums[i][j] += left[(row + i) * kBlockPitch + k] * b[j];
    }
  }
}

/// Calls f(row, column of the block, sum) for each of the thread's.
template <class F>
GPTQ_DEVICE void for_sums(const BlockSums& sums, F f) {
#pragma unroll
  for (int i = 0; i < kThreadRows; ++i) {
#pragma unroll
    for (int j = 0; j < kThreadRows; ++j)
      f(thread_x() / kThreadsAcross * kThreadRows + i, thread_x() % kThreadsAcross * kThreadRows + j,
        sums[i][j]);
  }
}

}  // namespace gptq::cuda
