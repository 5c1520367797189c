#include "host_device.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "base/error.h"
#include "base/text.h"

namespace gptq::cuda {
namespace {

class HostQueue final : public DeviceQueue {
 public:
  explicit HostQueue(HostDeviceState& state) : state_(state) {}
  const Queue& queue() const override { return queue_; }
  void upload(void* to, const void* host, size_t bytes) override { copy(to, host, bytes); }
  void download(void* host, const void* from, size_t bytes) override { copy(host, from, bytes); }
  void copy(void* to, const void* from, size_t bytes) override {
    if (bytes > 0) std::memcpy(to, from, bytes);
  }
  void clear(void* to, size_t bytes) override {
    if (bytes > 0) std::memset(to, 0, bytes);
  }
  void wait() override {}
  void pace() override {}
  void enter() override { ++state_.turns; }
  void leave() noexcept override { --state_.turns; }

 private:
  HostDeviceState& state_;
  Queue queue_{.stream = nullptr, .processors = 3};
};

class HostDevice final : public Device {
 public:
  explicit HostDevice(HostDeviceState& state) : state_(state) {}
  const std::string& description() const override { return description_; }

  void* allocate(size_t bytes) override {
    const std::lock_guard lock(mutex_);
    if (bytes > state_.limit - std::min(state_.limit.load(), state_.used.load()))
      throw Error(Status::out_of_memory, cat("the device has no ", bytes, " bytes more"));
    void* const memory = std::malloc(bytes);  // ASan sees what goes beyond it
    if (memory == nullptr) throw std::bad_alloc();
    std::memset(memory, 0xFF, bytes);
    sizes_[memory] = bytes;
    state_.used += bytes;
    return memory;
  }
  void free(void* memory) noexcept override {
    const std::lock_guard lock(mutex_);
    state_.used -= sizes_[memory];
    sizes_.erase(memory);
    std::free(memory);
  }
  std::unique_ptr<DeviceQueue> create_queue() override { return std::make_unique<HostQueue>(state_); }

 private:
  HostDeviceState& state_;
  std::string description_ = "host memory";
  std::mutex mutex_;
  std::map<void*, size_t> sizes_;
};

}  // namespace

std::shared_ptr<Device> create_host_device(HostDeviceState& state) {
  return std::make_shared<HostDevice>(state);
}

}  // namespace gptq::cuda
