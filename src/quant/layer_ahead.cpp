#include "quant/layer_ahead.h"

#include <new>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/signals_blocked.h"

namespace gptq {

void LayerAhead::begin(int64_t index, Load load) {
  drop();
  const SignalsBlocked blocked;
  try {
    coming_ = std::async(std::launch::async, std::move(load));
    index_ = index;
  } catch (const std::system_error&) {  // no thread to be had
  } catch (const std::bad_alloc&) {
  }
}

LoadedLayer LayerAhead::take(int64_t index, const Load& load) {
  if (!coming_.valid() || index != index_) {
    drop();
    return load();
  }
  try {
    return coming_.get();
  } catch (const std::bad_alloc&) {
  } catch (const Error& error) {
    if (error.status() != Status::out_of_memory) throw;
  }
  return load();
}

}  // namespace gptq
