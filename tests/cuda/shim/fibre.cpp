// A switch saves what a function call must keep: six registers on the stack, where x86-64 is; ucontext elsewhere, which
// takes twenty times as long.
#include "fibre.h"

#include <pthread.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

#if defined(__SANITIZE_ADDRESS__)
#define GPTQ_SHIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GPTQ_SHIM_ASAN 1
#endif
#endif
#ifdef GPTQ_SHIM_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__)
/// The stack pointer goes to *from, and becomes `to`.
extern "C" void gptq_shim_switch(void** from, void* to);
extern "C" void gptq_shim_begin();
asm(R"(
.text
.p2align 4
.type gptq_shim_switch, @function
gptq_shim_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size gptq_shim_switch, .-gptq_shim_switch
.p2align 4
.type gptq_shim_begin, @function
gptq_shim_begin:
  movq %r12, %rdi
  callq *%r13
  ud2
.size gptq_shim_begin, .-gptq_shim_begin
)");
#endif

namespace gptq::shim {

void Fibre::begin(Fibre* self) {
#ifdef GPTQ_SHIM_ASAN
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
  self->entry_(self->argument_);
  std::abort();
}

void Fibre::prepare(std::byte* stack, size_t bytes, void (*entry)(void*), void* argument) {
  stack_ = stack;
  bytes_ = bytes;
  entry_ = entry;
  argument_ = argument;
#ifdef GPTQ_SHIM_ASAN
  __asan_unpoison_memory_region(stack, bytes);
  shadow_ = nullptr;
#endif
#if defined(__x86_64__)
  // what gptq_shim_switch pops, r15 first, and where it returns to, with the stack at a multiple of 16 then
  uint64_t* const top = reinterpret_cast<uint64_t*>(stack + bytes) - 9;
  std::memset(top, 0, 9 * sizeof *top);
  top[2] = reinterpret_cast<uint64_t>(&begin);  // r13
  top[3] = reinterpret_cast<uint64_t>(this);    // r12
  top[6] = reinterpret_cast<uint64_t>(&gptq_shim_begin);
  pointer_ = top;
#else
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack;
  context_.uc_stack.ss_size = bytes;
  context_.uc_link = nullptr;
  const auto self = reinterpret_cast<uintptr_t>(this);  // in two halves, since arguments are ints
  const auto start = +[](unsigned low, unsigned high) {
    begin(reinterpret_cast<Fibre*>(static_cast<uintptr_t>(low) | static_cast<uintptr_t>(high) << 16 << 16));
  };
  makecontext(&context_, reinterpret_cast<void (*)()>(start), 2, static_cast<unsigned>(self),
              static_cast<unsigned>(self >> 16 >> 16));
#endif
}

void Fibre::switch_to(Fibre& to) {
#ifdef GPTQ_SHIM_ASAN
  if (stack_ == nullptr) {
    pthread_attr_t attributes;
    void* start = nullptr;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &start, &bytes_);
    pthread_attr_destroy(&attributes);
    stack_ = static_cast<std::byte*>(start);
  }
  __sanitizer_start_switch_fiber(&shadow_, to.stack_, to.bytes_);
#endif
#if defined(__x86_64__)
  gptq_shim_switch(&pointer_, to.pointer_);
#else
  swapcontext(&context_, &to.context_);
#endif
#ifdef GPTQ_SHIM_ASAN
  __sanitizer_finish_switch_fiber(shadow_, nullptr, nullptr);
#endif
}

}  // namespace gptq::shim
