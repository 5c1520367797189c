// GPTQ on the device: what SolveProblem is in its memory. Asked for by the quantizer alone.
#pragma once

#include <cstdint>
#include <span>

#include "cuda/kernels.h"

namespace gptq::cuda {

constexpr int kMostSolvedColumns = 128;  // of a block

struct SolveView {
  SolveParams params;
  int64_t rows = 0, cols = 0, groups = 0;
  float* weights = nullptr;           // [rows, cols]; overwritten with the dequantized result
  const int32_t* group_of = nullptr;  // [cols]
  const float* u = nullptr;           // [cols, cols] of factor(); null: no feedback
  const float* p = nullptr;           // [cols, cols] of GPTAQ; null: none
  uint8_t* codes = nullptr;           // [rows, cols] out
  float* scales = nullptr;            // [groups, rows] out
  uint16_t* zeros = nullptr;          // [groups, rows] out
  double* row_loss = nullptr;         // [rows] out; null: not wanted
  float* errors = nullptr;            // [rows, kMostSolvedColumns] scratch
  float* turns = nullptr;             // likewise; only with p
  // of static groups: the columns of group g are members[begin[g]] to members[begin[g + 1] - 1], in sequence
  const int32_t *members = nullptr, *begin = nullptr;
};

/// `group_of` is that of the view, in host memory.
void solve(const Queue& queue, const SolveView& problem, std::span<const int32_t> group_of);

}  // namespace gptq::cuda
