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
    const bool huge = pages == Pages::huge && bytes >= kHugePage;
    void* data = nullptr;
    if (::posix_memalign(&data, huge ? kHugePage : kCacheLine, bytes) != 0) throw std::bad_alloc();
    data_ = static_cast<std::byte*>(data);
#if defined(MADV_HUGEPAGE)
    if (huge) (void)::madvise(data_, bytes, MADV_HUGEPAGE);  // where not, slower
#endif
  }
  AlignedBlock(AlignedBlock&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  AlignedBlock& operator=(AlignedBlock&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~AlignedBlock() { std::free(data_); }

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace gptq::cpu
