// What a test may ask of the libraries here, which stand for NVIDIA's on host memory: each exports gptq_fake_control().
#pragma once

#include <atomic>
#include <cstddef>

namespace gptq::fake {

struct Control {
  std::atomic<int> refuse_at = 0;       // the call from which on all are refused, counted from 1; 0: none
  std::atomic<int> calls = 0;           // of what makes a handle ready, and of what computes
  std::atomic<int> computations = 0;    // of these, that were done
  std::atomic<int> creations = 0;       // of handles
  std::atomic<int> handles = 0;         // that are there, of all kinds
  std::atomic<int> wrong_argument = 0;  // that a factorization complains of; 0: none

  std::atomic<size_t> device_bytes = 0;  // that a factorization asks for, too

  /// From here on calls are counted anew.
  void restart(int refuse_from = 0) {
    refuse_at = refuse_from;
    calls = computations = creations = wrong_argument = 0;
    device_bytes = 0;
  }
};
using ControlEntry = Control* (*)();
inline constexpr char kControlEntry[] = "gptq_fake_control";

#define GPTQ_FAKE_EXPORT extern "C" __attribute__((visibility("default")))

/// Whether the call is to be done.
inline bool accepts(Control& control) {
  const int call = ++control.calls;
  return control.refuse_at == 0 || call < control.refuse_at;
}

}  // namespace gptq::fake
