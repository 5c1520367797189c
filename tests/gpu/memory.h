// Memory of std::vector that kernels may have.
#pragma once

namespace gptq::test {

/// From now on operator new gives memory that the GPU sees, too. Null, or what keeps it from that.
const char* share_memory();

}  // namespace gptq::test
