// Where C++ ends: exceptions become a status and the thread's last message.
#pragma once

#include <cstddef>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/error.h"
#include "gptq.h"

namespace gptq::api {

/// Remembers the failure for gptq_last_error_code() and gptq_last_error_message() of this thread.
gptq_status fail(gptq_status status, const char* message) noexcept;

/// To be called inside a catch (...): which status the exception stands for, remembered as by fail().
gptq_status fail_from_exception() noexcept;

/// Runs `body`, which returns a gptq_status or nothing.
template <class Body>
gptq_status guard(Body&& body) noexcept {
  try {
    if constexpr (std::is_void_v<decltype(body())>) {
      body();
      return GPTQ_OK;
    } else {
      return body();
    }
  } catch (...) {
    return fail_from_exception();
  }
}

/// Throws Status::invalid_argument naming the argument when it is null.
void require(const void* argument, const char* name);

/// Pointer and length, or NUL-terminated when `len` is negative.
std::string_view text_argument(const char* text, int64_t len, const char* name);

/// Pointer and count of token ids; null is allowed for none.
std::span<const int32_t> ids_argument(const int32_t* ids, int64_t count);

}  // namespace gptq::api
