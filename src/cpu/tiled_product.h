// Matrix products of many rows, on the Gemm of the instruction set.
#pragma once

#include <functional>

#include "cpu/aligned.h"
#include "cpu/stream_cpu.h"

namespace gptq::cpu {

/// Inputs [k, k + depth) of output columns [col, col + cols) of W^T as [depth][kTileCols].
using FillPanel = std::function<void(int64_t col, int64_t cols, int64_t k, int64_t depth, float* panel)>;

/// x [rows, inputs] and y [rows, outputs], their rows so many floats apart.
struct TiledRows {
  const float* x;
  int64_t x_stride;
  float* y;
  int64_t y_stride;
  int64_t rows, inputs, outputs;
};

enum class TiledStart : uint8_t { zero, bias, y };  // what is added to

/// Where W^T [inputs, outputs] is known to be zero: nowhere, or, being square, on one side of its diagonal.
enum class TiledZeros : uint8_t { none, below, above };

/// y = x W^T + start for many rows; `bias` [outputs] counts for TiledStart::bias.
void tiled_product(CpuStream& stream, const Gemm& gemm, const TiledRows& operands, TiledStart start,
                   const float* bias, const FillPanel& fill);

/// The same of rows without gaps; bias may be null.
inline void tiled_product(CpuStream& stream, const Gemm& gemm, const float* x, int64_t rows, int64_t inputs,
                          int64_t outputs, const float* bias, float* y, const FillPanel& fill) {
  tiled_product(stream, gemm, {x, inputs, y, outputs, rows, inputs, outputs},
                bias != nullptr ? TiledStart::bias : TiledStart::zero, bias, fill);
}

/// y [rows, size] = x W^T for a triangle W^T [size, size].
void triangle_product(CpuStream& stream, const Gemm& gemm, const float* x, int64_t rows, int64_t size,
                      TiledZeros zeros, float* y, const FillPanel& fill);

/// W^T packed once, for what is multiplied by it again and again: [panel][inputs][kTileCols] in the form of the Gemm.
class PackedRight {
 public:
  static constexpr int64_t kInputs = 64;  // parts of W^T begin at multiples of this many inputs

  PackedRight(CpuStream& stream, const Gemm& gemm, int64_t inputs, int64_t outputs, const FillPanel& fill);

  const Gemm& gemm() const { return gemm_; }
  /// From an input on, of the panel that begins with an output.
  const float* at(int64_t input, int64_t output) const {
    return block_.as<float>() + output / kTileCols * gemm_.right_floats(inputs_) + gemm_.right_floats(input);
  }

 private:
  Gemm gemm_;
  int64_t inputs_;
  AlignedBlock block_;
};

/// y = x W^T + start for the part of W^T from an input, a multiple of PackedRight::kInputs, and an output, a multiple of
/// kTileCols, on.
void tiled_product(CpuStream& stream, const PackedRight& weights, int64_t input, int64_t output,
                   const TiledRows& operands, TiledStart start);

}  // namespace gptq::cpu
