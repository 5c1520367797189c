// Working memory that an op borrows and gives back, so that steady decoding allocates nothing.
#pragma once

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <vector>

#include "base/pause_cpu.h"
#include "cpu/aligned.h"

namespace gptq::cpu {

class Scratch {
 public:
  /// A borrowed block, uninitialized; goes back when the lease ends.
  class Lease {
   public:
    Lease(Lease&& other) noexcept
        : scratch_(std::exchange(other.scratch_, nullptr)), block_(std::move(other.block_)) {}
    Lease& operator=(Lease&&) = delete;
    ~Lease() {
      if (scratch_ != nullptr) scratch_->give_back(std::move(block_));
    }
    float* floats() const { return block_.as<float>(); }
    template <class T>
    T* as() const {
      return block_.as<T>();
    }

   private:
    friend class Scratch;
    Lease(Scratch* scratch, AlignedBlock block) : scratch_(scratch), block_(std::move(block)) {}
    Scratch* scratch_;
    AlignedBlock block_;
  };

  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  /// Room for `count` floats, 64-byte aligned. From any thread; throws std::bad_alloc.
  Lease floats(int64_t count) {
    return bytes(static_cast<size_t>(std::max<int64_t>(count, 1)) * sizeof(float));
  }

  Lease bytes(size_t size) {
    AlignedBlock block;
    {
      const std::unique_lock<std::mutex> lock = locked();
      if (free_.capacity() < free_.size() + lent_ + 1) free_.reserve(2 * (free_.size() + lent_ + 1));
      ++lent_;
      block = take(size);
    }
    if (block.bytes() >= size) return Lease(this, std::move(block));
    block = AlignedBlock();  // too small: its memory goes before more is asked for
    try {
      return Lease(this, AlignedBlock(size));
    } catch (...) {
      const std::unique_lock<std::mutex> lock = locked();
      --lent_;
      throw;
    }
  }

 private:
  /// All threads of a pool come at once, each for a moment: to sleep would cost many times what the others take.
  std::unique_lock<std::mutex> locked() {
    constexpr int kTries = 1000;
    std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    for (int i = 0; i < kTries && !lock.owns_lock(); ++i) {
      pause_cpu();
      lock.try_lock();
    }
    if (!lock.owns_lock()) lock.lock();
    return lock;
  }

  /// The smallest block that is large enough, else the largest, else none.
  AlignedBlock take(size_t size) {
    if (free_.empty()) return {};
    size_t best = 0;
    for (size_t i = 1; i < free_.size(); ++i) {
      const size_t b = free_[i].bytes(), now = free_[best].bytes();
      if (now < size ? b > now : b >= size && b < now) best = i;
    }
    std::swap(free_[best], free_.back());
    AlignedBlock block = std::move(free_.back());
    free_.pop_back();
    return block;
  }

  void give_back(AlignedBlock block) noexcept {
    const std::unique_lock<std::mutex> lock = locked();
    --lent_;
    free_.push_back(std::move(block));  // has room: see bytes()
  }

  std::mutex mutex_;
  std::vector<AlignedBlock> free_;
  size_t lent_ = 0;
};

}  // namespace gptq::cpu
