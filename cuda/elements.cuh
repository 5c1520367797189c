// What kernels over activations have in common: eight elements at a time, sums over a warp and a block.
#pragma once

#include "cuda/device.cuh"
#include "cuda/kernels.h"

namespace gptq::cuda {

/// Elements of a 16-byte access.
constexpr int kVector = 8;

/// `p` at a multiple of 16 bytes.
template <class T>
GPTQ_DEVICE void load_vector(const T* p, float (&x)[kVector]) {
  const Words4 words = load16(p);
  const uint32_t four[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const Floats2 pair = unpack2<T>(four[i]);
    x[2 * i] = pair.lo;
    x[2 * i + 1] = pair.hi;
  }
}
template <class T>
GPTQ_DEVICE void store_vector(T* p, const float (&x)[kVector]) {
  store16(p, {pack2<T>(x[0], x[1]), pack2<T>(x[2], x[3]), pack2<T>(x[4], x[5]), pack2<T>(x[6], x[7])});
}

template <class T>
GPTQ_DEVICE T warp_sum(T x) {
#pragma unroll
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) x += shuffle_xor(x, lanes);
  return x;
}
GPTQ_DEVICE float warp_max(float x) {
#pragma unroll
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) {
    const float other = shuffle_xor(x, lanes);
    x = x > other ? x : other;
  }
  return x;
}

/// Over all threads of the block, by way of `shared` [warps], which is free again after the next barrier.
GPTQ_DEVICE float block_sum(float x, float* shared) {
  x = warp_sum(x);
  if (lane_of_thread() == 0) shared[warp_of_thread()] = x;
  sync_threads();
  float total = 0;
  for (int w = 0; w < block_threads() / kWarp; ++w) total += shared[w];
  return total;
}

/// Calls f(Half{}) or f(BFloat{}).
template <class F>
void with_element(Element element, F f) {
  if (element == Element::f16) {
    f(Half{});
  } else {
    f(BFloat{});
  }
}

}  // namespace gptq::cuda
