// A block of memory on a cache line boundary.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

namespace gptq::cpu {

inline constexpr size_t kCacheLine = 64;
inline constexpr size_t kHugePage = size_t{2} << 20;

/// Whether memory that is written from end to end may come in huge pages.
enum class Pages : uint8_t { usual, huge };

/// Uninitialized bytes, 64-byte aligned; throws std::bad_alloc. Movable, empty by default.
class AlignedBlock {
 public:
  AlignedBlock() = default;
  explicit AlignedBlock(size_t bytes, Pages pages = Pages::usual) : bytes_(bytes) {
    if (bytes == 0) return;
    if (pages == Pages::huge && bytes >= kHugePage && map()) return;
    void* data = nullptr;
    if (::posix_memalign(&data, kCacheLine, bytes) != 0) throw std::bad_alloc();
    data_ = static_cast<std::byte*>(data);
  }
  AlignedBlock(AlignedBlock&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)),
        mapped_(std::exchange(other.mapped_, 0)) {}
  AlignedBlock& operator=(AlignedBlock&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(mapped_, other.mapped_);
    return *this;
  }
  ~AlignedBlock() { mapped_ > 0 ? (void)::munmap(data_, mapped_) : std::free(data_); }

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  /// Of its own, not of the heap, which keeps the holes between what lives long for what comes and goes. One mapping a block,
  /// of whose number a process may have some ten thousand; false where there are no more.
  bool map() {
    constexpr size_t kPage = 4096;
    if (bytes_ > SIZE_MAX - 2 * kHugePage) return false;
    const size_t wanted = (bytes_ + kPage - 1) / kPage * kPage, room = wanted + kHugePage;
    void* const from = ::mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (from == MAP_FAILED) return false;
    const size_t before = (kHugePage - reinterpret_cast<uintptr_t>(from) % kHugePage) % kHugePage;
    data_ = static_cast<std::byte*>(from) + before;
    mapped_ = wanted;
    const size_t behind = room - before - wanted;
    if ((before > 0 && ::munmap(from, before) != 0) ||
        (behind > 0 && ::munmap(data_ + wanted, behind) != 0)) {
      (void)::munmap(from, room);
      data_ = nullptr;
      mapped_ = 0;
      return false;
    }
#if defined(MADV_HUGEPAGE)
    (void)::madvise(data_, wanted, MADV_HUGEPAGE);  // where not, slower
#endif
    return true;
  }

  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
  size_t mapped_ = 0;  // bytes from data_ on; 0: of the heap
};

}  // namespace gptq::cpu
