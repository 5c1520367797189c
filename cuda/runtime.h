// A device as the backend sees it: its memory, and queues in which copies and kernels run in order. runtime_cuda.cpp is
// NVIDIA's; tests have one in host memory, whose kernels are run by the shim.
//
// All of it may be used by any thread, a queue by one at a time. What fails throws gptq::Error: Status::out_of_memory
// where the device has no more memory, and then nothing has changed; Status::device for all else. A fault of a kernel is
// found by a later call, and is there for good: CUDA then refuses all work of the process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cuda/queue.h"

namespace gptq::cuda {

/// Libraries that compute in a device's memory, as dlopen() takes their names; the first that is there is taken.
struct LibraryNames {
  std::vector<std::string> blas, solver;
};

class Device {
 public:
  virtual ~Device() = default;
  /// "NVIDIA H200, compute capability 9.0"
  virtual const std::string& description() const = 0;
  /// Bytes that nobody has allocated, also in other processes.
  virtual size_t free_bytes() = 0;
  /// Of at least one byte, aligned to 256.
  virtual void* allocate(size_t bytes) = 0;
  /// Work in any queue that uses the memory is finished first.
  virtual void free(void* memory) noexcept = 0;
  virtual std::unique_ptr<DeviceQueue> create_queue() = 0;
  /// None: the plugin's own kernels do all.
  virtual LibraryNames libraries() const { return {}; }
};

/// cuBLAS and cuSOLVER of CUDA 13, then of CUDA 12, each where the loader finds it, then where CUDA is installed as a rule.
LibraryNames nvidia_libraries();

/// Throws as check_device() does unless there is a driver that works and a device of that number.
void check_device(int number);
std::shared_ptr<Device> open_device(int number);

/// Memory of a device, freed with its owner.
class Block {
 public:
  Block() = default;
  Block(std::shared_ptr<Device> device, size_t bytes)
      : device_(std::move(device)), memory_(device_->allocate(bytes)), bytes_(bytes) {}
  Block(Block&& other) noexcept { swap(other); }
  Block& operator=(Block&& other) noexcept {
    Block(std::move(other)).swap(*this);
    return *this;
  }
  ~Block() {
    if (memory_ != nullptr) device_->free(memory_);
  }

  void* data() const { return memory_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(memory_);
  }
  size_t bytes() const { return bytes_; }

 private:
  void swap(Block& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(memory_, other.memory_);
    std::swap(bytes_, other.bytes_);
  }

  std::shared_ptr<Device> device_;
  void* memory_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace gptq::cuda
