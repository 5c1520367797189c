// How many positions the states of a sequence have seen, and where truncate() can take them: what is the same in the caches
// of all backends (KvCache), whatever memory the states are in.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "backend/backend.h"

namespace gptq {

class StatePositions {
 public:
  /// Whether there are states: after begin().
  bool begun() const { return !seen_.empty(); }
  /// Of layers whose states have seen nothing.
  void begin(std::span<const CacheLayer> layers) {
    std::vector<int64_t> seen;
    seen.reserve(layers.size());
    for (const CacheLayer& layer : layers) seen.push_back(layer.state > 0 ? 0 : kStateless);
    seen_ = std::move(seen);
    mark_ = 0;
  }

  /// What the state of a layer has seen, which is for the op to count; -1 while that is nothing whole.
  int64_t& of(int64_t layer) { return seen_[static_cast<size_t>(layer)]; }

  /// Whether KvCache::mark() has something to copy; then mark() says that it is copied.
  bool wants_mark() const {
    const int64_t seen = of_all();
    return seen > 0 && seen != mark_;
  }
  void mark() { mark_ = of_all(); }

  /// What truncate() is to do with the states: nothing, to make them those of the mark, or to give them up.
  enum class Truncate : uint8_t { nothing, to_mark, all };
  Truncate truncate(int64_t length) const {
    const int64_t seen = of_all();
    if (!begun() || (seen >= 0 && seen <= length && length > 0)) return Truncate::nothing;
    return mark_ == 0 || mark_ > length ? Truncate::all : Truncate::to_mark;
  }
  /// They are those of the mark again. Returns the positions of that.
  int64_t go_back() {
    for (int64_t& seen : seen_) {
      if (seen != kStateless) seen = mark_;
    }
    return mark_;
  }

 private:
  static constexpr int64_t kStateless = INT64_MIN;

  /// Positions that all states have seen; -1 where they differ, as behind an op that was given up.
  int64_t of_all() const {
    int64_t all = -1;
    for (const int64_t seen : seen_) {
      if (seen == kStateless) continue;
      if (seen < 0 || (all >= 0 && all != seen)) return -1;
      all = seen;
    }
    return all;
  }

  std::vector<int64_t> seen_;  // [layer]
  int64_t mark_ = 0;           // positions that the copy has; 0: there is none
};

}  // namespace gptq
