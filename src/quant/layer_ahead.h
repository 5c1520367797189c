// The weights of the next layer, which come while one is quantized.
#pragma once

#include <cstdint>
#include <functional>
#include <future>
#include <string>

#include "model/weights.h"

namespace gptq {

struct LoadedLayer {
  Layer weights;
  std::string hash;  // of what they were made from; empty: not wanted
};

class LayerAhead {
 public:
  using Load = std::function<LoadedLayer()>;

  LayerAhead() = default;
  LayerAhead(const LayerAhead&) = delete;
  LayerAhead& operator=(const LayerAhead&) = delete;
  ~LayerAhead() { drop(); }

  /// Begins on a thread of its own, with all signals blocked. Where there can be none, nothing begins.
  void begin(int64_t index, Load load);
  /// What begin() was given for it has loaded, or, where that was another one or there was no room for it at the time, what
  /// `load` loads now. Throws what the loading threw.
  LoadedLayer take(int64_t index, const Load& load);
  /// Waits for what is on its way, and forgets it.
  void drop() noexcept { coming_ = {}; }

 private:
  std::future<LoadedLayer> coming_;  // waits when it goes
  int64_t index_ = 0;
};

}  // namespace gptq
