// operator new in memory that both the host and the GPU see: tests/cuda gives kernels what std::vector has. It comes from one
// block of the host's, pinned, in sizes that are powers of two; what is freed waits in a list of its size. Managed memory
// would be nearer to the GPU, but where a GPU is lent to a virtual machine it may be refused, or never arrive.
#include "memory.h"

#include <cuda_runtime_api.h>

#include <array>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>

namespace {

constexpr size_t kBlock = size_t{1} << 30;  // the tests take 60 MB of it
constexpr size_t kLeast = 256;
constexpr size_t kDefault = __STDCPP_DEFAULT_NEW_ALIGNMENT__;

struct Free {
  Free* next;
};

std::mutex mutex;
std::byte* block = nullptr;
size_t taken = 0;
std::array<Free*, 64> freed{};  // [log2 of the size]

bool is_inside(const void* p) {
  const auto at = reinterpret_cast<uintptr_t>(p), begin = reinterpret_cast<uintptr_t>(block);
  return block != nullptr && at >= begin && at < begin + kBlock;
}

/// The size is kept in the `kLeast` bytes before what is given out, which keeps that aligned, too.
void* take(size_t bytes) {
  const size_t size = std::bit_ceil(bytes + kLeast);
  const auto list = static_cast<size_t>(std::countr_zero(size));
  const std::lock_guard lock(mutex);
  std::byte* p = reinterpret_cast<std::byte*>(freed[list]);
  if (p != nullptr) {
    freed[list] = freed[list]->next;
  } else {
    if (size > kBlock - taken) throw std::bad_alloc();
    p = block + taken;
    taken += size;
  }
  *reinterpret_cast<size_t*>(p) = list;
  return p + kLeast;
}

void give_back(void* p) {
  std::byte* const begin = static_cast<std::byte*>(p) - kLeast;
  const std::lock_guard lock(mutex);
  const size_t list = *reinterpret_cast<size_t*>(begin);
  auto* const entry = reinterpret_cast<Free*>(begin);
  entry->next = freed[list];
  freed[list] = entry;
}

void* allocate(size_t bytes, size_t alignment) {
  if (block != nullptr && alignment <= kLeast) return take(bytes);
  void* const p = alignment > kDefault
                      ? std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment)
                      : std::malloc(bytes > 0 ? bytes : 1);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

void release(void* p) noexcept {
  if (is_inside(p)) {
    give_back(p);
  } else {
    std::free(p);
  }
}

}  // namespace

namespace gptq::test {

const char* share_memory() {
  void *memory = nullptr, *there = nullptr;
  cudaError_t error = cudaHostAlloc(&memory, kBlock, cudaHostAllocMapped);
  if (error == cudaSuccess) error = cudaHostGetDevicePointer(&there, memory, 0);
  if (error != cudaSuccess) return cudaGetErrorString(error);
  if (there != memory) return "the host's memory has another address there";
  block = static_cast<std::byte*>(memory);
  return nullptr;
}

size_t shared_bytes() { return taken; }

}  // namespace gptq::test

void* operator new(size_t bytes) { return allocate(bytes, kDefault); }
void* operator new[](size_t bytes) { return allocate(bytes, kDefault); }
void* operator new(size_t bytes, std::align_val_t alignment) {
  return allocate(bytes, static_cast<size_t>(alignment));
}
void* operator new[](size_t bytes, std::align_val_t alignment) {
  return allocate(bytes, static_cast<size_t>(alignment));
}
void operator delete(void* p) noexcept { release(p); }
void operator delete[](void* p) noexcept { release(p); }
void operator delete(void* p, size_t) noexcept { release(p); }
void operator delete[](void* p, size_t) noexcept { release(p); }
void operator delete(void* p, std::align_val_t) noexcept { release(p); }
void operator delete[](void* p, std::align_val_t) noexcept { release(p); }
void operator delete(void* p, size_t, std::align_val_t) noexcept { release(p); }
void operator delete[](void* p, size_t, std::align_val_t) noexcept { release(p); }
