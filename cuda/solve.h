// GPTQ on the device: what SolveProblem and RefineProblem are in its memory, and matrices of floats around them. Asked for by
// the quantizer alone.
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

  bool operator==(const SolveView&) const = default;
};

/// `group_of` is that of the view, in host memory.
void solve(const Queue& queue, const SolveView& problem, std::span<const int32_t> group_of,
           const Between& between);

// ---- floats.cu
/// What of a matrix is not 0. above: the upper triangle without the diagonal.
enum class Triangle : uint8_t { all, upper, lower, above };

/// Element (i, j) is data[i pitch + j], or with lists data[rows[i] pitch + cols[j]]; turned: data[j pitch + i], and so on.
struct FloatOperand {
  const float* data = nullptr;
  int64_t pitch = 0;
  Turned turned = Turned::no;
  const int32_t *rows = nullptr, *cols = nullptr;  // null: 0, 1, 2 ...

  bool operator==(const FloatOperand&) const = default;
};

/// out [rows, cols] (+)= factor left [rows, depth] right [depth, cols], within 2^-16 of each term.
struct FloatProduct {
  int64_t rows = 0, cols = 0, depth = 0;
  FloatOperand left, right;
  float factor = 1.0f;
  float* out = nullptr;
  int64_t pitch = 0;  // of out
  Onto onto = Onto::nothing;
  Triangle right_is = Triangle::all;  // what else there is is 0: it may be left out
  Triangle wanted = Triangle::all;    // all or above: all else becomes 0

  bool operator==(const FloatProduct&) const = default;
};
void multiply_floats(const Queue& queue, const FloatProduct& product);
/// out [rows, cols] += factor from[.][order]
void add_rows(const Queue& queue, const float* from, int64_t rows, int64_t cols, const int32_t* order,
              float factor, float* out);
/// out [n, n] = H' of factor(), all of it.
void permute_hessian(const Queue& queue, const float* h, int64_t n, const int32_t* order,
                     const float* diagonal_add, float* out);
/// out [n] = the diagonal of H
void diagonal_of(const Queue& queue, const float* h, int64_t n, float* out);

// ---- refine.cu
/// RefineProblem in the device's memory, its columns as they are refined.
struct RefineView {
  RefineParams params;
  int64_t rows = 0, cols = 0;
  const float* hessian = nullptr;     // [cols, cols] of permute_hessian()
  const float* target = nullptr;      // [rows, cols]
  const int32_t* group_of = nullptr;  // [cols]
  uint8_t* codes = nullptr;           // [rows, cols] in and out
  float* scales = nullptr;            // [groups, rows] in and out
  const uint16_t* zeros = nullptr;    // [groups, rows]
  double* row_loss = nullptr;         // [rows] out; null: not wanted
  // scratch
  float* residual = nullptr;  // [rows, cols]
  float* product = nullptr;   // [rows, kRefinedBlock]
  // where groups are larger than a block and scales are fitted
  float* numbers = nullptr;          // [rows, cols]
  float* numbers_product = nullptr;  // [rows, kRefinedBlock]
  double* fits = nullptr;            // [rows, 2]

  bool operator==(const RefineView&) const = default;
};
constexpr int64_t kRefinedBlock = 128;  // columns

/// Likewise.
void refine(const Queue& queue, const RefineView& problem, std::span<const int32_t> group_of,
            const Between& between);
/// Whether the second part of the scratch memory is needed.
bool fits_large_groups(const RefineParams& params, std::span<const int32_t> group_of);

// ---- columns.cu
/// out[r][i] = in[r][at[i]], and out[r][at[i]] = in[r][i], for in and out [rows, cols].
void take_columns(const Queue& queue, const float* in, int64_t rows, int64_t cols, const int32_t* at,
                  float* out);
void take_columns(const Queue& queue, const uint8_t* in, int64_t rows, int64_t cols, const int32_t* at,
                  uint8_t* out);
void put_columns(const Queue& queue, const uint8_t* in, int64_t rows, int64_t cols, const int32_t* at,
                 uint8_t* out);
/// The first as floats, from f32, f16 or bf16; 0 where dropped[at[i]] is not 0, of which null is none. *failed becomes 1 where
/// one is no number, dropped or not.
void take_weights(const Queue& queue, DType dtype, const void* in, int64_t rows, int64_t cols,
                  const int32_t* at, const uint8_t* dropped, float* out, uint32_t* failed);

}  // namespace gptq::cuda
