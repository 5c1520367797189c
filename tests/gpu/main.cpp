// The tests of tests/cuda on a GPU. Exit code 77 where there is none that can be used, with the reason.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "base/error.h"
#include "cuda/runtime.h"
#include "memory.h"

namespace {
constexpr int kNoDevice = 77;
}

int main(int argc, char** argv) {
  // kernels are done when their launchers return, as on the machine that the tests are written for; but see run.sh
  setenv("CUDA_LAUNCH_BLOCKING", "1", 0);
  try {
    gptq::cuda::check_device(0);
    std::printf("on %s\n", gptq::cuda::open_device(0)->description().c_str());
  } catch (const gptq::Error& error) {
    std::fprintf(stderr, "no GPU to test on: %s\n", error.what());
    return kNoDevice;
  }
  int managed = 0;
  cudaDeviceGetAttribute(&managed, cudaDevAttrConcurrentManagedAccess, 0);
  const char* const fault =
      managed == 0 ? "its memory can't be shared with a running kernel" : gptq::test::share_memory();
  if (fault != nullptr) {
    std::fprintf(stderr, "this GPU can't run the tests: %s\n", fault);
    return kNoDevice;
  }
  testing::InitGoogleTest(&argc, argv);
  const int failed = RUN_ALL_TESTS();
  std::fflush(nullptr);
  std::_Exit(failed);  // what static objects free is not to meet a runtime that is gone
}
