// Libraries for a test that may use any: NVIDIA's (tests/cuda has another file of this name).
#pragma once

#include "cuda/runtime.h"

namespace gptq::test {

inline cuda::LibraryNames some_libraries() { return cuda::nvidia_libraries(); }

}  // namespace gptq::test
