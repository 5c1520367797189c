// The weights of the next layer, which come while one is quantized.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <string>

#include "model/weights.h"

namespace gptq {

struct LoadedLayer {
  Layer weights;
  std::string hash;  // of what they were made from; empty: not wanted
};

class LayerAhead {
 public:
  using Check = std::function<void()>;                    // throws where there is to be no more
  using Load = std::function<LoadedLayer(const Check&)>;  // asks it now and then

  LayerAhead() = default;
  LayerAhead(const LayerAhead&) = delete;
  LayerAhead& operator=(const LayerAhead&) = delete;
  ~LayerAhead() { drop(); }

  /// Begins on a thread of its own, with all signals blocked. Where there can be none, nothing begins.
  void begin(int64_t index, Load load);
  /// What begin() was given for it has loaded, or, where that was another one or there was no room for it at the time, what
  /// `load` loads now. Throws what the loading threw, or what `check` throws, which is asked while there is something to wait
  /// for.
  LoadedLayer take(int64_t index, const Load& load, const Check& check);
  /// Ends what is on its way, and forgets it. A child made by fork() has the object without its thread, and leaves it alone.
  void drop() noexcept;

 private:
  struct Coming {
    int64_t index = 0;
    std::atomic<bool> stop{false};
    std::future<LoadedLayer> layer{};  // waits when it goes
  };
  std::unique_ptr<Coming> coming_;
  pid_t process_ = 0;  // that began it
};

}  // namespace gptq
