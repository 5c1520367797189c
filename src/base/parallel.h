// How work on the host is shared out, for those who don't care who does it.
#pragma once

#include <cstdint>
#include <functional>

namespace gptq {

/// Calls body(begin, end) over [0, count) in chunks of at most `grain` > 0 indices, on whatever threads, and waits. What a body
/// throws comes out; one may use another ParallelFor.
using ParallelFor = std::function<void(int64_t count, int64_t grain,
                                       const std::function<void(int64_t begin, int64_t end)>& body)>;

/// All on the calling thread.
inline void serially(int64_t count, int64_t grain,
                     const std::function<void(int64_t begin, int64_t end)>& body) {
  for (int64_t i = 0; i < count; i += grain) body(i, count - i < grain ? count : i + grain);
}

}  // namespace gptq
