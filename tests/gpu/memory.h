// Memory of std::vector that kernels may have.
#pragma once

#include <cstddef>

namespace gptq::test {

/// From now on operator new gives memory that the GPU sees, too. Null, or what keeps it from that.
const char* share_memory();
/// The most that was in use of it.
size_t shared_bytes();

}  // namespace gptq::test
