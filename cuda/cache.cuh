// Where keys and values are in the pages of the cache (CacheView in kernels.h).
#pragma once

#include "cuda/device.cuh"
#include "cuda/kernels.h"

namespace gptq::cuda {

template <class T>
GPTQ_DEVICE T* page_of(const CacheView& cache, Row at) {
  return static_cast<T*>(cache.pages[at.sequence * cache.most_pages + at.position / kPagePositions]);
}
/// [kPagePositions][pitch] of a head, in the page of a position.
template <class T>
GPTQ_DEVICE T* keys_of(const CacheView& cache, Row at, int64_t head) {
  return page_of<T>(cache, at) + cache.keys_at + head * kPagePositions * cache_pitch(cache.key_dim);
}
template <class T>
GPTQ_DEVICE T* values_of(const CacheView& cache, Row at, int64_t head) {
  return page_of<T>(cache, at) + cache.values_at + head * kPagePositions * cache_pitch(cache.value_dim);
}

}  // namespace gptq::cuda
