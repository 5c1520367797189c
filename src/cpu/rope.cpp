// Rotary position embedding, and storing keys and values.
#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "cpu/kv_cache.h"
#include "cpu/stream_cpu.h"

namespace gptq::cpu {
namespace {

void rotate_head(RopeLayout layout, const float* cos, const float* sin, int64_t half, float* head) {
  const int64_t step = layout == RopeLayout::half ? 1 : 2;
  const int64_t partner = layout == RopeLayout::half ? half : 1;
  for (int64_t i = 0; i < half; ++i) {
    float& a = head[i * step];
    float& b = head[i * step + partner];
    const float a0 = a, b0 = b;
    a = a0 * cos[i] - b0 * sin[i];
    b = b0 * cos[i] + a0 * sin[i];
  }
}

void rotate_row(const RopeRows& rope, int64_t i, float* heads, int64_t count, int64_t head_dim) {
  const int64_t half = rope.dim / 2;
  for (int64_t h = 0; h < count; ++h) {
    rotate_head(rope.layout, rope.cos + i * half, rope.sin + i * half, half,
                heads + h * head_dim + rope.offset);
  }
}

template <class Element>
void store_heads(const CpuKvCache& cache, int64_t layer, Row at, const Element* k, const Element* v) {
  const CacheLayer& shape = cache.layer(layer);
  const int64_t slot = at.position % kPagePositions;
  for (int64_t h = 0; h < shape.kv_heads; ++h) {
    auto* const keys = reinterpret_cast<Element*>(cache.keys(at.sequence, at.position, layer, h));
    for (int64_t d = 0; d < shape.key_dim; ++d) keys[d * kPagePositions + slot] = k[h * shape.key_dim + d];
    auto* const values = reinterpret_cast<Element*>(cache.values(at.sequence, at.position, layer, h));
    std::copy_n(v + h * shape.value_dim, shape.value_dim, values + slot * shape.value_dim);
  }
}

void store_halves(const Kernels& kernels, const CpuKvCache& cache, int64_t layer, Row at, const float* k,
                  const float* v, uint16_t* room) {
  const CacheLayer& shape = cache.layer(layer);
  const int64_t keys = shape.kv_heads * shape.key_dim;
  kernels.halve(k, keys, room);
  kernels.halve(v, shape.kv_heads * shape.value_dim, room + keys);
  store_heads(cache, layer, at, room, room + keys);
}

void store_rounded(const Kernels& kernels, const CpuKvCache& cache, int64_t layer, Row at, const float* k,
                   const float* v, int8_t* room) {
  const CacheLayer& shape = cache.layer(layer);
  const int64_t slot = at.position % kPagePositions;
  int8_t* const values = room + shape.kv_heads * shape.key_dim;
  for (int64_t h = 0; h < shape.kv_heads; ++h) {
    const int64_t key = h * shape.key_dim, value = h * shape.value_dim;
    cache.key_scales(at.sequence, at.position, layer, h)[slot] =
        kernels.round_row(k + key, shape.key_dim, room + key);
    cache.value_scales(at.sequence, at.position, layer, h)[slot] =
        kernels.round_row(v + value, shape.value_dim, values + value);
  }
  store_heads(cache, layer, at, room, values);
}

/// `room` is for a row of keys and values in 16 bits.
void store(const Kernels& kernels, const CpuKvCache& cache, int64_t layer, Row at, const float* k,
           const float* v, const Scratch::Lease& room) {
  switch (cache.element()) {
    case Stored::f32: return store_heads(cache, layer, at, k, v);
    case Stored::f16: return store_halves(kernels, cache, layer, at, k, v, room.as<uint16_t>());
    case Stored::i8: return store_rounded(kernels, cache, layer, at, k, v, room.as<int8_t>());
  }
}

}  // namespace

void CpuStream::rope_store(const RopeRows& rope, std::span<const Row> rows, Matrix q, Matrix k, Matrix v,
                           KvCache& cache, int64_t layer) {
  auto& kv = static_cast<CpuKvCache&>(cache);
  const CacheLayer& shape = kv.layer(layer);
  for (const Row& r : rows) kv.require(r);
  const int64_t heads = shape.key_dim > 0 ? q.cols / shape.key_dim : 0;
  parallel_for(static_cast<int64_t>(rows.size()), 4, [&](int64_t begin, int64_t end) {
    const Scratch::Lease room = scratch().bytes(static_cast<size_t>(k.cols + v.cols + 1) * sizeof(uint16_t));
    for (int64_t i = begin; i < end; ++i) {
      if (rope.dim > 0) {
        rotate_row(rope, i, row(q, i), heads, shape.key_dim);
        rotate_row(rope, i, row(k, i), shape.kv_heads, shape.key_dim);
      }
      store(kernels(), kv, layer, rows[static_cast<size_t>(i)], row(k, i), row(v, i), room);
    }
  });
}

void CpuStream::rotate(const RopeRows& rope, Matrix x, int64_t head_dim) {
  if (rope.dim == 0) return;
  parallel_for(x.rows, 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) rotate_row(rope, i, row(x, i), x.cols / head_dim, head_dim);
  });
}

void CpuStream::join_heads(Matrix a, Matrix b, int64_t heads, Matrix out) {
  const int64_t m = a.cols / heads, n = out.cols / heads - m, step = b.cols == n ? 0 : n;
  parallel_for(a.rows, 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t h = 0; h < heads; ++h) {
        float* to = row(out, i) + h * (m + n);
        std::copy_n(row(a, i) + h * m, m, to);
        std::copy_n(row(b, i) + h * step, n, to + m);
      }
    }
  });
}

}  // namespace gptq::cpu
