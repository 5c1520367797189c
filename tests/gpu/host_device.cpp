// The first GPU, in the place of the device in host memory that tests/cuda has elsewhere.
#include "host_device.h"

#include "counted_device.h"

namespace gptq::cuda {

std::shared_ptr<Device> create_host_device(HostDeviceState& state) {
  return create_counted_device(state, open_device(0));
}

}  // namespace gptq::cuda
