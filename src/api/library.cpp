#include <string_view>

#include "api/guard.h"
#include "backend/backend.h"
#include "base/log.h"
#include "base/text.h"

using namespace gptq;

int32_t gptq_version(void) {
  return GPTQ_VERSION_MAJOR * 1000000 + GPTQ_VERSION_MINOR * 1000 + GPTQ_VERSION_PATCH;
}

const char* gptq_version_string(void) { return GPTQ_VERSION_TEXT; }

int32_t gptq_has_feature(const char* name) {
  if (name == nullptr) return 0;
  const std::string_view feature = name;
  if (feature != "cuda") return feature == "cpu" || feature == "quantize" ? 1 : 0;
  try {
    check_device(feature);
    return 1;
  } catch (...) {  // gptq_device_check() tells what it is
    return 0;
  }
}

gptq_status gptq_device_check(const char* device) {
  return api::guard([&] {
    api::require(device, "device");
    check_device(device);
  });
}

const char* gptq_build_info(void) {
  static char text[256];
  try {
    static const size_t size = cat("libgptq " GPTQ_VERSION_TEXT ", compiler " __VERSION__ ", ",
                                   create_cpu_backend({.threads = 1})->description())
                                   .copy(text, sizeof text - 1);
    static_cast<void>(size);
    return text;
  } catch (...) {  // the next call tries again
    return "libgptq " GPTQ_VERSION_TEXT ", compiler " __VERSION__;
  }
}

const char* gptq_status_name(gptq_status status) {
  switch (status) {
    case GPTQ_OK: return "GPTQ_OK";
    case GPTQ_DONE: return "GPTQ_DONE";
    case GPTQ_ERROR_CANCELLED: return "GPTQ_ERROR_CANCELLED";
    case GPTQ_ERROR_INVALID_ARGUMENT: return "GPTQ_ERROR_INVALID_ARGUMENT";
    case GPTQ_ERROR_NOT_FOUND: return "GPTQ_ERROR_NOT_FOUND";
    case GPTQ_ERROR_IO: return "GPTQ_ERROR_IO";
    case GPTQ_ERROR_CORRUPT: return "GPTQ_ERROR_CORRUPT";
    case GPTQ_ERROR_UNSUPPORTED: return "GPTQ_ERROR_UNSUPPORTED";
    case GPTQ_ERROR_OUT_OF_MEMORY: return "GPTQ_ERROR_OUT_OF_MEMORY";
    case GPTQ_ERROR_DEVICE: return "GPTQ_ERROR_DEVICE";
    case GPTQ_ERROR_CONTEXT_FULL: return "GPTQ_ERROR_CONTEXT_FULL";
    case GPTQ_ERROR_BUSY: return "GPTQ_ERROR_BUSY";
    case GPTQ_ERROR_BAD_STATE: return "GPTQ_ERROR_BAD_STATE";
    case GPTQ_ERROR_CALLBACK: return "GPTQ_ERROR_CALLBACK";
    case GPTQ_ERROR_INTERNAL: return "GPTQ_ERROR_INTERNAL";
    default: return status < 0 ? "GPTQ_ERROR_(unknown)" : "GPTQ_(unknown)";
  }
}

void gptq_set_log_callback(gptq_log_fn callback, void* user_data) { set_log_sink(callback, user_data); }

void gptq_set_log_level(int32_t level) {
  set_log_level(static_cast<LogLevel>(level < 1 ? 1 : level > 4 ? 4 : level));
}
