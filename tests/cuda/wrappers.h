// What cuda/device.cuh wraps, one by one, on given bits.
#pragma once

#include <cstdint>

#include "cuda/kernels.h"

namespace gptq::cuda {

/// Wrappers, in the order in which their results are written.
enum class Wrapper : uint8_t {
  lop3_mask,
  lop3_parity,
  permute_bytes,
  count_bits,
  lowest_bit,
  half_to_float,
  bfloat_to_float,
  half_from_float,
  bfloat_from_float,
  pack_half,
  pack_bfloat,
  sub_half,
  sub_bfloat,
  shuffle_xor,
  shuffle,
  shuffle_up,
  shuffle_doubles,
  ballot,
  multiply_half,
  multiply_bfloat,
  load_matrices,
  load_matrices_transposed,
  copy_whole,
  copy_or_not,
  copy_once,
  load_once,
  add_release,
  add_acquire_release,
  exp2,  // the last one: its results are near those of its twin, all others are the same bits
};
constexpr int kWrappers = static_cast<int>(Wrapper::exp2) + 1;
constexpr int kWrapperRounds = 8, kWrapperLanes = 32;
/// Words that each lane takes in a round, and gives for each wrapper.
constexpr int kWrapperInputs = 8, kWrapperResults = 4;

/// in [rounds][lanes][inputs], any bits; out [rounds][wrappers][lanes][results], 0 at first.
void run_wrappers(const Queue& queue, const uint32_t* in, uint32_t* out);

}  // namespace gptq::cuda
