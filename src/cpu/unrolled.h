// Loops over registers. Only for the kernel files of instruction sets: see kernels.h.
#pragma once

#include "cpu/kernels.h"

namespace gptq::cpu {
namespace {

template <int kN>
struct Index {
  static constexpr int value = kN;
};

/// body(Index<0>), body(Index<1>), ...: loops over registers that must not remain loops.
template <int kCount, int kFirst = 0, class Body>
[[gnu::always_inline]] inline void unrolled(const Body& body) {
  if constexpr (kFirst < kCount) {
    body(Index<kFirst>{});
    unrolled<kCount, kFirst + 1>(body);
  }
}

}  // namespace
}  // namespace gptq::cpu
