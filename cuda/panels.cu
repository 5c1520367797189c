// Weights as plain rows of 16-bit numbers, some outputs at a time, for a library that knows no others; and the end of its
// sums where there is a bias.
//
// A warp has a strip and a slab: a lane loads its part of it as for a product (layout.h), which is four inputs in sequence of
// each step and of two rows, and stores them as 8 bytes. Four lanes have the 16 inputs of a step and a row.
#include "cuda/elements.cuh"
#include "cuda/launch.cuh"
#include "cuda/weights.cuh"

namespace gptq::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;

template <class T>
GPTQ_DEVICE uint32_t scaled(uint32_t pair, float scale) {
  const Floats2 numbers = unpack2<T>(pair);
  return pack2<T>(scale * numbers.lo, scale * numbers.hi);
}

template <class T, int bits>
__global__ void __launch_bounds__(kThreads)
    unpack_slabs(Weights w, int64_t first_strip, int64_t count, T* out) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const int64_t slab = int64_t{block_x()} * kWarps + warp_of_thread();
  if (slab >= w.shape.slabs()) return;
  const int lane = lane_of_thread();
  const int64_t strip = first_strip + block_y(), row = int64_t{block_y()} * kStripRows + lane / 4;
  const Units units(w.shape);
  uint32_t words[bits], zeros[2] = {};
  float scales[2] = {};
  load_lane<bits, kSlabSteps, FromGlobal>(w.words + w.shape.first_word(strip, slab), lane, 0, words);
#pragma unroll
  for (int step = 0; step < kSlabSteps; ++step) {
    if (bits < 16 && units.begins(step)) {
      const int64_t parameter =
          (strip * w.shape.pieces() + units.piece_of(slab, step)) * kStripRows + lane / 4;
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        scales[i] = scale_at(w, parameter + 8 * i);
        zeros[i] = prepare_zero<T, bits>(zero_at(w, parameter + 8 * i));
      }
    }
    uint32_t pairs[4];  // of row and of row + 8, then the next two inputs of each
    fragment_of<T, bits>(words, step, zeros, pairs);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (row + 8 * i >= count) continue;
      const Words2 four = bits == 16
                              ? Words2{pairs[i], pairs[i + 2]}
                              : Words2{scaled<T>(pairs[i], scales[i]), scaled<T>(pairs[i + 2], scales[i])};
      store8(out + (row + 8 * i) * w.shape.packed_inputs + slab * kSlabInputs + step * kStepInputs +
                 lane % 4 * 4,
             four);
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    add_bias_to_rows(const float* sums, const float* bias, int64_t cols, T* y, int64_t pitch) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const int64_t row = block_x(), c = int64_t{block_y()} * kThreads + thread_x();
  if (c < cols) y[row * pitch + c] = from_float<T>(sums[row * cols + c] + bias[c]);
}

}  // namespace

void unpack_panel(const Queue& queue, Element element, const Weights& w, int64_t first, int64_t count,
                  void* out) {
  with_element(element, [&](auto kind) {
    using T = decltype(kind);
    with_bits(w.shape.bits, [&](auto width) {
      launch(
          queue, unpack_slabs<T, decltype(width)::value>,
          {.x = divide_up(w.shape.slabs(), kWarps), .y = divide_up(count, kStripRows), .threads = kThreads},
          w, first / kStripRows, count, static_cast<T*>(out));
    });
  });
}

void add_bias(const Queue& queue, Element element, const float* sums, const float* bias, int64_t rows,
              int64_t cols, void* y, int64_t pitch) {
  with_element(element, [&](auto kind) {
    using T = decltype(kind);
    launch(queue, add_bias_to_rows<T>, {.x = rows, .y = divide_up(cols, kThreads), .threads = kThreads}, sums,
           bias, cols, static_cast<T*>(y), pitch);
  });
}

}  // namespace gptq::cuda
