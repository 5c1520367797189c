// The tests of tests/cuda on a GPU. Exit code 77 where there is none that can be used, 3 where these tests can't use it, with
// the reason.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "base/error.h"
#include "cuda/runtime.h"
#include "memory.h"

namespace {
constexpr int kNoDevice = 77, kNoMemory = 3;
}

int main(int argc, char** argv) {
  // kernels are done when their launchers return, as on the machine that the tests are written for; but see run.sh
  setenv("CUDA_LAUNCH_BLOCKING", "1", 0);
  try {
    gptq::cuda::check_device(0);
    std::printf("on %s\n", gptq::cuda::open_device(0)->description().c_str());
    std::fflush(stdout);
  } catch (const gptq::Error& error) {
    std::fprintf(stderr, "no GPU to test on: %s\n", error.what());
    return kNoDevice;
  }
  if (const char* const fault = gptq::test::share_memory()) {
    std::fprintf(stderr, "this GPU can't run the tests: no pinned memory: %s\n", fault);
    return kNoMemory;
  }
  testing::InitGoogleTest(&argc, argv);
  const int failed = RUN_ALL_TESTS();
  std::printf("%zu MB of pinned memory\n", gptq::test::shared_bytes() >> 20);
  std::fflush(nullptr);
  std::_Exit(failed);  // what static objects free is not to meet a runtime that is gone
}
