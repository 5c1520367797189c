// Output folders that appear all at once: built under a hidden name beside the target, then renamed.
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/system_text.h"
#include "base/text.h"

namespace gptq {
namespace {

constexpr size_t kRandomDigits = 8;

[[noreturn]] void fail(const fs::path& path, std::string_view action, int error) {
  throw Error(Fault::io, cat(quoted(path.native(), 400), ": cannot ", action, ": ", system_text(error)));
}

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

/// ".NAME.partial-", to be followed by PID-RANDOM; cut so that the whole stays a legal file name.
std::string staging_prefix(const fs::path& target) {
  std::string name = target.filename().native();
  if (name.size() > 200) name.resize(200);
  return cat(".", name, ".partial-");
}

/// The process that made a staging folder; 0 if the name is none of ours.
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

int open_folder(const fs::path& path) {
  return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

/// Dead: no such process here, and no lock held from elsewhere (another container, another host).
bool is_dead(const fs::path& staging, pid_t maker) {
  if (::kill(maker, 0) == 0 || errno != ESRCH) return false;
  const int folder = open_folder(staging);
  if (folder < 0) return false;
  const bool unlocked = ::flock(folder, LOCK_EX | LOCK_NB) == 0;
  ::close(folder);
  return unlocked;
}

void remove_stale(const fs::path& parent, std::string_view prefix) {
  std::error_code failed;
  std::vector<fs::path> stale;
  for (fs::directory_iterator it(parent, failed), end; !failed && it != end; it.increment(failed)) {
    const pid_t maker = staging_maker(it->path().filename().native(), prefix);
    if (maker != 0 && is_dead(it->path(), maker)) stale.push_back(it->path());
  }
  for (const fs::path& path : stale) {
    fs::remove_all(path, failed);
    log(LogLevel::info, cat("removed ", quoted(path.native(), 400), ", left by a run that was killed"));
  }
}

void sync_folder(const fs::path& path) {
  const int folder = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) fail(path, "open", errno);
  const int error = ::fsync(folder) != 0 ? errno : 0;
  ::close(folder);
  if (error != 0 && error != EINVAL)
    fail(path, "sync", error);  // EINVAL: this file system can't sync folders
}

/// The target with its parent resolved, so that neither a trailing slash nor chdir() changes its meaning.
fs::path resolve_target(const fs::path& given) {
  if (given.empty()) throw Error(Status::invalid_argument, "output folder: empty path");
  std::error_code failed;
  fs::path whole = fs::absolute(given, failed);
  if (failed) fail(given, "resolve", failed.value());
  if (!whole.has_filename()) whole = whole.parent_path();
  if (fs::exists(fs::status(whole, failed))) {  // also links, "." and ".."
    whole = fs::canonical(whole, failed);
    if (failed) fail(given, "resolve", failed.value());
    if (!whole.has_filename())
      throw Error(Fault::exists, cat(quoted(whole.native()), ": is the root folder"));
    return whole;
  }
  if (fs::is_symlink(fs::symlink_status(whole, failed))) {
    throw Error(Fault::exists, cat(quoted(whole.native(), 400), ": is a link to nothing"));
  }
  const fs::path parent = fs::canonical(whole.parent_path(), failed);
  if (failed || !fs::is_directory(parent, failed)) {
    throw Error(Fault::io, cat(quoted(whole.native(), 400), ": its parent folder ",
                               quoted(whole.parent_path().native(), 400), " does not exist"));
  }
  return parent / whole.filename();
}

bool holds_something(const fs::path& folder) {
  std::error_code failed;
  const bool empty = fs::is_empty(folder, failed);
  return failed || !empty;
}

void check_target(const fs::path& target, Overwrite overwrite) {
  std::error_code failed;
  const fs::file_status now = fs::status(target, failed);
  if (!fs::exists(now)) return;
  if (!fs::is_directory(now)) {
    throw Error(Fault::exists, cat(quoted(target.native(), 400), ": is there already and is not a folder"));
  }
  if (overwrite == Overwrite::no && holds_something(target)) {
    throw Error(Fault::exists, cat(quoted(target.native(), 400),
                                   ": is there already and not empty; overwrite = 1 replaces it"));
  }
}

void check_name(std::string_view name) {
  const bool plain = !name.empty() && name != "." && name != ".." &&
                     name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
  if (!plain) throw Error(Fault::path, cat("output file ", quoted(name), ": wanted a plain file name"));
}

}  // namespace

StagedFolder::StagedFolder(const fs::path& target, Overwrite overwrite)
    : target_(resolve_target(target)), overwrite_(overwrite) {
  parent_ = target_.parent_path();
  check_target(target_, overwrite_);
  const std::string prefix = staging_prefix(target_);
  remove_stale(parent_, prefix);
  do {
    staging_ = parent_ / cat(prefix, ::getpid(), "-", random_digits());
    if (::mkdir(staging_.c_str(), 0755) == 0) break;
    if (errno != EEXIST) fail(parent_, "create a folder in it", errno);
  } while (true);
  lock_ = open_folder(staging_);
  struct stat made;
  if (lock_ < 0 || fstat(lock_, &made) != 0 || fchmod(lock_, 0700) != 0) {
    const int error = errno;
    if (lock_ >= 0) ::close(lock_);
    ::rmdir(staging_.c_str());
    fail(staging_, "use", error);
  }
  final_mode_ = made.st_mode & 0777;                     // 0755 less the umask
  static_cast<void>(::flock(lock_, LOCK_EX | LOCK_NB));  // where locks are unknown, the process id must do
}

StagedFolder::~StagedFolder() {
  std::error_code failed;
  if (!staging_.empty()) fs::remove_all(staging_, failed);
  if (lock_ >= 0) ::close(lock_);
}

void StagedFolder::write_file(std::string_view name, std::string_view contents) {
  check_name(name);
  FileWriter writer(staging_ / name);
  writer.reserve(contents.size());
  writer.write_at(0, std::as_bytes(std::span(contents)));
  writer.finish();
}

void StagedFolder::copy_file(const fs::path& from, std::string_view name) {
  check_name(name);
  const File source(from);
  FileWriter writer(staging_ / name);
  writer.reserve(source.size());
  std::vector<std::byte> buffer(static_cast<size_t>(std::min<uint64_t>(source.size(), uint64_t{1} << 20)));
  for (uint64_t at = 0; at < source.size(); at += buffer.size()) {
    const auto part =
        std::span(buffer).first(static_cast<size_t>(std::min<uint64_t>(buffer.size(), source.size() - at)));
    source.read_at(at, part);
    writer.write_at(at, part);
  }
  source.check_unchanged();
  writer.finish();
}

/// Leaves the new folder at target_; what staging_ names afterwards, if anything, is the old one.
void StagedFolder::replace_target() {
  // rename() replaces nothing but an empty folder, so it is the test and the deed in one
  if (::rename(staging_.c_str(), target_.c_str()) == 0) {
    staging_.clear();
    return;
  }
  const bool occupied = errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR;
  if (!occupied) fail(target_, "rename the finished output to it", errno);
  check_target(target_, overwrite_);
  if (::renameat2(AT_FDCWD, staging_.c_str(), AT_FDCWD, target_.c_str(), RENAME_EXCHANGE) == 0) return;
  if (errno != EINVAL && errno != ENOSYS) fail(target_, "put the finished output in its place", errno);

  // not a staging name: should this process die between the two renames, nobody may take the old output for waste
  const fs::path aside =
      parent_ / cat(".replaced-", random_digits(), "-", target_.filename().native().substr(0, 200));
  if (::rename(target_.c_str(), aside.c_str()) != 0) fail(target_, "move the old output aside", errno);
  if (::rename(staging_.c_str(), target_.c_str()) != 0) {
    const int error = errno;
    static_cast<void>(::rename(aside.c_str(), target_.c_str()));
    fail(target_, "rename the finished output to it", error);
  }
  staging_ = aside;
}

void StagedFolder::commit() {
  if (::fchmod(lock_, final_mode_) != 0) fail(staging_, "set the mode of", errno);
  sync_folder(staging_);
  replace_target();
  sync_folder(parent_);
  if (staging_.empty()) return;
  std::error_code failed;
  fs::remove_all(staging_, failed);
  if (failed) {
    log(LogLevel::warning, cat("the replaced output was left at ", quoted(staging_.native(), 400), ": ",
                               system_text(failed.value())));
  }
  staging_.clear();
}

}  // namespace gptq
