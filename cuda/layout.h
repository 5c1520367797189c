// How weights lie in the GPU's memory: one layout for all kernels, so that a warp's 16-byte loads are one after the other
// and what a lane loads is its part of the left matrix of mma.m16n8k16, whose 16 rows are outputs.
//
//   W [rows, inputs] -> strips of 16 rows -> slabs of 64 inputs -> a part for each lane -> words of two halves
//
//                    16 inputs of a step          lane = 4 (row % 8) + input % 16 / 4
//             0 1 2 3 4 5 6 7 ... 15              register of its fragment = row / 8 + 2 (input % 4 / 2)
//   row 0     lane 0  lane 1      lane 3          low or high half of it = input % 2
//   row 1     lane 4  lane 5      lane 7          field j = 4 step + register, of 16 in each half of the lane's words
//   ...
//   row 7     lane 28 ...                         (activations come in the same order: a lane has 4 inputs in sequence
//   row 8     lane 0, registers 1 and 3            of each step, so that one 8-byte load gives its part of the right matrix)
//   ...
//
// Codes of 2, 4, 8 bits, and numbers of 16, are fields of that width, which never cross halves: (word >> shift) & mask
// gives the two halves of a register at once. 3 bits are a plane of 2, then a plane of 1, for the highest bit.
//
// Inputs are sorted by group; every 16, 32 or 64 n of them are a piece, with one scale and zero point for each row:
//   scales, zeros [strips][pieces][16]
// What is missing to a whole strip, slab or piece is 0, and so are the activations there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/qtensor.h"
#include "base/tensor.h"

#ifdef __CUDACC__
#define GPTQ_BOTH __host__ __device__  // of host and device
#else
#define GPTQ_BOTH
#endif

namespace gptq::cuda {

constexpr int64_t divide_up(int64_t n, int64_t by) { return (n + by - 1) / by; }

constexpr int kStripRows = 16;
constexpr int kSlabInputs = 64;
constexpr int kStepInputs = 16;
constexpr int kSlabSteps = kSlabInputs / kStepInputs;

/// 32-bit words of one slab, for fields of `bits`.
GPTQ_BOTH constexpr int slab_words(int bits) { return kStripRows * kSlabInputs * bits / 32; }

/// A field of a slab.
struct Place {
  int word, shift;
};

/// Of row r < 16 and input k < 64 in a plane whose fields have 1, 2, 4, 8 or 16 bits.
GPTQ_BOTH constexpr Place place_in_plane(int bits, int r, int k) {
  const int lane = r % 8 * 4 + k % kStepInputs / 4;
  const int field = k / kStepInputs * 4 + r / 8 + k % 4 / 2 * 2;
  const int in_half = 16 / bits;         // fields
  const int word = field / in_half;      // of the lane's
  const int load = bits < 4 ? bits : 4;  // words that a lane loads at once
  return {word / load * 32 * load + lane * load + word % load, field % in_half * bits + k % 2 * 16};
}

/// The row and the input whose field place_in_plane() puts at `shift` of a plane's word.
struct FieldAt {
  int r, k;
};
GPTQ_BOTH constexpr FieldAt field_in_plane(int bits, int word, int shift) {
  const int load = bits < 4 ? bits : 4, in_half = 16 / bits;
  const int lane = word / load % 32, of_lane = word / (32 * load) * load + word % load;
  const int field = of_lane * in_half + shift % 16 / bits;
  return {lane / 4 + field % 2 * 8, field / 4 * kStepInputs + lane % 4 * 4 + field % 4 / 2 * 2 + shift / 16};
}

GPTQ_BOTH constexpr uint32_t get_in_plane(const uint32_t* plane, int bits, int r, int k) {
  const Place at = place_in_plane(bits, r, k);
  return plane[at.word] >> at.shift & ((1u << bits) - 1);
}
GPTQ_BOTH constexpr uint32_t get_field(const uint32_t* slab, int bits, int r, int k) {
  if (bits != 3) return get_in_plane(slab, bits, r, k);
  return get_in_plane(slab, 2, r, k) | get_in_plane(slab + slab_words(2), 1, r, k) << 2;
}

/// Where zeros were.
constexpr void set_in_plane(uint32_t* plane, int bits, int r, int k, uint32_t value) {
  const Place at = place_in_plane(bits, r, k);
  plane[at.word] |= value << at.shift;
}
constexpr void set_field(uint32_t* slab, int bits, int r, int k, uint32_t value) {
  if (bits != 3) return set_in_plane(slab, bits, r, k, value);
  set_in_plane(slab, 2, r, k, value & 3);
  set_in_plane(slab + slab_words(2), 1, r, k, value >> 2);
}

/// The shape of packed weights.
struct Packing {
  int bits = 4;                 // 2, 3, 4, 8, or 16 for numbers themselves
  int64_t rows = 0, cols = 0;   // outputs, inputs
  int64_t packed_inputs = 0;    // a multiple of kSlabInputs
  int64_t piece = kSlabInputs;  // inputs of one scale: 16, 32 or a multiple of 64

  GPTQ_BOTH constexpr int64_t strips() const { return (rows + kStripRows - 1) / kStripRows; }
  GPTQ_BOTH constexpr int64_t slabs() const { return packed_inputs / kSlabInputs; }
  GPTQ_BOTH constexpr int64_t pieces() const { return (packed_inputs + piece - 1) / piece; }
  GPTQ_BOTH constexpr int64_t words() const { return strips() * slabs() * slab_words(bits); }
  GPTQ_BOTH constexpr int64_t parameters() const { return bits == 16 ? 0 : strips() * pieces() * kStripRows; }

  GPTQ_BOTH constexpr int64_t first_word(int64_t strip, int64_t slab) const {
    return (strip * slabs() + slab) * slab_words(bits);
  }
  /// Of the scale and the zero point of a row and a piece.
  GPTQ_BOTH constexpr int64_t parameter(int64_t row, int64_t at_piece) const {
    return (row / kStripRows * pieces() + at_piece) * kStripRows + row % kStripRows;
  }

  bool operator==(const Packing&) const = default;
};

/// Packed weights in host memory, on their way to the device or back.
struct PackedWeights {
  Packing shape;
  std::vector<uint32_t> words;
  std::vector<uint16_t> scales_f16;  // when fp16 holds all of them, else:
  std::vector<float> scales_f32;
  std::vector<uint16_t> zeros;  // empty: all are 2^(bits - 1)
  std::vector<int32_t>
      order;  // [packed_inputs] the input that is there, -1 for none; empty: they are in order
  std::vector<int32_t> piece_groups;  // [pieces]
  int64_t groups = 0;
};

/// All but the words, which pack_rows() of kernels.h makes on the device.
PackedWeights plan_packing(const QTensor& weights);
/// Likewise of numbers of 16 bits [rows, cols], whatever they mean: the shape and the order.
PackedWeights plan_halves(int64_t rows, int64_t cols);

/// On the host, field by field.
PackedWeights pack(const QTensor& weights);
/// What pack() got.
QTensor unpack(const PackedWeights& packed);

PackedWeights pack_halves(const uint16_t* numbers, int64_t rows, int64_t cols);
/// `out` [rows, cols]
void unpack_halves(const PackedWeights& packed, uint16_t* out);

}  // namespace gptq::cuda
