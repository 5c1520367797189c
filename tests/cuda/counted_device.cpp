#include "counted_device.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <vector>

#include "base/error.h"
#include "base/text.h"

namespace gptq::cuda {
namespace {

class CountedQueue final : public DeviceQueue {
 public:
  CountedQueue(HostDeviceState& state, std::unique_ptr<DeviceQueue> queue)
      : state_(state), queue_(std::move(queue)) {}
  const Queue& queue() const override { return queue_->queue(); }
  void upload(void* to, const void* host, size_t bytes) override { queue_->upload(to, host, bytes); }
  void download(void* host, const void* from, size_t bytes) override {
    check();
    queue_->download(host, from, bytes);
    ++state_.downloads;
  }
  void copy(void* to, const void* from, size_t bytes) override { queue_->copy(to, from, bytes); }
  void clear(void* to, size_t bytes) override { queue_->clear(to, bytes); }
  void wait() override {
    check();
    queue_->wait();
  }
  void pace() override {
    queue_->pace();
    state_.at_pace();
  }
  std::unique_ptr<Graph> capture(const CommandList& list) override {
    if (state_.makes_no_graphs) throw Error(Status::device, "this device makes no graphs");
    auto graph = queue_->capture(list);
    ++state_.captures;
    return graph;
  }
  void launch(Graph& graph) override {
    queue_->launch(graph);
    ++state_.graph_launches;
  }
  void enter() override {
    queue_->enter();
    ++state_.turns;
  }
  void leave() noexcept override {
    --state_.turns;
    queue_->leave();
  }

 private:
  void check() const {
    if (state_.has_fault) throw Error(Status::device, "a kernel had a fault");
  }

  HostDeviceState& state_;
  std::unique_ptr<DeviceQueue> queue_;
};

class CountedDevice final : public Device {
 public:
  CountedDevice(HostDeviceState& state, std::shared_ptr<Device> device)
      : state_(state), device_(std::move(device)), cleaner_(device_->create_queue()) {}
  const std::string& description() const override { return device_->description(); }

  size_t free_bytes() override {
    return std::min(state_.limit - std::min(state_.limit.load(), state_.used.load()), device_->free_bytes());
  }
  /// NaN at first.
  void* allocate(size_t bytes) override {
    const std::lock_guard lock(mutex_);
    if (bytes > state_.limit - std::min(state_.limit.load(), state_.used.load()))
      throw Error(Status::out_of_memory, cat("the device has no ", bytes, " bytes more"));
    void* const memory = device_->allocate(bytes);
    const std::vector<std::byte> pattern(std::min(bytes, kPattern), std::byte{0xFF});
    for (size_t at = 0; at < bytes; at += kPattern)
      cleaner_->upload(static_cast<std::byte*>(memory) + at, pattern.data(), std::min(kPattern, bytes - at));
    cleaner_->wait();
    sizes_[memory] = bytes;
    state_.used += bytes;
    ++state_.allocations;
    return memory;
  }
  void free(void* memory) noexcept override {
    const std::lock_guard lock(mutex_);
    state_.used -= sizes_[memory];
    sizes_.erase(memory);
    device_->free(memory);
  }
  std::unique_ptr<DeviceQueue> create_queue() override {
    return std::make_unique<CountedQueue>(state_, device_->create_queue());
  }
  LibraryNames libraries() const override { return state_.libraries; }

 private:
  static constexpr size_t kPattern = size_t{1} << 20;
  HostDeviceState& state_;
  std::shared_ptr<Device> device_;
  std::unique_ptr<DeviceQueue> cleaner_;
  std::mutex mutex_;
  std::map<void*, size_t> sizes_;
};

}  // namespace

std::shared_ptr<Device> create_counted_device(HostDeviceState& state, std::shared_ptr<Device> device) {
  return std::make_shared<CountedDevice>(state, std::move(device));
}

}  // namespace gptq::cuda
