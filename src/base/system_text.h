// Calls of the operating system: repeated when a signal broke in, and described in English whatever the host's locale.
#pragma once

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>

#include "base/error.h"
#include "base/text.h"

namespace gptq {

inline std::string system_text(int error) {
#if defined(__GLIBC__)
  const char* description = strerrordesc_np(error);
  if (description != nullptr) return description;
#endif
  return cat("system error ", error);
}

template <class Call>
auto retry(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

/// "'PATH': cannot ACTION: TEXT": Fault::io, or Status::out_of_memory where that is what the system lacks.
[[noreturn]] inline void fail_at(const std::filesystem::path& path, std::string_view action, int error) {
  std::string message = cat(quoted(path.native(), 400), ": cannot ", action, ": ", system_text(error));
  if (error == ENOMEM) throw Error(Status::out_of_memory, std::move(message));
  throw Error(Fault::io, std::move(message));
}

}  // namespace gptq
