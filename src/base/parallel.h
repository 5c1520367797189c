// How work on the host is shared out, for those who don't care who does it.
#pragma once

#include <cstdint>
#include <functional>

namespace gptq {

/// Calls body(begin, end) over [0, count) in chunks of `grain` indices, on whatever threads, and waits.
using ParallelFor = std::function<void(int64_t count, int64_t grain,
                                       const std::function<void(int64_t begin, int64_t end)>& body)>;

/// All on the calling thread.
inline void serially(int64_t count, int64_t, const std::function<void(int64_t begin, int64_t end)>& body) {
  if (count > 0) body(0, count);
}

}  // namespace gptq
