// What a test may ask of the libraries here, which stand for NVIDIA's on host memory: each exports gptq_fake_control().
#pragma once

#include <atomic>
#include <climits>
#include <cstddef>
#include <cstdint>

namespace gptq::fake {

struct Control {
  std::atomic<int> refuse_at = 0;       // the first call that is refused, counted from 1; 0: none
  std::atomic<int> refusals = INT_MAX;  // how many are, one after the other
  std::atomic<int> status = 0;          // with this; 0: with one that the function has for it
  std::atomic<int> calls = 0;           // of what makes a handle ready, and of what computes
  std::atomic<int> computations = 0;    // of these, that were done
  std::atomic<int> creations = 0;       // of handles
  std::atomic<int> handles = 0;         // that are there, of all kinds
  std::atomic<int> wrong_argument = 0;  // that a factorization complains of; 0: none

  std::atomic<size_t> device_bytes = 0;  // that a factorization asks for, too

  /// From here on calls are counted anew.
  void restart(int refuse_from = 0, int with = 0, int how_many = INT_MAX) {
    refuse_at = refuse_from;
    status = with;
    refusals = how_many;
    calls = computations = creations = wrong_argument = 0;
    device_bytes = 0;
  }
};
using ControlEntry = Control* (*)();
inline constexpr char kControlEntry[] = "gptq_fake_control";

#define GPTQ_FAKE_EXPORT extern "C" __attribute__((visibility("default")))

/// What the call is refused with; 0: it is to be done.
inline int refusal(Control& control, int usual) {
  const int call = ++control.calls, first = control.refuse_at;
  if (first == 0 || call < first || call - first >= control.refusals) return 0;
  return control.status != 0 ? control.status.load() : usual;
}

/// The stream of a device in host memory: what is not its own, as one that was never set, is refused.
inline void* stream_of_host() { return reinterpret_cast<void*>(uintptr_t{0x5712EA}); }

/// Says when the library's destructors are called: then nothing of it is to be called any more.
struct End {
  bool& has_come;
  ~End() { has_come = true; }
};
inline constexpr int kCalledAfterItsEnd = 99;  // the process ends with that

}  // namespace gptq::fake
