// The libraries of tests/cuda/fake: for a test of what they are asked.
#pragma once

#include <dlfcn.h>

#include <stdexcept>
#include <string>

#include "fake/control.h"

namespace gptq::fake {

inline const std::string kBlas = GPTQ_FAKE_LIBRARIES "/libfake_cublas.so",
                         kSolver = GPTQ_FAKE_LIBRARIES "/libfake_cusolver.so";

/// Of a library at `path`, which stays open.
inline Control& control_of(const std::string& path) {
  void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw std::runtime_error(dlerror());
  return *reinterpret_cast<ControlEntry>(dlsym(library, kControlEntry))();
}

}  // namespace gptq::fake
