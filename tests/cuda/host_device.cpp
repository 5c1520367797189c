#include "host_device.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include "counted_device.h"
#include "fake/control.h"

namespace gptq::cuda {
namespace {

constexpr size_t kAlignment = 256;  // as runtime.h has it

/// What a list said when it was captured.
struct HostGraph final : Graph {
  explicit HostGraph(CommandList captured) : list(std::move(captured)) {}
  CommandList list;
};

class HostQueue final : public DeviceQueue {
 public:
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
  std::unique_ptr<Graph> capture(const CommandList& list) override {
    return std::make_unique<HostGraph>(list);
  }
  void launch(Graph& graph) override { static_cast<HostGraph&>(graph).list.run(*this); }
  void enter() override {}
  void leave() noexcept override {}

 private:
  Queue queue_{.stream = fake::stream_of_host(), .processors = 3};
};

class HostDevice final : public Device {
 public:
  const std::string& description() const override { return description_; }
  size_t free_bytes() override { return SIZE_MAX; }
  void* allocate(size_t bytes) override {
    void* memory = nullptr;  // ASan sees what goes beyond it
    if (posix_memalign(&memory, kAlignment, bytes > 0 ? bytes : 1) != 0) throw std::bad_alloc();
    return memory;
  }
  void free(void* memory) noexcept override { std::free(memory); }
  std::unique_ptr<DeviceQueue> create_queue() override { return std::make_unique<HostQueue>(); }

 private:
  std::string description_ = "host memory";
};

}  // namespace

std::shared_ptr<Device> create_host_device(HostDeviceState& state) {
  return create_counted_device(state, std::make_shared<HostDevice>());
}

}  // namespace gptq::cuda
