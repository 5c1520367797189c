// The parallel matrix product of fp32 matrices in host memory, on Kernels::tile.
#pragma once

#include <cstdint>

#include "cpu/stream_cpu.h"

namespace gptq::cpu {

/// Element (i, j) of a matrix is data[i * row_stride + j * col_stride]: either stride 1 is fast.
struct View {
  const float* data = nullptr;
  int64_t row_stride = 0, col_stride = 1;
};

inline View rows_of(const float* data, int64_t stride) { return {data, stride, 1}; }
inline View transposed(const float* data, int64_t stride) { return {data, 1, stride}; }

enum class Into : uint8_t { overwrite, add, subtract };
/// Elements of C that are wanted: all, i >= j, or i <= j. Tiles without a wanted element are skipped; other tiles
/// may be written whole.
enum class Region : uint8_t { all, lower, upper };

/// C = A B, C += A B or C -= A B with A [m, k], B [k, n] and C [m, n] of row stride ldc. C may lie in the same matrix
/// as A and B but must share no element with them. The result does not depend on the number of threads.
/// Throws Error(Status::cancelled), leaving C undefined. k == 0 overwrites C with zeros or leaves it.
void gemm(CpuStream& stream, int64_t m, int64_t n, int64_t k, View a, View b, float* c, int64_t ldc,
          Into into, Region region = Region::all);

}  // namespace gptq::cpu
