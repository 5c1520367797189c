// The table of CPU kernels: plain functions over raw pointers, one set per instruction set, chosen once at run time.
// kernels_ref.cpp is the plain C++ that every other set is tested against.
//
// Kernel files include this header, intrinsics and nothing of the standard library, and keep everything else in an
// anonymous namespace: an inline function compiled for AVX-512 must never be the copy that the linker keeps. What this
// header defines has internal linkage for the same reason.
// Pointers need no alignment beyond that of their element, dense weights not even that. All may have zero elements.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gptq::cpu {

/// Output columns of one panel of packed quantized weights.
constexpr int64_t kPanel = 16;
/// Inputs of one unit of packed quantized weights; group boundaries fall on units.
constexpr int64_t kUnit = 16;
/// Columns of a tile of the matrix product: two panels.
constexpr int64_t kTileCols = 32;
/// Most rows that a tile of any instruction set has.
constexpr int64_t kMaxTileRows = 16;

/// Rows of weights that the quantizer takes side by side.
constexpr int64_t kLanes = 16;

/// Element type of dense weights as they lie in memory.
enum class Dense : uint8_t { f32, f16, bf16 };

/// Numbers of each panel and group, [panels][groups][kPanel]: in fp16 where that has all of them exactly, else in fp32; or
/// none.
struct GroupValues {
  const float* floats = nullptr;
  const uint16_t* halves = nullptr;
};

static inline bool are_there(const GroupValues& values) {
  return values.floats != nullptr || values.halves != nullptr;
}

/// Without the first `count`.
static inline GroupValues behind(const GroupValues& values, int64_t count) {
  return {values.floats != nullptr ? values.floats + count : nullptr,
          values.halves != nullptr ? values.halves + count : nullptr};
}

/// As many as a vector has; they are there.
template <class V>
static inline V load(const GroupValues& values, int64_t at) {
  return values.halves != nullptr ? V::load(values.halves + at) : V::load(values.floats + at);
}

/// Panels of packed quantized weights, one after the other, each [inputs / inputs of a run][words of a run][kPanel] 32-bit
/// words of fields: a code of b bits less 2^(b-1), plus field_middle(bits). bits, the width of a field, is 2, 3, 4 or 8; codes
/// of 3 bits may lie in 4.
///   2, 4, 8 bits   a run is one word: 32/bits consecutive inputs of one column, lowest bits first
///   3 bits         a run is three words, 32 inputs, of which byte p of the words has inputs p, 4 + p, ... 28 + p: its lowest
///                  six bits those of two, word after word, and the two highest bits of all three words, one behind the
///                  other, the last two. Groups have whole runs.
/// Per panel and group: scales and zeros, the zero point less 2^(b-1); there are no zeros when all are 0.
/// W[k][c] = scale * (field - field_middle(bits) - zero), exact but for the one multiplication.
struct QPanel {
  const uint32_t* words;
  GroupValues scales, zeros;
  const int32_t* group_ends;  // [groups] first unit after each group, ascending, the last one = units
  int64_t groups;
  int64_t units;
  int bits;
};

/// What stands for 0 in a field of so many bits.
static inline constexpr int field_middle(int bits) { return 1 << (bits - 1); }

/// The highest bit of each field of a word.
static inline constexpr uint32_t highest_of_fields(int bits) {
  return bits == 3 ? 0x24242424u : UINT32_MAX / ((1u << bits) - 1) << (bits - 1);
}

/// Words and units of a run of fields; of fewer bits than a unit has, a unit.
static inline constexpr int run_words(int bits) { return bits == 3 ? 3 : 1; }
static inline constexpr int64_t run_units(int bits) { return bits == 3 ? 2 : 1; }

/// Words of one panel.
static inline constexpr int64_t panel_words(int64_t units, int bits) {
  return units * kUnit * bits / 32 * kPanel;
}

/// The field of an input of a column of a panel.
static inline int field_at(const QPanel& panel, int64_t input, int64_t column) {
  const int64_t per_run = 32 * run_words(panel.bits) / panel.bits, in_run = input % per_run;
  const uint32_t* const words = panel.words + input / per_run * run_words(panel.bits) * kPanel + column;
  const uint32_t mask = (1u << panel.bits) - 1;
  if (panel.bits != 3) return static_cast<int>(words[0] >> (in_run * panel.bits) & mask);
  const int64_t pair = in_run / 8, byte = 8 * (in_run % 4);
  uint32_t two = 0;  // fields
  if (pair < 3) {
    two = words[pair * kPanel] >> byte;
  } else {
    for (int64_t w = 0; w < 3; ++w) two |= (words[w * kPanel] >> (byte + 6) & 3) << (2 * w);
  }
  return static_cast<int>(two >> (in_run / 4 % 2 * 3) & mask);
}

/// Panel number `index` of those behind the first.
static inline QPanel panel_at(const QPanel& first, int64_t index) {
  QPanel panel = first;
  panel.words += index * panel_words(first.units, first.bits);
  panel.scales = behind(first.scales, index * first.groups * kPanel);
  panel.zeros = behind(first.zeros, index * first.groups * kPanel);
  return panel;
}

/// Rows of a product with packed panels, row strides in elements: x [rows][ldx], y [rows][ldy] and
/// group_sums [rows][groups].
struct QRows {
  int64_t rows;
  const float* x;
  int64_t ldx;
  const float* group_sums;
  float* y;
  int64_t ldy;
};

/// Runs of packed inputs that are rounded with one scale each; a run lies in one group.
struct Blocks {
  const int32_t* ends;    // [count] first unit after each block, ascending, the last one = units
  const int32_t* groups;  // [count]
  int64_t count;
};

/// First unit of a block.
static inline constexpr int64_t block_begin(const Blocks& blocks, int64_t block) {
  return block == 0 ? 0 : blocks.ends[block - 1];
}

/// Most units of a block, so that its sums of products are exact in fp32, too.
constexpr int64_t kBlockUnits = 8;

/// Rows whose inputs are rounded to 8 bits, x = scale q, and their product. Rows of q are ldq bytes apart, and may be read
/// up to a multiple of kMaxTileRows; the inputs of a unit stand in the order in which fields come out of a word
/// (quad_order). scales and sums, those of q, are [rows][blocks].
struct RoundedRows {
  int64_t rows;
  const int8_t* q;
  int64_t ldq;
  const float* scales;
  const int32_t* sums;
  float* y;
  int64_t ldy;
};

/// Blocks with nothing larger count as 0.
constexpr float kLeastRounded = 1e-30f;

/// Place in its unit of the input that comes out of its words as number [i]: four bytes of shifted words and a mask.
constexpr uint8_t kQuadOrder2[kUnit] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
constexpr uint8_t kQuadOrder4[kUnit] = {0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15};
constexpr uint8_t kQuadOrder3And8[kUnit] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
static inline constexpr const uint8_t* quad_order(int bits) {
  return bits == 2 ? kQuadOrder2 : bits == 4 ? kQuadOrder4 : kQuadOrder3And8;
}

/// Some blocks of one or two panels, their fields as unpack() has left them, those of a second panel that is not there
/// anything: bytes [quads of inputs][kTileCols][4], unless the set says otherwise.
struct RoundedStep {
  QPanel first;
  int64_t panels;
  Blocks blocks;
  int64_t begin, end;  // blocks
  const uint8_t* fields;
};

/// Products of packed weights with rounded inputs. Every set gives the same bits, whatever
/// the number of rows: with t the exact sum of a block's products of q and weights less their scale,
///   y = fma(t, scale of the weights * scale of the inputs, y), block by block
struct RoundedKernels {
  /// q, scales and sums of a row of packed inputs x: scale = max |x| / 127 of a block, q to nearest. NaN for a block with a
  /// number that is not finite.
  void (*round)(const float* x, const Blocks& blocks, int bits, int8_t* q, float* scales, int32_t* sums);
  /// As Kernels::qdot.
  void (*dot)(const QPanel& first, const Blocks& blocks, int64_t panels, const RoundedRows& rows);
  /// Rows up to which it is faster than what follows.
  int64_t dot_rows;
  /// Fields of units [begin, end) for a RoundedStep.
  void (*unpack)(const QPanel& first, int64_t panels, int64_t begin, int64_t end, uint8_t* fields);
  /// The part of the product that the step has, for the first `cols` columns. accumulate false: y is overwritten.
  void (*multiply)(const RoundedStep& step, const RoundedRows& rows, int64_t cols, bool accumulate);
};

/// The matrix product of large operands, which are packed for it in steps of at most some hundred inputs.
struct Gemm {
  int64_t rows;      // of a left tile, at most kMaxTileRows
  int64_t dot_rows;  // up to which dense weights are multiplied faster by Kernels::dot, 16 rows at a time
  int64_t depth;     // inputs of a packed step are padded with zeros to a multiple of this, which divides 64
  int64_t inputs;    // of a step, for what is packed to stay in the cache; a multiple of 64
  int64_t left_values, right_values;  // packed in the place of a float
  /// A left tile, left_floats(k), of row-major rows [rows][stride] with k inputs; rows may be fewer.
  void (*left)(const float* in, int64_t stride, int64_t rows, int64_t k, float* out);
  /// Likewise of columns: the tile's row c is column c < cols of in [k][stride].
  void (*left_columns)(const float* in, int64_t stride, int64_t cols, int64_t k, float* out);
  /// A right panel, right_floats(k), of [k][kTileCols]; null: it is used as it lies.
  void (*right)(const float* in, int64_t k, float* out);
  /// C[r][c] (+)= sum_k left[r][k] right[k][c] for r < rows, c < cols <= kTileCols. Left tiles of `rows` rows follow
  /// each other at left_stride floats; C has row stride ldc. accumulate false: C is overwritten.
  void (*multiply)(int64_t k, const float* left, int64_t left_stride, const float* right, float* c,
                   int64_t ldc, int64_t rows, int64_t cols, bool accumulate);

  /// Inputs of a packed step.
  constexpr int64_t step(int64_t k) const { return (k + depth - 1) / depth * depth; }
  constexpr int64_t left_floats(int64_t k) const { return step(k) * rows / left_values; }
  constexpr int64_t right_floats(int64_t k) const { return step(k) * kTileCols / right_values; }
};

/// The products for many rows.
struct Gemms {
  Gemm usual;    // error at most 2^-15 of each term
  Gemm bf16;     // the same result where the right side is bf16 as it is
  Gemm rounded;  // both sides may be rounded to bf16, as in sums over inputs: at most 2^-7 of each term
};

/// C[r][c] (+)= sum_k A[r][k] B[k][c] for r < rows, c < cols, all with row strides in elements. B may be read up to a multiple
/// of kTileCols columns. What lies `ahead` bytes behind B, and has its shape, is fetched into the cache by the way, for a later
/// call; 0: B itself, which is free. accumulate false: C is overwritten.
struct PageProduct {
  int64_t k, rows, cols;
  const float* a;
  int64_t lda;
  const void* b;
  int64_t ldb;
  float* c;
  int64_t ldc;
  bool accumulate;
  int64_t ahead;
};

struct DeltaStep {
  int64_t keys, values;
  const float *q, *k;  // [keys]
  const float* v;      // [values]
  float kept, write;
};

struct Kernels {
  /// "scalar", "avx2", "avx_vnni", "avx512", "avx512_vnni", "avx512_bf16", "amx", "neon", "neon_dotprod", "neon_i8mm"
  const char* name;

  /// Rows of a tile, at most kMaxTileRows.
  int64_t tile_rows;
  /// C[r][c] (+)= sign * sum_k A[k][r] * B[k][c] for r < rows, c < cols. A is packed [k][tile_rows]; B has row
  /// stride ldb and readable columns up to a multiple of kTileCols; C has row stride ldc, only rows x cols of it are touched.
  /// sign is 1 or -1. accumulate false: C is overwritten.
  void (*tile)(int64_t k, const float* a, const float* b, int64_t ldb, float* c, int64_t ldc, int64_t rows,
               int64_t cols, float sign, bool accumulate);
  void (*by_f32)(const PageProduct& product);
  void (*by_f16)(const PageProduct& product);
  void (*by_i8)(const PageProduct& product);  // whole numbers of 8 bits
  Gemm gemm;                                  // in fp32
  Gemms fast;                                 // the fastest ones
  /// The transpose, widened: out[i][r] = float(in[r][i]) for i < k, r < rows, and 0 for rows <= r < width.
  /// in has row stride `stride` (elements), out has row stride `width` <= kTileCols.
  void (*pack)(Dense type, const void* in, int64_t stride, int64_t rows, int64_t k, float* out,
               int64_t width);

  /// out[k][c] = dequantized weight of input begin + k, column c of the first panel; k in [0, count), count a
  /// multiple of kUnit and of whole runs, begin too; row stride of out is ldo.
  void (*unpack)(const QPanel& panel, int64_t begin, int64_t count, float* out, int64_t ldo);
  /// y_r[p][c] = sum_k x_r[k] * W_p[k][c] for r < rows, p < panels, c < kPanel, over all units; x is zero where units
  /// were padded. group_sums_r[g] = sum of x_r over group g; not read where there are no zeros.
  void (*qdot)(const QPanel& first, int64_t panels, const QRows& rows);

  const RoundedKernels* rounded;  // never null

  /// y[r][i] = sum_k x[r][k] * w[i][k] for r < x_rows and w_rows consecutive rows of a dense matrix with k columns;
  /// x has row stride k, y row stride ldy.
  void (*dot)(Dense type, const void* w, int64_t w_rows, int64_t k, const float* x, int64_t x_rows, float* y,
              int64_t ldy);
  /// out[i] = fp16(in[i]), the largest finite one beyond its range; NaN stays
  void (*halve)(const float* in, int64_t n, uint16_t* out);
  /// in = scale out, to nearest; returns scale = max |in| / 127. Where nothing is larger than kLeastRounded all are 0, the
  /// scale too; a number that is not finite makes the scale NaN.
  float (*round_row)(const float* in, int64_t n, int8_t* out);
  /// out[i] = float(in[i])
  void (*widen)(Dense type, const void* in, int64_t n, float* out);

  /// out = x / rms(x) * weight
  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t n, float* out);
  /// out = (x - mean) / std * weight + bias; bias may be null
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, int64_t n,
                     float* out);
  float (*sum)(const float* x, int64_t n);
  /// The largest element, -infinity for none.
  float (*max)(const float* x, int64_t n);
  /// x = exp(x - shift), for shift >= x; returns the sum.
  float (*exp_shift)(float* x, int64_t n, float shift);
  /// out = silu(gate) * up, and so on; up may be null, out may be gate
  void (*silu)(const float* gate, const float* up, int64_t n, float* out);
  void (*gelu)(const float* gate, const float* up, int64_t n, float* out);
  void (*gelu_tanh)(const float* gate, const float* up, int64_t n, float* out);
  void (*relu)(const float* gate, const float* up, int64_t n, float* out);
  /// x += y
  void (*add)(float* x, const float* y, int64_t n);
  /// x *= a
  void (*scale)(float a, int64_t n, float* x);
  /// x[r][i] *= factors[i] for rows of n elements, `stride` apart
  void (*scale_columns)(const float* factors, int64_t n, int64_t rows, int64_t stride, float* x);
  /// y += a * x
  void (*axpy)(float a, const float* x, int64_t n, float* y);
  /// C -= x_0 y_0^T, then x_1 y_1^T and so on, for C [n][kLanes], x [count][n], its rows `stride` apart, y [count][kLanes]
  void (*subtract_outer)(const float* x, int64_t stride, const float* y, int64_t count, int64_t n, float* c);
  /// One head and row of the gated delta rule, S [keys][values]:
  ///   S *= kept;  S += k (write (v - S^T k))^T;  out = S^T q
  void (*delta_step)(const DeltaStep& step, float* s, float* out);
};

extern const RoundedKernels kRoundedRef;
const Kernels& kernels_ref();
#if defined(__x86_64__)
extern const RoundedKernels kRoundedAvx2, kRoundedAvxVnni, kRoundedAvx512, kRoundedAvx512Vnni;
const Kernels& kernels_avx2();    // AVX2, FMA, F16C
const Kernels& kernels_avx512();  // AVX-512 F, BW, VL, DQ besides
Gemms gemms_avx512_bf16();        // AVX-512 BF16: with the kernels of kernels_avx512()
Gemms gemms_amx();  // AMX tiles of bf16, AVX-512 BF16 besides: with the kernels of kernels_avx512()
RoundedKernels rounded_amx();  // AMX tiles of int8, AVX-512 VNNI besides
#elif defined(__aarch64__)
extern const RoundedKernels kRoundedNeon;         // of every arm64 machine
extern const RoundedKernels kRoundedNeonDotprod;  // FEAT_DotProd besides
RoundedKernels rounded_neon_i8mm();               // FEAT_I8MM besides
const Kernels& kernels_neon();
#endif

/// The fastest set that this CPU and operating system allow. Sets named in the environment variable GPTQ_CPU_MASK
/// ("avx512", "amx,avx2") are hidden, and with a set those that need it; "vnni" hides avx_vnni and avx512_vnni, and so
/// avx512_bf16, which "bf16" names, and AMX; "neon" hides all that arm64 has, "dotprod" neon_dotprod and neon_i8mm, "i8mm"
/// the latter. It is read once.
const Kernels& best_kernels();

/// Says by the log what in GPTQ_CPU_MASK is the name of no set.
void warn_of_unknown_mask();

/// Every set that best_kernels() chooses from, slowest first; returns how many.
constexpr int kMaxKernelSets = 7;
int available_kernels(const Kernels* (&sets)[kMaxKernelSets]);

}  // namespace gptq::cpu
