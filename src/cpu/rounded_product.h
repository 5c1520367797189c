// y = x W^T + b with inputs rounded to 8 bits, for quantized weights.
#pragma once

#include <span>

#include "cpu/stream_cpu.h"

namespace gptq::cpu {

struct RoundedWeights {
  QPanel first;
  Blocks blocks;
  int64_t inputs, outputs;
  /// [units * kUnit] input of each packed one, -1 for padding; empty: as they are
  std::span<const int32_t> order;
  const float* bias;  // [outputs] or null
};

struct RoundedTask {
  RoundedWeights weights;
  Matrix x;  // at least a row
  float* y;  // [rows][outputs]
};

/// y of each task. Each row of it is the same bits whatever the other rows and tasks.
void rounded_products(CpuStream& stream, std::span<const RoundedTask> tasks);

}  // namespace gptq::cpu
