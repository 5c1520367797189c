// libgptq-cuda.so without a GPU: cuda/plugin.cpp with a device in host memory, number 0.
#include "base/error.h"
#include "host_device.h"

namespace gptq::cuda {

void check_device(int number) {
  if (number != 0) throw Error(Status::invalid_argument, "device 'cuda:N' is beyond the last");
}

std::shared_ptr<Device> open_device(int number) {
  static HostDeviceState state;
  check_device(number);
  return create_host_device(state);
}

}  // namespace gptq::cuda
