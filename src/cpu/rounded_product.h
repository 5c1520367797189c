// y = x W^T + b with inputs rounded to 8 bits, for weights of at most 4 bits.
#pragma once

#include "cpu/stream_cpu.h"

namespace gptq::cpu {

struct RoundedWeights {
  QPanel first;
  Blocks blocks;
  int64_t outputs;
  const float* bias;  // [outputs] or null
};

/// x [rows][units of inputs, packed], y [rows][outputs]. Each row of y is the same whatever the other rows.
void rounded_product(CpuStream& stream, const RoundedWeights& weights, const float* x, int64_t rows,
                     float* y);

}  // namespace gptq::cpu
