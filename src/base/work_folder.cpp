#include "base/work_folder.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <string>

#include "base/error.h"
#include "base/folder.h"
#include "base/output_target.h"
#include "base/system_text.h"
#include "base/text.h"

namespace gptq {
namespace {

constexpr std::string_view kOwner = "process";  // the number of the process that works here
constexpr size_t kLongestOwner = 20;

/// ".NAME.unfinished", cut so that it stays a legal file name.
std::string folder_name(const fs::path& target) {
  std::string name = target.filename().native();
  if (name.size() > 200) name.resize(200);
  return cat(".", name, ".unfinished");
}

/// The process that says it works in the folder; 0 where none does.
pid_t owner_of(const fs::path& folder) {
  const fs::path file = join(folder, kOwner);
  if (!file_exists(file)) return 0;
  const std::string text = read_text_file(file, kLongestOwner);
  pid_t owner = 0;
  std::from_chars(text.data(), text.data() + text.size(), owner);
  return owner;
}

}  // namespace

WorkFolder::WorkFolder(const fs::path& target, Overwrite overwrite, Earlier earlier) {
  const fs::path whole = resolve_target(target);
  check_target(whole, overwrite);
  path_ = join(whole.parent_path(), folder_name(whole));
  try {
    while (!open()) continue;
    if (earlier == Earlier::discard) {
      for (const std::string& name : list_folder(path_)) remove_file(name);
    }
    write_owner();
  } catch (...) {
    if (ours_) {
      ::unlinkat(folder_.get(), kOwner.data(), 0);
      ::rmdir(path_.c_str());  // only if it is empty
    }
    throw;
  }
}

WorkFolder::~WorkFolder() {
  if (kept_) {
    ::unlinkat(folder_.get(), kOwner.data(), 0);
  } else {
    remove_folder(path_, folder_);
  }
}

/// False when the folder went away or was replaced between two calls.
bool WorkFolder::open() {
  ours_ = retry([&] { return ::mkdir(path_.c_str(), 0700); }) == 0;
  if (!ours_ && errno != EEXIST) fail_at(path_.parent_path(), "create a folder in it", errno);
  folder_ = open_folder(path_);
  if (folder_.get() < 0 && errno == ENOENT) return false;
  if (folder_.get() < 0) fail_at(path_, "use", errno);
  lock();
  ours_ = true;
  struct stat here, named;
  if (fstat(folder_.get(), &here) != 0) fail_at(path_, "stat", errno);
  if (here.st_uid != ::geteuid()) {
    throw Error(Fault::exists, cat(quoted(path_.native(), 400), ": belongs to another user"));
  }
  if (::stat(path_.c_str(), &named) != 0) {
    if (errno != ENOENT) fail_at(path_, "stat", errno);
    return false;
  }
  return here.st_dev == named.st_dev && here.st_ino == named.st_ino;
}

void WorkFolder::lock() {
  if (retry([&] { return ::flock(folder_.get(), LOCK_EX | LOCK_NB); }) == 0) return;
  if (errno == EWOULDBLOCK) refuse_busy();
  // locks are unknown here: the process id must do
  const pid_t owner = owner_of(path_);
  if (owner > 0 && (::kill(owner, 0) == 0 || errno != ESRCH)) refuse_busy();
}

void WorkFolder::refuse_busy() {
  ours_ = false;  // even if it was made here
  pid_t owner = 0;
  try {
    owner = owner_of(path_);
  } catch (const Error&) {  // it is being written or removed
  }
  const std::string who = owner > 0 ? cat("process ", owner) : "another process";
  throw Error(Status::busy, cat(quoted(path_.native(), 400), ": ", who,
                                " is making this output: wait for it, or choose another folder"));
}

void WorkFolder::write_owner() {
  remove_file(kOwner);
  const std::string text = cat(::getpid(), "\n");
  FileWriter writer(join(path_, kOwner));
  writer.write_at(0, std::as_bytes(std::span(text)));
  writer.finish();
}

void WorkFolder::replace_file(std::string_view name, std::string_view contents) {
  const std::string fresh = cat(name, ".new");
  remove_file(fresh);
  const fs::path from = join(path_, fresh), to = join(path_, name);
  FileWriter writer(from);
  writer.reserve(contents.size());
  writer.write_at(0, std::as_bytes(std::span(contents)));
  writer.finish();
  if (retry([&] { return ::rename(from.c_str(), to.c_str()); }) != 0) fail_at(to, "replace", errno);
  if (const int error = sync_folder(folder_); error != 0) fail_at(path_, "sync", error);
}

void WorkFolder::remove_file(std::string_view name) {
  const fs::path file = join(path_, name);
  if (::unlink(file.c_str()) == 0 || errno == ENOENT) return;
  if (errno == EISDIR && remove_folder(file, open_folder(file))) return;
  fail_at(file, "remove", errno);
}

}  // namespace gptq
