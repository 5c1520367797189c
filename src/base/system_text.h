// What the operating system says about an errno, in English whatever the host's locale.
#pragma once

#include <cstring>
#include <string>

#include "base/text.h"

namespace gptq {

inline std::string system_text(int error) {
#if defined(__GLIBC__)
  const char* description = strerrordesc_np(error);
  if (description != nullptr) return description;
#endif
  return cat("system error ", error);
}

}  // namespace gptq
