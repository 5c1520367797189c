#include "base/staging.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>

#include "base/descriptor.h"
#include "base/folder.h"
#include "base/log.h"
#include "base/system_text.h"
#include "base/text.h"

namespace gptq {
namespace {

constexpr size_t kRandomDigits = 8;

/// The process that made a staging file or folder; 0 if the name is none of ours.
pid_t staging_maker(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return 0;
  name.remove_prefix(prefix.size());
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
  name.remove_prefix(static_cast<size_t>(end - name.data()));
  const bool ours = error == std::errc{} && pid > 0 && name.size() == 1 + kRandomDigits && name[0] == '-' &&
                    name.find_first_not_of("0123456789abcdef", 1) == std::string_view::npos;
  return ours ? pid : 0;
}

/// Dead: no such process here, and no lock held from elsewhere (another container, another host).
bool is_dead(const Descriptor& staging, pid_t maker) {
  if (::kill(maker, 0) == 0 || errno != ESRCH) return false;
  return staging.get() >= 0 && ::flock(staging.get(), LOCK_EX | LOCK_NB) == 0;
}

bool remove_any(const Descriptor& parent, const std::string& name) {
  if (::unlinkat(parent.get(), name.c_str(), 0) == 0) return true;
  return (errno == EISDIR || errno == EPERM) && remove_folder(parent, name, open_folder(parent, name));
}

}  // namespace

std::string random_digits() {
  static constexpr char kHex[] = "0123456789abcdef";
  unsigned char bytes[kRandomDigits];
  if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes) {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    for (size_t i = 0; i < sizeof bytes; ++i) bytes[i] = static_cast<unsigned char>(now.tv_nsec >> (3 * i));
  }
  std::string digits;
  for (unsigned char byte : bytes) digits += kHex[byte & 15];
  return digits;
}

std::string staging_prefix(const fs::path& target) {
  std::string name = target.filename().native();
  if (name.size() > 200) name.resize(200);
  return cat(".", name, ".partial-");
}

std::string staging_name(std::string_view prefix) { return cat(prefix, ::getpid(), "-", random_digits()); }

void remove_stale(const Descriptor& parent, const fs::path& path, std::string_view prefix) {
  for (const std::string& name : list_folder(parent, path)) {
    const pid_t maker = staging_maker(name, prefix);
    if (maker == 0) continue;
    const Descriptor staging(retry([&] {
      return ::openat(parent.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    }));
    if (!is_dead(staging, maker) || !remove_any(parent, name)) continue;
    log(LogLevel::info,
        cat("removed ", quoted(join(path, name).native(), 400), ", left by a run that was killed"));
  }
}

}  // namespace gptq
