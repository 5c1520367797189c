// Output folders that appear all at once: built under a hidden name beside the target, then renamed.
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

#include "base/descriptor.h"
#include "base/error.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/log.h"
#include "base/output_target.h"
#include "base/system_text.h"
#include "base/text.h"

namespace gptq {
namespace {

constexpr size_t kRandomDigits = 8;

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

/// Dead: no such process here, and no lock held from elsewhere (another container, another host).
bool is_dead(const fs::path& staging, pid_t maker) {
  if (::kill(maker, 0) == 0 || errno != ESRCH) return false;
  const Descriptor folder = open_folder(staging);
  return folder.get() >= 0 && ::flock(folder.get(), LOCK_EX | LOCK_NB) == 0;
}

void remove_stale(const fs::path& parent, std::string_view prefix) {
  for (const std::string& name : list_folder(parent)) {
    const pid_t maker = staging_maker(name, prefix);
    if (maker == 0) continue;
    const fs::path path = join(parent, name);
    if (!is_dead(path, maker) || !remove_folder(path, open_folder(path))) continue;
    log(LogLevel::info, cat("removed ", quoted(path.native(), 400), ", left by a run that was killed"));
  }
}

int exchange(const fs::path& a, const fs::path& b) {
  return retry([&] { return ::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE); });
}

int rename_path(const fs::path& from, const fs::path& to) {
  return retry([&] { return ::rename(from.c_str(), to.c_str()); });
}

/// After the output is in its place nothing may fail any more.
void remove_replaced(const fs::path& old) noexcept {
  try {
    if (remove_folder(old, open_folder(old))) return;
    const int error = errno;
    log(LogLevel::warning,
        cat("the replaced output was left at ", quoted(old.native(), 400), ": ", system_text(error)));
  } catch (const std::exception&) {
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
  open_parent();
  const std::string prefix = staging_prefix(target_);
  remove_stale(parent_, prefix);
  do {
    staging_ = join(parent_, cat(prefix, ::getpid(), "-", random_digits()));
  } while (!make_staging(parent_));
}

StagedFolder::StagedFolder(const fs::path& target, Overwrite overwrite, const fs::path& within)
    : target_(resolve_target(target)), overwrite_(overwrite) {
  open_parent();
  staging_ = join(within, "output");
  if (make_staging(within)) return;
  if (!remove_folder(staging_, open_folder(staging_))) fail_at(staging_, "remove", errno);
  if (!make_staging(within)) fail_at(within, "create a folder in it", EEXIST);
}

void StagedFolder::open_parent() {
  parent_ = target_.parent_path();
  check_target(target_, overwrite_);
  parent_folder_ = open_folder(parent_);
  if (parent_folder_.get() < 0) fail_at(parent_, "open", errno);
}

bool StagedFolder::make_staging(const fs::path& within) {
  if (retry([&] { return ::mkdir(staging_.c_str(), 0755); }) != 0) {
    if (errno != EEXIST) fail_at(within, "create a folder in it", errno);
    return false;
  }
  folder_ = open_folder(staging_);
  struct stat made;
  if (folder_.get() < 0 || fstat(folder_.get(), &made) != 0 || fchmod(folder_.get(), 0700) != 0) {
    const int error = errno;
    ::rmdir(staging_.c_str());
    fail_at(staging_, "use", error);
  }
  final_mode_ = made.st_mode & 0777;  // 0755 less the umask
  // where locks are unknown, the process id must do
  static_cast<void>(::flock(folder_.get(), LOCK_EX | LOCK_NB));
  return true;
}

StagedFolder::~StagedFolder() {
  if (staging_.empty()) return;
  remove_folder(staging_, folder_);
}

void StagedFolder::write_file(std::string_view name, std::string_view contents) {
  check_name(name);
  FileWriter writer(join(staging_, name));
  writer.reserve(contents.size());
  writer.write_at(0, std::as_bytes(std::span(contents)));
  writer.finish();
}

void StagedFolder::copy_file(const fs::path& from, std::string_view name) {
  check_name(name);
  const File source(from);
  FileWriter writer(join(staging_, name));
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

StagedFolder::Placed StagedFolder::place(const fs::path& aside) {
  // rename() replaces nothing but an empty folder, so it is the test and the deed in one
  if (rename_path(staging_, target_) == 0) return Placed::alone;
  const bool occupied = errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR;
  if (!occupied) fail_at(target_, "rename the finished output to it", errno);
  check_target(target_, overwrite_);
  if (exchange(staging_, target_) == 0) return Placed::exchanged;
  if (errno != EINVAL && errno != ENOSYS) fail_at(target_, "put the finished output in its place", errno);
  if (rename_path(target_, aside) != 0) fail_at(target_, "move the old output aside", errno);
  if (rename_path(staging_, target_) != 0) {
    const int error = errno;
    static_cast<void>(rename_path(aside, target_));
    fail_at(target_, "rename the finished output to it", error);
  }
  return Placed::old_aside;
}

/// Undoes place(). Where even that fails, the output stays: it is whole.
void StagedFolder::take_back(Placed placed, const fs::path& aside) noexcept {
  const bool back =
      placed == Placed::exchanged ? exchange(staging_, target_) == 0 : rename_path(target_, staging_) == 0;
  if (back && placed == Placed::old_aside) static_cast<void>(rename_path(aside, target_));
  if (!back) staging_.clear();
}

void StagedFolder::commit() {
  if (::fchmod(folder_.get(), final_mode_) != 0) fail_at(staging_, "set the mode of", errno);
  if (const int error = sync_folder(folder_); error != 0) fail_at(staging_, "sync", error);
  // not a staging name: should this process die between two renames, nobody may take the old output for waste
  const fs::path aside =
      join(parent_, cat(".replaced-", random_digits(), "-", target_.filename().native().substr(0, 200)));
  const Placed placed = place(aside);
  if (const int error = sync_folder(parent_folder_); error != 0) {
    take_back(placed, aside);
    fail_at(parent_, "sync", error);
  }
  if (placed != Placed::alone) remove_replaced(placed == Placed::exchanged ? staging_ : aside);
  staging_.clear();
}

}  // namespace gptq
