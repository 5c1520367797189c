// Which of many allocations are made to fail, one at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

namespace gptq::test {

inline bool try_all() {
  const char* value = std::getenv("GPTQ_FAULTS");
  return value != nullptr && std::string_view(value) == "all";
}

/// 1 .. calls: all of the first, then with growing steps.
inline std::vector<int64_t> places(int64_t calls, int64_t most) {
  std::vector<int64_t> chosen;
  const int64_t first = try_all() ? calls : std::min(calls, most / 2);
  for (int64_t n = 1; n <= first; ++n) chosen.push_back(n);
  const int64_t step = std::max<int64_t>(1, (calls - first) / (most / 2));
  for (int64_t n = first + step; n <= calls; n += step) chosen.push_back(n);
  return chosen;
}

}  // namespace gptq::test
