// See staged_file.h: built under a hidden name beside the target, then renamed.
#include "base/staged_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"
#include "base/folder.h"
#include "base/output_target.h"
#include "base/staging.h"
#include "base/system_text.h"
#include "base/text.h"

namespace gptq {
namespace {

[[noreturn]] void refuse_existing(const fs::path& target) {
  throw Error(Fault::exists,
              cat(quoted(target.native(), 400), ": is there already; option 'overwrite' = 1 replaces it"));
}

void check_file_target(const fs::path& target, Overwrite overwrite) {
  const PathKind now = path_kind(target);
  if (now == PathKind::absent) return;
  if (now != PathKind::file) {
    throw Error(Fault::exists, cat(quoted(target.native(), 400), ": is there already and is not a file"));
  }
  if (overwrite == Overwrite::no) refuse_existing(target);
}

}  // namespace

StagedFile::StagedFile(const fs::path& target, Overwrite overwrite)
    : target_(resolve_target(target)), overwrite_(overwrite) {
  const fs::path parent = target_.parent_path();
  check_file_target(target_, overwrite_);
  parent_folder_ = open_folder(parent);
  if (parent_folder_.get() < 0) fail_at(parent, "open", errno);
  const std::string prefix = staging_prefix(target_);
  remove_stale(parent_folder_, parent, prefix);
  fs::path staging = join(parent, staging_name(prefix));
  writer_.emplace(staging);
  staging_ = std::move(staging);
  lock_ = Descriptor(retry([&] { return ::open(staging_.c_str(), O_RDONLY | O_CLOEXEC); }));
  // where locks are unknown, the process id must do
  if (lock_.get() >= 0) static_cast<void>(::flock(lock_.get(), LOCK_EX | LOCK_NB));
}

StagedFile::~StagedFile() {
  if (!staging_.empty()) ::unlink(staging_.c_str());
}

void StagedFile::commit() {
  writer_->finish();
  check_file_target(target_, overwrite_);
  const auto rename = [&](unsigned flags) {
    return retry([&] { return ::renameat2(AT_FDCWD, staging_.c_str(), AT_FDCWD, target_.c_str(), flags); });
  };
  const bool replaces = path_kind(target_) != PathKind::absent;
  // an old file is kept until nothing can fail any more
  const bool exchanged = overwrite_ == Overwrite::yes && rename(RENAME_EXCHANGE) == 0;
  struct stat old;
  const int unseen = exchanged && retry([&] { return ::stat(staging_.c_str(), &old); }) != 0 ? errno : 0;
  if (exchanged &&
      (unseen != 0 || !S_ISREG(old.st_mode))) {  // something took the place of the file meanwhile
    if (rename(RENAME_EXCHANGE) != 0) staging_.clear();
    check_file_target(target_, overwrite_);
    fail_at(target_, "replace", unseen != 0 ? unseen : EEXIST);
  }
  if (!exchanged) {
    int failed = rename(overwrite_ == Overwrite::no ? RENAME_NOREPLACE : 0);
    if (failed != 0 && (errno == EINVAL || errno == ENOSYS)) {  // no such flag here
      // a link never takes the place of a file
      failed = overwrite_ == Overwrite::no ? ::link(staging_.c_str(), target_.c_str()) : rename(0);
      if (failed == 0 && overwrite_ == Overwrite::no) ::unlink(staging_.c_str());
    }
    if (failed != 0 && errno == EEXIST) refuse_existing(target_);
    if (failed != 0) fail_at(target_, "rename the finished output to it", errno);
  }
  if (const int error = sync_folder(parent_folder_); error != 0) {
    if (exchanged) {
      if (rename(RENAME_EXCHANGE) != 0) staging_.clear();  // it is the old file
    } else if (replaces || ::rename(target_.c_str(), staging_.c_str()) != 0) {
      staging_.clear();
    }
    fail_at(target_.parent_path(), "sync", error);
  }
  if (exchanged) ::unlink(staging_.c_str());
  staging_.clear();
}

}  // namespace gptq
