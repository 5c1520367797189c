// A device that has as much memory as a test says, over one that has it.
#pragma once

#include <memory>

#include "cuda/runtime.h"
#include "host_device.h"

namespace gptq::cuda {

/// `state` outlives it.
std::shared_ptr<Device> create_counted_device(HostDeviceState& state, std::shared_ptr<Device> device);

}  // namespace gptq::cuda
