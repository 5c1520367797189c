// libgptq-cuda.so without a GPU: cuda/plugin.cpp with a device in host memory, number 0. GPTQ_TEST_LIBRARIES in the
// environment names the folder of libraries that stand for NVIDIA's; without it the device has none.
#include <cstdlib>

#include "base/error.h"
#include "host_device.h"

namespace gptq::cuda {

void check_device(int number) {
  if (number != 0) throw Error(Status::invalid_argument, "device 'cuda:N' is beyond the last");
}

std::shared_ptr<Device> open_device(int number) {
  static HostDeviceState state;
  check_device(number);
  if (const char* const folder = std::getenv("GPTQ_TEST_LIBRARIES")) {
    const std::string path = folder;
    state.libraries = {.blas = {path + "/libfake_cublas.so"}, .solver = {path + "/libfake_cusolver.so"}};
  }
  return create_host_device(state);
}

}  // namespace gptq::cuda
