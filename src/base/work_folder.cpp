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

constexpr const char* kOwner = "process";  // the number of the process that works here
constexpr size_t kLongestOwner = 20;

/// ".NAME.unfinished", cut so that it stays a legal file name.
std::string folder_name(const fs::path& target) {
  std::string name = target.filename().native();
  if (name.size() > 200) name.resize(200);
  return cat(".", name, ".unfinished");
}

}  // namespace

WorkFolder::WorkFolder(const fs::path& target, Overwrite overwrite) {
  const fs::path whole = resolve_target(target);
  check_target(whole, overwrite);
  name_ = folder_name(whole);
  path_ = join(whole.parent_path(), name_);
  parent_ = open_folder(whole.parent_path());
  if (parent_.get() < 0) fail_at(whole.parent_path(), "open", errno);
  try {
    while (!open()) continue;
    write_owner();
  } catch (...) {
    if (ours_) {
      ::unlinkat(folder_.get(), kOwner, 0);
      if (check_named(folder_, parent_, name_) != ESTALE) {
        ::unlinkat(parent_.get(), name_.c_str(), AT_REMOVEDIR);  // only if it is empty
      }
    }
    throw;
  }
}

WorkFolder::~WorkFolder() {
  if (kept_) {
    ::unlinkat(folder_.get(), kOwner, 0);
  } else {
    remove_folder(parent_, name_, folder_);
  }
}

/// False when the folder went away or was replaced between two calls.
bool WorkFolder::open() {
  ours_ = retry([&] { return ::mkdirat(parent_.get(), name_.c_str(), 0700); }) == 0;
  if (!ours_ && errno != EEXIST) fail_at(path_.parent_path(), "create a folder in it", errno);
  folder_ = open_folder(parent_, name_);
  if (folder_.get() < 0 && errno == ENOENT) return false;
  if (folder_.get() < 0) fail_at(path_, "use", errno);
  lock();
  ours_ = true;
  struct stat here;
  if (fstat(folder_.get(), &here) != 0) fail_at(path_, "stat", errno);
  if (here.st_uid != ::geteuid()) {
    ours_ = false;
    throw Error(Fault::exists, cat(quoted(path_.native(), 400), ": belongs to another user"));
  }
  if (const int error = check_named(folder_, parent_, name_); error != 0) {
    if (error != ESTALE && error != ENOENT) fail_at(path_, "stat", error);
    return false;
  }
  // the name must be on disk, too, before work in it counts as kept
  if (const int error = sync_folder(parent_); error != 0) fail_at(path_.parent_path(), "sync", error);
  return true;
}

void WorkFolder::lock() {
  if (retry([&] { return ::flock(folder_.get(), LOCK_EX | LOCK_NB); }) == 0) return;
  if (errno == EWOULDBLOCK) refuse_busy();
  // locks are unknown here: the process id must do
  const pid_t owner = find_owner();
  if (owner > 0 && (::kill(owner, 0) == 0 || errno != ESRCH)) refuse_busy();
}

/// The process that says it works in the folder; 0 where none does.
pid_t WorkFolder::find_owner() const {
  const std::optional<File> file = open_file(kOwner);
  if (!file) return 0;
  const std::string text = read_text_file(*file, kLongestOwner);
  pid_t owner = 0;
  std::from_chars(text.data(), text.data() + text.size(), owner);
  return owner;
}

void WorkFolder::refuse_busy() {
  ours_ = false;  // even if it was made here
  pid_t owner = 0;
  try {
    owner = find_owner();
  } catch (const Error&) {  // it is being written or removed
  }
  const std::string who = owner > 0 ? cat("process ", owner) : "another process";
  throw Error(Status::busy, cat(quoted(path_.native(), 400), ": ", who,
                                " is making this output: wait for it, or choose another folder"));
}

void WorkFolder::write_owner() {
  const std::string text = cat(::getpid(), "\n");
  FileWriter writer = create_file(kOwner);
  writer.write_at(0, std::as_bytes(std::span(text)));
  writer.finish();
}

void WorkFolder::replace_file(const std::string& name, std::string_view contents) {
  const std::string fresh = name + ".new";
  FileWriter writer = create_file(fresh);
  writer.reserve(contents.size());
  writer.write_at(0, std::as_bytes(std::span(contents)));
  writer.finish();
  const auto replace = [&] { return ::renameat(folder_.get(), fresh.c_str(), folder_.get(), name.c_str()); };
  if (retry(replace) != 0) fail_at(join(path_, name), "replace", errno);
  if (const int error = sync_folder(folder_); error != 0) fail_at(path_, "sync", error);
}

FileWriter WorkFolder::create_file(const std::string& name) {
  remove_file(name);
  return FileWriter(folder_, name, join(path_, name));
}

std::optional<File> WorkFolder::open_file(const std::string& name) const {
  try {
    return File(folder_, name, join(path_, name));
  } catch (const Error& error) {
    if (error.status() != Status::not_found) throw;
    return std::nullopt;
  }
}

void WorkFolder::remove_file(const std::string& name) {
  if (::unlinkat(folder_.get(), name.c_str(), 0) == 0 || errno == ENOENT) return;
  if (errno == EISDIR && remove_folder(folder_, name, open_folder(folder_, name))) return;
  fail_at(join(path_, name), "remove", errno);
}

}  // namespace gptq
