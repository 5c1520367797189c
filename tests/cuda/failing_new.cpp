#include "failing_new.h"

#include <cstdlib>
#include <new>

namespace gptq::test {

thread_local int allocations_left = -1;

}  // namespace gptq::test

void* operator new(size_t bytes) {
  int& left = gptq::test::allocations_left;
  if (left == 0) throw std::bad_alloc();
  if (left > 0) --left;
  void* const memory = std::malloc(bytes > 0 ? bytes : 1);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  try {
    return operator new(bytes);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
