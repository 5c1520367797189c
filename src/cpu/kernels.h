// The table of CPU kernels: plain functions over raw pointers, one set per instruction set, chosen once at run time.
// kernels_ref.cpp is the plain C++ that every other set is tested against.
//
// Kernel files include this header, intrinsics and nothing of the standard library, and keep everything else in an
// anonymous namespace: an inline function compiled for AVX-512 must never be the copy that the linker keeps.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gptq::cpu {

/// Output columns of one panel of packed quantized weights.
inline constexpr int64_t kPanel = 16;
/// Inputs of one unit of packed quantized weights; group boundaries fall on units.
inline constexpr int64_t kUnit = 16;
/// Columns of a tile of the matrix product: two panels.
inline constexpr int64_t kTileCols = 32;
/// Most rows that a tile of any instruction set has.
inline constexpr int64_t kMaxTileRows = 16;
/// Rows that quantize_block() works on at once.
inline constexpr int64_t kSolveRows = 16;

/// Element type of dense weights as they lie in memory.
enum class Dense : uint8_t { f32, f16, bf16 };

/// Packed quantized weights of one panel: [units][words of a unit][kPanel] 32-bit words, a word holding 32/bits
/// consecutive inputs of one column, lowest bits first. bits is 2, 4 or 8 (3-bit codes are kept in 4 bits).
/// Per group: scales [groups][kPanel] and zeros [groups][kPanel] as floats.
struct QPanel {
  const uint32_t* words;
  const float* scales;
  const float* zeros;
  const int32_t* group_ends;  // [groups] first unit after each group, ascending
  int64_t groups;
  int bits;
};

struct Kernels {
  const char* name;  // "scalar", "avx2", "avx512"

  /// Rows of a tile, at most kMaxTileRows.
  int64_t tile_rows;
  /// C[r][c] (+)= sum_k A[k][r] * B[k][c] for r < rows, c < cols. A is packed [k][tile_rows]; B has row stride ldb
  /// and kTileCols readable columns; C has row stride ldc, and only rows x cols of it are touched. sign is 1 or -1.
  /// accumulate false: C is overwritten.
  void (*tile)(int64_t k, const float* a, const float* b, int64_t ldb, float* c, int64_t ldc, int64_t rows,
               int64_t cols, float sign, bool accumulate);

  /// out[k][c] = dequantized weight of input begin + k, column c of the panel; k in [0, count), count a multiple of
  /// kUnit, begin too; row stride of out is ldo.
  void (*unpack)(const QPanel& panel, int64_t begin, int64_t count, float* out, int64_t ldo);
  /// y[c] = sum_k x[k] * W[k][c], c < kPanel, over all units; x is zero where units were padded.
  /// group_sums[g] = sum of x over group g.
  void (*qdot)(const QPanel& panel, const float* x, const float* group_sums, float* y);

  /// out[i] = sum_k x[k] * w[i][k] for `rows` consecutive rows of a row-major dense matrix with `k` columns.
  void (*dot)(Dense type, const void* w, int64_t rows, int64_t k, const float* x, float* out);
  /// out[i] = float(in[i])
  void (*widen)(Dense type, const void* in, int64_t n, float* out);

  /// out = x / rms(x) * weight
  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t n, float* out);
  /// out = (x - mean) / std * weight + bias; bias may be null
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, int64_t n, float* out);
  /// x = exp(x - max(x)); returns the sum; n >= 1
  float (*exp_shift)(float* x, int64_t n);
  /// out = silu(gate) * up, and so on; up may be null
  void (*silu)(const float* gate, const float* up, int64_t n, float* out);
  void (*gelu)(const float* gate, const float* up, int64_t n, float* out);
  void (*gelu_tanh)(const float* gate, const float* up, int64_t n, float* out);
  void (*relu)(const float* gate, const float* up, int64_t n, float* out);
  /// x += y
  void (*add)(float* x, const float* y, int64_t n);
  /// y += a * x
  void (*axpy)(float a, const float* x, int64_t n, float* y);
};

const Kernels& kernels_ref();
const Kernels& kernels_avx2();    // AVX2, FMA, F16C
const Kernels& kernels_avx512();  // AVX-512 F, BW, VL, DQ besides

/// The fastest set that this CPU and operating system allow. Sets named in the environment variable GPTQ_CPU_MASK
/// ("avx512", "avx512,avx2") are hidden; it is read once.
const Kernels& best_kernels();

}  // namespace gptq::cpu
