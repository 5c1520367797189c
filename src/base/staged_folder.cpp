// Output folders that appear all at once: built under a hidden name beside the target, then renamed.
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "base/descriptor.h"
#include "base/error.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/log.h"
#include "base/output_target.h"
#include "base/staging.h"
#include "base/system_text.h"
#include "base/text.h"
#include "base/work_folder.h"

namespace gptq {
namespace {

/// A folder by its name in an open one.
struct Place {
  const Descriptor& folder;
  const std::string& name;
};

int exchange(const Place& a, const Place& b) {
  return retry([&] {
    return ::renameat2(a.folder.get(), a.name.c_str(), b.folder.get(), b.name.c_str(), RENAME_EXCHANGE);
  });
}

int rename_place(const Place& from, const Place& to) {
  return retry(
      [&] { return ::renameat(from.folder.get(), from.name.c_str(), to.folder.get(), to.name.c_str()); });
}

/// After the output is in its place nothing may fail any more.
void remove_replaced(const Place& old, const fs::path& path) noexcept {
  if (remove_folder(old.folder, old.name, open_folder(old.folder, old.name))) return;
  const int error = errno;
  try {
    log(LogLevel::warning,
        cat("the replaced output was left at ", quoted(path.native(), 400), ": ", system_text(error)));
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
  remove_stale(parent_, target_.parent_path(), prefix);
  do {
    staging_name_ = staging_name(prefix);
    staging_ = join(target_.parent_path(), staging_name_);
  } while (!make_staging());
}

StagedFolder::StagedFolder(const fs::path& target, Overwrite overwrite, const WorkFolder& within)
    : target_(resolve_target(target)),
      staging_(join(within.path(), "output")),
      staging_name_("output"),
      overwrite_(overwrite),
      place_(&within.descriptor()) {
  open_parent();
  if (make_staging()) return;
  if (!remove_folder(*place_, staging_name_, open_folder(*place_, staging_name_)))
    fail_at(staging_, "remove", errno);
  if (!make_staging()) fail_at(within.path(), "create a folder in it", EEXIST);
}

void StagedFolder::open_parent() {
  const fs::path parent = target_.parent_path();
  target_name_ = target_.filename().native();
  check_target(target_, overwrite_);
  parent_ = open_folder(parent);
  if (parent_.get() < 0) fail_at(parent, "open", errno);
}

bool StagedFolder::make_staging() {
  if (retry([&] { return ::mkdirat(place_->get(), staging_name_.c_str(), 0755); }) != 0) {
    if (errno != EEXIST) fail_at(staging_.parent_path(), "create a folder in it", errno);
    return false;
  }
  folder_ = open_folder(*place_, staging_name_);
  struct stat made;
  if (folder_.get() < 0 || fstat(folder_.get(), &made) != 0 || fchmod(folder_.get(), 0700) != 0) {
    const int error = errno;
    ::unlinkat(place_->get(), staging_name_.c_str(), AT_REMOVEDIR);
    fail_at(staging_, "use", error);
  }
  final_mode_ = made.st_mode & 0777;  // 0755 less the umask
  // where locks are unknown, the process id must do
  static_cast<void>(::flock(folder_.get(), LOCK_EX | LOCK_NB));
  return true;
}

StagedFolder::~StagedFolder() {
  if (!placed_) remove_folder(*place_, staging_name_, folder_);
}

void StagedFolder::write_file(std::string_view name, std::string_view contents) {
  check_name(name);
  FileWriter writer(folder_, std::string(name), join(staging_, name));
  writer.reserve(contents.size());
  writer.write_at(0, std::as_bytes(std::span(contents)));
  writer.finish();
}

void StagedFolder::copy_file(const fs::path& from, std::string_view name) {
  check_name(name);
  const File source(from);
  FileWriter writer(folder_, std::string(name), join(staging_, name));
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

StagedFolder::Placed StagedFolder::place(const std::string& aside_name) {
  const Place staging{*place_, staging_name_}, target{parent_, target_name_}, aside{parent_, aside_name};
  // renaming replaces nothing but an empty folder, so it is the test and the deed in one
  if (rename_place(staging, target) == 0) return Placed::alone;
  const bool occupied = errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR;
  if (!occupied) fail_at(target_, "rename the finished output to it", errno);
  check_target(target_, overwrite_);
  if (exchange(staging, target) == 0) return Placed::exchanged;
  if (errno != EINVAL && errno != ENOSYS) fail_at(target_, "put the finished output in its place", errno);
  if (rename_place(target, aside) != 0) fail_at(target_, "move the old output aside", errno);
  if (rename_place(staging, target) != 0) {
    const int error = errno;
    static_cast<void>(rename_place(aside, target));
    fail_at(target_, "rename the finished output to it", error);
  }
  return Placed::old_aside;
}

/// Undoes place(). Where even that fails, the output stays: it is whole.
void StagedFolder::take_back(Placed placed, const std::string& aside_name) noexcept {
  const Place staging{*place_, staging_name_}, target{parent_, target_name_}, aside{parent_, aside_name};
  const bool back =
      placed == Placed::exchanged ? exchange(staging, target) == 0 : rename_place(target, staging) == 0;
  if (back && placed == Placed::old_aside) static_cast<void>(rename_place(aside, target));
  placed_ = !back;
}

void StagedFolder::commit() {
  if (::fchmod(folder_.get(), final_mode_) != 0) fail_at(staging_, "set the mode of", errno);
  if (const int error = sync_folder(folder_); error != 0) fail_at(staging_, "sync", error);
  if (const int error = check_named(folder_, *place_, staging_name_); error != 0) {
    if (error != ESTALE && error != ENOENT) fail_at(staging_, "stat", error);
    throw Error(Fault::changed, cat(quoted(staging_.native(), 400), ": something else has taken its place"));
  }
  // not a staging name: should this process die between two renames, nobody may take the old output for waste
  const std::string aside = cat(".replaced-", random_digits(), "-", target_name_.substr(0, 200));
  const fs::path aside_path = join(target_.parent_path(), aside);
  const Placed placed = place(aside);
  if (const int error = sync_folder(parent_); error != 0) {
    take_back(placed, aside);
    fail_at(target_.parent_path(), "sync", error);
  }
  placed_ = true;
  if (placed == Placed::exchanged) remove_replaced({*place_, staging_name_}, staging_);
  if (placed == Placed::old_aside) remove_replaced({parent_, aside}, aside_path);
}

}  // namespace gptq
