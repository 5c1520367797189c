// Copies between host and device outside of streams: weights when they are prepared, and back. Any thread.
#pragma once

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "cuda/runtime.h"

namespace gptq::cuda {

class Loader {
 public:
  explicit Loader(std::shared_ptr<Device> device)
      : device_(std::move(device)), queue_(device_->create_queue()) {}

  const std::shared_ptr<Device>& device() const { return device_; }

  /// Memory of the device that holds what the host's does; none for none.
  Block upload(const void* host, size_t bytes) {
    if (bytes == 0) return {};
    Block block(device_, bytes);
    const std::lock_guard lock(mutex_);
    queue_->upload(block.data(), host, bytes);
    queue_->wait();
    return block;
  }
  template <class Values>
  Block upload(const Values& values) {
    return upload(std::data(values), std::size(values) * sizeof(*std::data(values)));
  }

  template <class T>
  std::vector<T> download(const Block& block) {
    std::vector<T> values(block.bytes() / sizeof(T));
    const std::lock_guard lock(mutex_);
    queue_->download(values.data(), block.data(), block.bytes());
    return values;
  }

 private:
  std::shared_ptr<Device> device_;
  std::mutex mutex_;
  std::unique_ptr<DeviceQueue> queue_;
};

}  // namespace gptq::cuda
