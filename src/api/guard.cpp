#include "api/guard.h"

#include <cstring>

#include "base/caught.h"
#include "base/text.h"

namespace gptq::api {
namespace {

// Plain storage: a thread_local with a destructor would pin the library after dlclose.
constexpr size_t kMessageBytes = 2048;
thread_local gptq_status last_code = GPTQ_OK;
thread_local char last_message[kMessageBytes];

}  // namespace

gptq_status fail(gptq_status status, const char* message) noexcept {
  size_t size = strnlen(message, kMessageBytes);
  if (size == kMessageBytes) {  // cut before a UTF-8 sequence, not inside
    --size;
    while (size > 0 && (static_cast<unsigned char>(message[size]) & 0xC0) == 0x80) --size;
  }
  std::memmove(last_message, message, size);
  last_message[size] = 0;
  last_code = status;
  return status;
}

gptq_status fail_from_exception() noexcept {
  return with_caught(
      [](Status status, const char* message) { return fail(static_cast<gptq_status>(status), message); });
}

void require(const void* argument, const char* name) {
  if (argument == nullptr) throw Error(Status::invalid_argument, cat("argument '", name, "' is NULL"));
}

std::string_view text_argument(const char* text, int64_t len, const char* name) {
  if (text == nullptr && len == 0) return {};
  require(text, name);
  return len < 0 ? std::string_view(text) : std::string_view(text, static_cast<size_t>(len));
}

std::span<const int32_t> ids_argument(const int32_t* ids, int64_t count) {
  if (count != 0) require(ids, "ids");
  if (count < 0) throw Error(Status::invalid_argument, cat("count is ", count));
  return {ids, static_cast<size_t>(count)};
}

}  // namespace gptq::api

using namespace gptq;

static_assert(GPTQ_ERROR_CANCELLED == static_cast<int>(Status::cancelled));
static_assert(GPTQ_ERROR_INVALID_ARGUMENT == static_cast<int>(Status::invalid_argument));
static_assert(GPTQ_ERROR_NOT_FOUND == static_cast<int>(Status::not_found));
static_assert(GPTQ_ERROR_IO == static_cast<int>(Status::io));
static_assert(GPTQ_ERROR_CORRUPT == static_cast<int>(Status::corrupt));
static_assert(GPTQ_ERROR_UNSUPPORTED == static_cast<int>(Status::unsupported));
static_assert(GPTQ_ERROR_OUT_OF_MEMORY == static_cast<int>(Status::out_of_memory));
static_assert(GPTQ_ERROR_DEVICE == static_cast<int>(Status::device));
static_assert(GPTQ_ERROR_CONTEXT_FULL == static_cast<int>(Status::context_full));
static_assert(GPTQ_ERROR_BUSY == static_cast<int>(Status::busy));
static_assert(GPTQ_ERROR_BAD_STATE == static_cast<int>(Status::bad_state));
static_assert(GPTQ_ERROR_CALLBACK == static_cast<int>(Status::callback));
static_assert(GPTQ_ERROR_INTERNAL == static_cast<int>(Status::internal));

gptq_status gptq_last_error_code(void) { return api::last_code; }
const char* gptq_last_error_message(void) { return api::last_message; }
void gptq_clear_error(void) {
  api::last_code = GPTQ_OK;
  api::last_message[0] = 0;
}
