// The twins of what cuda/device.cuh wraps, for kernels that are compiled as C++ and run by machine.h.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "base/half.h"
#include "machine.h"

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)
#define GPTQ_DEVICE inline

namespace gptq::cuda {

// ---- where a thread is
inline int thread_x() { return shim::place().thread; }
inline int block_threads() { return shim::grid().threads; }
inline int block_x() { return shim::place().block_x; }
inline int block_y() { return shim::place().block_y; }
inline int block_z() { return shim::place().block_z; }
inline int grid_x() { return shim::grid().x; }
inline int lane_of_thread() { return thread_x() % kWarp; }
inline int warp_of_thread() { return thread_x() / kWarp; }
inline unsigned char* shared_memory() { return reinterpret_cast<unsigned char*>(shim::shared_memory()); }

// ---- barriers and exchange within a block
inline void sync_threads() { shim::sync_block(); }
inline void sync_warp() {
  shim::with_warp([](void* const*) {}, nullptr);
}

/// What a lane gives, whom it asks, and what it gets.
template <class T>
struct Exchange {
  T value;
  int from;
  T result;
};
template <class T>
T exchange(T value, int from) {
  Exchange<T> mine{value, from, value};
  shim::with_warp(
      [](void* const* lanes) {
        for (int l = 0; l < kWarp; ++l) {
          auto& lane = *static_cast<Exchange<T>*>(lanes[l]);
          lane.result = static_cast<Exchange<T>*>(lanes[lane.from])->value;
        }
      },
      &mine);
  return mine.result;
}
inline float shuffle_xor(float x, int lanes) { return exchange(x, lane_of_thread() ^ lanes); }
inline double shuffle_xor(double x, int lanes) { return exchange(x, lane_of_thread() ^ lanes); }
inline uint32_t shuffle_xor(uint32_t x, int lanes) { return exchange(x, lane_of_thread() ^ lanes); }
inline float shuffle(float x, int from) { return exchange(x, from & (kWarp - 1)); }
inline uint32_t shuffle(uint32_t x, int from) { return exchange(x, from & (kWarp - 1)); }
inline uint32_t shuffle_up(uint32_t x, int by) {
  const int lane = lane_of_thread();
  return exchange(x, lane >= by ? lane - by : lane);
}
inline uint32_t ballot(bool x) {
  uint32_t mine = x ? 1 : 0;
  shim::with_warp(
      [](void* const* lanes) {
        uint32_t all = 0;
        for (int l = 0; l < kWarp; ++l) all |= *static_cast<uint32_t*>(lanes[l]) << l;
        for (int l = 0; l < kWarp; ++l) *static_cast<uint32_t*>(lanes[l]) = all;
      },
      &mine);
  return mine;
}

// ---- between blocks: they run one at a time, so that every access has an order
inline uint32_t load_acquire(const uint32_t* global) { return *global; }
inline void store_release(uint32_t* global, uint32_t value) { *global = value; }
inline void add_release(uint32_t* global, uint32_t value) { *global += value; }
inline uint32_t add_acquire_release(uint32_t* global, uint32_t value) {
  const uint32_t before = *global;
  *global += value;
  return before;
}
inline void pause() { shim::yield(); }

// ---- between kernels: one runs after the other
inline void wait_for_earlier_kernels() {}
inline void let_next_kernel_begin() {}

// ---- memory
template <class T>
T load_aligned(const void* p) {
  shim::check_aligned(p, sizeof(T), "a vector");
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}
template <class T>
void store_aligned(void* p, T value) {
  shim::check_aligned(p, sizeof(T), "a vector");
  std::memcpy(p, &value, sizeof value);
}
inline Words4 load16(const void* p) { return load_aligned<Words4>(p); }
inline Words2 load8(const void* p) { return load_aligned<Words2>(p); }
inline void store16(void* p, Words4 value) { store_aligned(p, value); }
inline void store8(void* p, Words2 value) { store_aligned(p, value); }
inline Words4 load_shared16(const void* p) {
  shim::note_access(p, 16);
  return load_aligned<Words4>(p);
}
inline Words2 load_shared8(const void* p) {
  shim::note_access(p, 8);
  return load_aligned<Words2>(p);
}
inline Words4 load16_once(const void* global) { return load_aligned<Words4>(global); }
inline Words2 load8_once(const void* global) { return load_aligned<Words2>(global); }
inline uint32_t load4_once(const void* global) { return load_aligned<uint32_t>(global); }

inline void copy_async16(void* shared, const void* global, int bytes = 16) {
  shim::copy_begin(shared, global, bytes);
}
inline void copy_async16_once(void* shared, const void* global) { shim::copy_begin(shared, global, 16); }
inline void copies_commit() { shim::copy_commit(); }
template <int left>
void copies_wait() {
  shim::copy_wait(left);
}

// ---- bits
template <int table>
uint32_t lop3(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t d = 0;
  for (int i = 0; i < 8; ++i) {
    if ((table >> i & 1) != 0) d |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
  }
  return d;
}
inline uint32_t permute_bytes(uint32_t a, uint32_t b, uint32_t selector) {
  const uint64_t both = uint64_t{b} << 32 | a;
  uint32_t d = 0;
  for (int i = 0; i < 4; ++i)
    d |= static_cast<uint32_t>(both >> (8 * (selector >> 4 * i & 7)) & 0xFF) << 8 * i;
  return d;
}

inline int count_bits(uint32_t x) { return std::popcount(x); }
inline int lowest_bit(uint32_t x) { return std::countr_zero(x); }

// ---- numbers
inline float as_float(uint32_t bits) { return std::bit_cast<float>(bits); }
inline uint32_t as_bits(float x) { return std::bit_cast<uint32_t>(x); }
inline float in_register(float x) { return x; }
inline float to_float(Half x) { return fp16_to_float(x.bits); }
inline float to_float(BFloat x) { return bf16_to_float(x.bits); }
inline float to_float(float x) { return x; }

template <class T>
T from_float(float x);
template <>
inline Half from_float<Half>(float x) {
  return {float_to_fp16(x)};
}
template <>
inline BFloat from_float<BFloat>(float x) {
  return {float_to_bf16(x)};
}
template <>
inline float from_float<float>(float x) {
  return x;
}

template <class T>
uint32_t pack2(float lo, float hi) {
  return from_float<T>(lo).bits | static_cast<uint32_t>(from_float<T>(hi).bits) << 16;
}
template <class T>
Floats2 unpack2(uint32_t x) {
  return {to_float(T{static_cast<uint16_t>(x & 0xFFFF)}), to_float(T{static_cast<uint16_t>(x >> 16)})};
}
template <class T>
uint32_t sub2(uint32_t a, uint32_t b) {
  const Floats2 x = unpack2<T>(a), y = unpack2<T>(b);
  return pack2<T>(x.lo - y.lo, x.hi - y.hi);
}
inline float fast_exp2(float x) { return std::exp2(x); }

// ---- matrices of a warp
struct Multiply {
  float* d;
  const uint32_t *a, *b;
};
template <class T>
void multiply_16816(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  Multiply mine{d, a, b};
  shim::with_warp(
      [](void* const* lanes) {
        float a[16][16], b[16][8], sums[16][8];
        for (int l = 0; l < kWarp; ++l) {
          const Multiply& lane = *static_cast<const Multiply*>(lanes[l]);
          const int r = l / 4, c = l % 4 * 2;
          for (int i = 0; i < 4; ++i) {
            const Floats2 x = unpack2<T>(lane.a[i]);
            a[r + i % 2 * 8][c + i / 2 * 8] = x.lo;
            a[r + i % 2 * 8][c + i / 2 * 8 + 1] = x.hi;
            sums[r + i / 2 * 8][c + i % 2] = lane.d[i];
          }
          for (int i = 0; i < 2; ++i) {
            const Floats2 x = unpack2<T>(lane.b[i]);
            b[c + i * 8][r] = x.lo;
            b[c + i * 8 + 1][r] = x.hi;
          }
        }
        for (int i = 0; i < 16; ++i) {
          for (int k = 0; k < 16; ++k) {
            for (int j = 0; j < 8; ++j) sums[i][j] += a[i][k] * b[k][j];
          }
        }
        for (int l = 0; l < kWarp; ++l) {
          for (int i = 0; i < 4; ++i)
            static_cast<const Multiply*>(lanes[l])->d[i] = sums[l / 4 + i / 2 * 8][l % 4 * 2 + i % 2];
        }
        shim::note_multiply();
      },
      &mine);
}

struct MatrixRows {
  const void* row;
  uint32_t* d;
};
enum class Transposed : bool { no, yes };
template <Transposed transposed>
void load_four(uint32_t (&d)[4], const void* row) {
  shim::check_aligned(row, 16, "ldmatrix");
  MatrixRows mine{row, d};
  shim::with_warp(
      [](void* const* lanes) {
        void* rows[kWarp];
        for (int l = 0; l < kWarp; ++l)
          rows[l] = const_cast<void*>(static_cast<const MatrixRows*>(lanes[l])->row);
        shim::note_matrices(rows);
        for (int i = 0; i < 4; ++i) {
          uint16_t m[8][8];
          for (int r = 0; r < 8; ++r) std::memcpy(m[r], rows[i * 8 + r], sizeof m[r]);
          for (int l = 0; l < kWarp; ++l) {
            const int r = l / 4, c = l % 4 * 2;
            const uint32_t lo = transposed == Transposed::yes ? m[c][r] : m[r][c];
            const uint32_t hi = transposed == Transposed::yes ? m[c + 1][r] : m[r][c + 1];
            static_cast<const MatrixRows*>(lanes[l])->d[i] = lo | hi << 16;
          }
        }
      },
      &mine);
}
inline void load_matrices(uint32_t (&d)[4], const void* row) { load_four<Transposed::no>(d, row); }
inline void load_matrices_transposed(uint32_t (&d)[4], const void* row) {
  load_four<Transposed::yes>(d, row);
}

}  // namespace gptq::cuda
