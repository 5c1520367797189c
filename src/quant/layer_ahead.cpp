#include "quant/layer_ahead.h"

#include <unistd.h>

#include <chrono>
#include <new>
#include <system_error>
#include <utility>

#include "base/caught.h"
#include "base/error.h"
#include "base/signals_blocked.h"

namespace gptq {

void LayerAhead::begin(int64_t index, Load load) {
  drop();
  const SignalsBlocked blocked;
  try {
    auto coming = std::make_unique<Coming>();
    coming->index = index;
    coming->layer = std::async(std::launch::async, [load = std::move(load), &stop = coming->stop] {
      return load([&] {
        if (stop) throw Error(Status::cancelled, "nobody waits for it");
      });
    });
    coming_ = std::move(coming);
    process_ = getpid();
  } catch (const std::system_error&) {  // no thread to be had
  } catch (const std::bad_alloc&) {
  }
}

void LayerAhead::drop() noexcept {
  if (!coming_) return;
  if (getpid() != process_) return static_cast<void>(coming_.release());
  coming_->stop = true;
  coming_.reset();
}

LoadedLayer LayerAhead::take(int64_t index, const Load& load, const Check& check) {
  constexpr std::chrono::milliseconds kBetweenChecks(20);
  if (!coming_ || coming_->index != index || getpid() != process_) {
    drop();
    return load(check);
  }
  while (coming_->layer.wait_for(kBetweenChecks) != std::future_status::ready) check();
  const std::unique_ptr<Coming> coming = std::move(coming_);
  try {
    return coming->layer.get();
  } catch (...) {
    if (caught_status() != Status::out_of_memory) throw;
  }
  return load(check);
}

}  // namespace gptq
