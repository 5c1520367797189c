// libgptq-cuda.so without a GPU: cuda/plugin.cpp with devices in host memory, numbers 0 and 1. GPTQ_TEST_LIBRARIES in the
// environment names the folder of libraries that stand for NVIDIA's; without it the devices have none.
#include <cstdlib>

#include "backend/plugin.h"
#include "base/error.h"
#include "host_device.h"

namespace gptq::cuda {
namespace {

constexpr int kDevices = 2;
HostDeviceState states[kDevices];

}  // namespace

void check_device(int number) {
  if (number >= kDevices) throw Error(Status::invalid_argument, "device 'cuda:N' is beyond the last");
}

std::shared_ptr<Device> open_device(int number) {
  check_device(number);
  if (const char* const folder = std::getenv("GPTQ_TEST_LIBRARIES")) {
    const std::string path = folder;
    states[number].libraries = {.blas = {path + "/libfake_cublas.so"},
                                .solver = {path + "/libfake_cusolver.so"}};
  }
  return create_host_device(states[number]);
}

}  // namespace gptq::cuda

/// For tests: bytes that device `number` has, from now on; returns those that it has in use.
extern "C" GPTQ_PLUGIN_EXPORT size_t gptq_shim_limit(int number, size_t bytes) {
  gptq::cuda::HostDeviceState& state = gptq::cuda::states[number];
  state.limit = bytes;
  return state.used;
}
