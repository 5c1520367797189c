// A device in host memory, for the backend's code without a GPU: kernels are run by the shim as they are launched.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>

#include "cuda/runtime.h"

namespace gptq::cuda {

/// What a test may ask of it.
struct HostDeviceState {
  std::atomic<size_t> limit = SIZE_MAX;  // bytes that it has
  std::atomic<size_t> used = 0;
  std::atomic<int> allocations = 0;
  std::atomic<int> turns = 0;  // threads between enter() and leave()
  std::atomic<int> captures = 0, graph_launches = 0, downloads = 0;
  std::atomic<bool> makes_no_graphs = false;  // as with an old driver
  std::atomic<bool> has_fault = false;        // of a kernel: found where a queue is waited for
  std::function<void()> at_pace = [] {};      // what happens where an op of many launches looks about
  LibraryNames libraries;                     // none, unless a test wants some
};

/// Memory is NaN at first. `state` outlives the device.
std::shared_ptr<Device> create_host_device(HostDeviceState& state);

}  // namespace gptq::cuda
