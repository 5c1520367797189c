// The memory of the process.
#pragma once

namespace gptq {

/// Gives back to the system what has been freed: the C library keeps much of it for itself otherwise.
void release_freed_memory();

}  // namespace gptq
