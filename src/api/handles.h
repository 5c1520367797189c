// What the opaque types of gptq.h are.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "api/guard.h"
#include "gptq.h"
#include "quant/job.h"
#include "session/model.h"
#include "session/session.h"

namespace gptq::api {

/// Lets one thread at a time into a handle: Status::busy for a second one.
class Entry {
 public:
  explicit Entry(std::atomic<bool>& inside) : inside_(inside) {
    if (inside_.exchange(true, std::memory_order_acquire)) {
      throw Error(Status::busy, "another thread is inside this handle");
    }
  }
  Entry(const Entry&) = delete;
  Entry& operator=(const Entry&) = delete;
  ~Entry() { inside_.store(false, std::memory_order_release); }

 private:
  std::atomic<bool>& inside_;
};

/// The status counts: without memory for its text, that stays empty.
inline void keep_message(std::string& error) noexcept {
  try {
    error = gptq_last_error_message();
  } catch (const std::bad_alloc&) {
  }
}

/// Runs `body` as guard() does, for who is inside the handle, and keeps a failure's text with it.
template <class Handle, class Body>
gptq_status run_inside(Handle& handle, Body&& body) noexcept {
  handle.error.clear();
  const gptq_status status = guard(body);
  if (status < 0) keep_message(handle.error);
  return status;
}

/// run_inside(), alone.
template <class Handle, class Body>
gptq_status enter(Handle* handle, const char* name, Body&& body) noexcept {
  return guard([&]() -> gptq_status {
    require(handle, name);
    const Entry entry(handle->inside);
    return run_inside(*handle, body);
  });
}

}  // namespace gptq::api

struct gptq_model {
  std::atomic<int64_t> holders{1};
  std::shared_ptr<const gptq::Model> model;
  std::string path, device, layer_split, family, quantization;  // texts that gptq_model_get_string() lends
};

struct gptq_session {
  gptq_session(std::shared_ptr<const gptq::Model> model, int64_t context_length, gptq::KvElements elements)
      : session(std::move(model), context_length, elements) {}

  gptq::Session session;
  std::atomic<bool> inside{false};
  std::string error;
};

struct gptq_quantizer {
  std::unique_ptr<gptq::Job> job;
  std::atomic<bool> inside{false};
  std::string error;
};
