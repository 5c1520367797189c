// What tests/cuda asks of the machine that kernels run on, where that is a GPU: it has its own order of threads, and counts
// nothing (tests/cuda/shim/machine.h).
#pragma once

#include <cstdint>

namespace gptq::shim {

inline constexpr bool kCounts = false;

struct Behaviour {
  uint64_t seed = 1;
};
inline void behave(const Behaviour&) {}

struct Counts {
  uint64_t accesses = 0, conflicts = 0, multiplies = 0, launches = 0;
};
inline Counts counts() { return {}; }
inline void reset_counts() {}

}  // namespace gptq::shim
