// Libraries for a test that may use any: NVIDIA's (tests/cuda has another file of this name).
#pragma once

#include "cuda/runtime.h"

namespace gptq::test {

inline constexpr bool kLibrariesAreHere = false;  // where they are not installed there is nothing to test
inline cuda::LibraryNames some_libraries() { return cuda::nvidia_libraries(); }

}  // namespace gptq::test
