// What kernels know of the machine: every PTX instruction that they use, wrapped once. Kernels hold no asm of their own,
// so that the same sources compile as C++: then tests/cuda/shim has a twin of each function here, and runs a kernel with
// a fibre for each thread.
//
// Kernels have all their lanes take part in whatever says "warp", and all threads of a block in sync_threads().
// Blocks have whole warps.
#pragma once

#include <cstdint>

namespace gptq::cuda {

constexpr int kWarp = 32;

/// Elements of activations, bits alone.
struct alignas(2) Half {
  uint16_t bits;
};
struct alignas(2) BFloat {
  uint16_t bits;
};

/// What moves in one 8- or 16-byte access.
struct alignas(8) Words2 {
  uint32_t x, y;
};
struct alignas(16) Words4 {
  uint32_t x, y, z, w;
};

struct Floats2 {
  float lo, hi;
};

}  // namespace gptq::cuda

#ifndef __CUDACC__
#include "device_twins.h"  // of tests/cuda/shim
#else

namespace gptq::cuda {

#define GPTQ_DEVICE __device__ __forceinline__

// ---- where a thread is
GPTQ_DEVICE int thread_x() { return static_cast<int>(threadIdx.x); }
GPTQ_DEVICE int block_threads() { return static_cast<int>(blockDim.x); }
GPTQ_DEVICE int block_x() { return static_cast<int>(blockIdx.x); }
GPTQ_DEVICE int block_y() { return static_cast<int>(blockIdx.y); }
GPTQ_DEVICE int block_z() { return static_cast<int>(blockIdx.z); }
GPTQ_DEVICE int grid_x() { return static_cast<int>(gridDim.x); }
GPTQ_DEVICE int lane_of_thread() { return thread_x() % kWarp; }
GPTQ_DEVICE int warp_of_thread() { return thread_x() / kWarp; }

/// The block's shared memory, whose bytes the launch says; 128-byte aligned, undefined at first.
GPTQ_DEVICE unsigned char* shared_memory() {
  extern __shared__ __align__(128) unsigned char gptq_shared_memory[];
  return gptq_shared_memory;
}
GPTQ_DEVICE uint32_t shared_address(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

// ---- barriers and exchange within a block
GPTQ_DEVICE void sync_threads() { __syncthreads(); }
GPTQ_DEVICE void sync_warp() { __syncwarp(); }
GPTQ_DEVICE float shuffle_xor(float x, int lanes) { return __shfl_xor_sync(~0u, x, lanes); }
GPTQ_DEVICE double shuffle_xor(double x, int lanes) { return __shfl_xor_sync(~0u, x, lanes); }
GPTQ_DEVICE uint32_t shuffle_xor(uint32_t x, int lanes) { return __shfl_xor_sync(~0u, x, lanes); }
GPTQ_DEVICE float shuffle(float x, int from) { return __shfl_sync(~0u, x, from); }
GPTQ_DEVICE uint32_t shuffle(uint32_t x, int from) { return __shfl_sync(~0u, x, from); }
/// Of lane - by; that of the lane itself where there is none.
GPTQ_DEVICE uint32_t shuffle_up(uint32_t x, int by) {
  return __shfl_up_sync(~0u, x, static_cast<unsigned>(by));
}
GPTQ_DEVICE uint32_t ballot(bool x) { return __ballot_sync(~0u, x); }

// ---- between blocks
/// Sees all that was written before the release which wrote the value.
GPTQ_DEVICE uint32_t load_acquire(const uint32_t* global) {
  uint32_t value;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(global) : "memory");
  return value;
}
GPTQ_DEVICE void store_release(uint32_t* global, uint32_t value) {
  asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(global), "r"(value) : "memory");
}
GPTQ_DEVICE void add_release(uint32_t* global, uint32_t value) {
  asm volatile("red.release.gpu.global.add.u32 [%0], %1;" ::"l"(global), "r"(value) : "memory");
}
GPTQ_DEVICE uint32_t add_acquire_release(uint32_t* global, uint32_t value) {
  uint32_t before;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;"
               : "=r"(before)
               : "l"(global), "r"(value)
               : "memory");
  return before;
}
/// In loops around load_acquire().
GPTQ_DEVICE void pause() { __nanosleep(20); }

// ---- between kernels (sm_90 and up; nothing elsewhere)
/// Nothing that an earlier kernel writes is read, and nothing that it reads is written, before this.
GPTQ_DEVICE void wait_for_earlier_kernels() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
/// The next kernel may begin as far as its wait.
GPTQ_DEVICE void let_next_kernel_begin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// ---- memory. Addresses are multiples of the size of the access.
GPTQ_DEVICE Words4 load16(const void* p) { return *static_cast<const Words4*>(p); }
GPTQ_DEVICE Words2 load8(const void* p) { return *static_cast<const Words2*>(p); }
GPTQ_DEVICE void store16(void* p, Words4 value) { *static_cast<Words4*>(p) = value; }
GPTQ_DEVICE void store8(void* p, Words2 value) { *static_cast<Words2*>(p) = value; }
/// The same in shared memory, where the shim counts bank conflicts.
GPTQ_DEVICE Words4 load_shared16(const void* p) { return *static_cast<const Words4*>(p); }
GPTQ_DEVICE Words2 load_shared8(const void* p) { return *static_cast<const Words2*>(p); }
/// Weights, which are read once: they leave the caches first. No earlier kernel writes them.
GPTQ_DEVICE Words4 load16_once(const void* global) {
  Words4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(global));
  return v;
}
GPTQ_DEVICE Words2 load8_once(const void* global) {
  Words2 v;
  asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0,%1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(global));
  return v;
}
GPTQ_DEVICE uint32_t load4_once(const void* global) {
  uint32_t v;
  asm volatile("ld.global.nc.L1::no_allocate.u32 %0, [%1];" : "=r"(v) : "l"(global));
  return v;
}

/// Begins to copy 16 bytes; zeros take the place of what is after the first `bytes`. Nothing is there before
/// copies_wait(), nor seen by other threads before the barrier after it.
GPTQ_DEVICE void copy_async16(void* shared, const void* global, int bytes = 16) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
               "r"(bytes)
               : "memory");
}
/// Of what is read once.
GPTQ_DEVICE void copy_async16_once(void* shared, const void* global) {
  asm volatile(
      "{\n.reg .b64 once;\n"
      "createpolicy.fractional.L2::evict_first.b64 once, 1.0;\n"
      "cp.async.cg.shared.global.L2::cache_hint [%0], [%1], 16, once;\n}" ::"r"(shared_address(shared)),
      "l"(global)
      : "memory");
}
/// What was begun since the last call is one group.
GPTQ_DEVICE void copies_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits for this thread's groups but the last `left`.
template <int left>
GPTQ_DEVICE void copies_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
}

// ---- bits
/// For each bit, bit (4a + 2b + c) of `table`.
template <int table>
GPTQ_DEVICE uint32_t lop3(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t d;
  asm("lop3.b32 %0, %1, %2, %3, %4;" : "=r"(d) : "r"(a), "r"(b), "r"(c), "n"(table));
  return d;
}
/// Byte i is byte (selector >> 4i) & 7 of b:a.
GPTQ_DEVICE uint32_t permute_bytes(uint32_t a, uint32_t b, uint32_t selector) {
  return __byte_perm(a, b, selector);
}

GPTQ_DEVICE int count_bits(uint32_t x) { return __popc(x); }
/// The number of the lowest one that is set; x is not 0.
GPTQ_DEVICE int lowest_bit(uint32_t x) { return __ffs(static_cast<int>(x)) - 1; }

// ---- numbers
GPTQ_DEVICE float as_float(uint32_t bits) { return __uint_as_float(bits); }
GPTQ_DEVICE uint32_t as_bits(float x) { return __float_as_uint(x); }
/// The same number. Of a choice between elements of an array the compiler would make one between addresses, and put the
/// array into local memory.
GPTQ_DEVICE float in_register(float x) {
  asm("" : "+f"(x));
  return x;
}
GPTQ_DEVICE float to_float(Half x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
}
GPTQ_DEVICE float to_float(BFloat x) { return __uint_as_float(static_cast<uint32_t>(x.bits) << 16); }
GPTQ_DEVICE float to_float(float x) { return x; }

template <class T>
GPTQ_DEVICE T from_float(float x);
template <>
GPTQ_DEVICE Half from_float<Half>(float x) {
  Half y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
}
template <>
GPTQ_DEVICE BFloat from_float<BFloat>(float x) {
  BFloat y;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
}
template <>
GPTQ_DEVICE float from_float<float>(float x) {
  return x;
}

/// Two elements in a word, the first one in the low half.
template <class T>
GPTQ_DEVICE uint32_t pack2(float lo, float hi);
template <>
GPTQ_DEVICE uint32_t pack2<Half>(float lo, float hi) {
  uint32_t y;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(hi), "f"(lo));
  return y;
}
template <>
GPTQ_DEVICE uint32_t pack2<BFloat>(float lo, float hi) {
  uint32_t y;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(hi), "f"(lo));
  return y;
}
template <class T>
GPTQ_DEVICE Floats2 unpack2(uint32_t x) {
  return {to_float(T{static_cast<uint16_t>(x & 0xFFFF)}), to_float(T{static_cast<uint16_t>(x >> 16)})};
}
/// a - b of both halves; exact for the integers that kernels have there.
template <class T>
GPTQ_DEVICE uint32_t sub2(uint32_t a, uint32_t b);
template <>
GPTQ_DEVICE uint32_t sub2<Half>(uint32_t a, uint32_t b) {
  uint32_t d;
  asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
  return d;
}
template <>
GPTQ_DEVICE uint32_t sub2<BFloat>(uint32_t a, uint32_t b) {  // sm_80 has no subtraction: b * -1 + a
  uint32_t d;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(b), "r"(0xBF80BF80u), "r"(a));
  return d;
}

/// 2^x, with an error of two units in the last place.
GPTQ_DEVICE float fast_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// ---- matrices of a warp. Lane l has row l / 4 and columns 2 (l % 4) and one on of an 8 x 8 matrix in a word.
/// D += A B: A [16][16], its words (top left, bottom left, top right, bottom right); B [16][8], stored by columns (upper,
/// lower half); D [16][8] in fp32, lane l has columns 2 (l % 4) and one on of rows l / 4 and l / 4 + 8.
template <class T>
GPTQ_DEVICE void multiply_16816(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
template <>
GPTQ_DEVICE void multiply_16816<Half>(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
template <>
GPTQ_DEVICE void multiply_16816<BFloat>(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/// Four 8 x 8 matrices: the 16-byte rows of number i are where lanes 8i to 8i + 7 say, in shared memory.
GPTQ_DEVICE void load_matrices(uint32_t (&d)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(shared_address(row))
               : "memory");
}
/// The same, each transposed.
GPTQ_DEVICE void load_matrices_transposed(uint32_t (&d)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(shared_address(row))
               : "memory");
}

}  // namespace gptq::cuda
#endif
