// operator new that fails when a test says so.
#pragma once

namespace gptq::test {

/// Allocations of this thread until one fails, and all behind it; negative: none does.
extern thread_local int allocations_left;

}  // namespace gptq::test
