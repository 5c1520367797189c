// Libraries for a test that may use any: those of tests/cuda/fake, as there is no GPU (tests/gpu has another of this name).
#pragma once

#include "cuda/runtime.h"
#include "fake_libraries.h"

namespace gptq::test {

inline constexpr bool kLibrariesAreHere = true;  // they are built with the tests
inline cuda::LibraryNames some_libraries() { return {.blas = {fake::kBlas}, .solver = {fake::kSolver}}; }

}  // namespace gptq::test
