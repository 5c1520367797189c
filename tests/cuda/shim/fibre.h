// Flows of control that change place with each other on one thread: what a CUDA thread is in the tests.
#pragma once

#include <cstddef>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace gptq::shim {

/// A stack, and where its flow goes on. One that was not prepared is the thread's own.
class Fibre {
 public:
  /// The next switch to it calls entry(argument), which never returns; what ran on the stack before is forgotten.
  void prepare(std::byte* stack, size_t bytes, void (*entry)(void*), void* argument);
  /// Leaves `this`, which is the flow that runs, and goes on with `to`.
  void switch_to(Fibre& to);

 private:
  static void begin(Fibre* self);

  std::byte* stack_ = nullptr;  // AddressSanitizer wants to know
  size_t bytes_ = 0;
  void (*entry_)(void*) = nullptr;
  void* argument_ = nullptr;
#if defined(__x86_64__)
  void* pointer_ = nullptr;  // the stack's
#else
  ucontext_t context_;
#endif
  [[maybe_unused]] void* shadow_ = nullptr;  // AddressSanitizer's
};

}  // namespace gptq::shim
