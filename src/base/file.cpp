// Files that are read, mapped and written, with every call of the system checked.
#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <limits>
#include <utility>

#include "base/checked.h"
#include "base/error.h"
#include "base/folder.h"
#include "base/positioned_io.h"
#include "base/system_text.h"
#include "base/text.h"

namespace gptq {
namespace {

FileIdentity identity_of(const struct stat& now) {
  return {.size = static_cast<uint64_t>(now.st_size),
          .device = now.st_dev,
          .inode = now.st_ino,
          .modified_ns = int64_t{now.st_mtim.tv_sec} * 1'000'000'000 + now.st_mtim.tv_nsec};
}

std::string_view kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

int open_to_read(int folder, const char* name, const fs::path& path) {
  // O_NONBLOCK: opening a pipe without a writer must not wait
  const int descriptor =
      retry([&] { return ::openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); });
  if (descriptor >= 0) return descriptor;
  const int error = errno;
  if (error == ENOENT || error == ENOTDIR) {
    throw Error(Status::not_found, cat(quoted(path.native(), 400), ": no such file"));
  }
  fail_at(path, "open", error);
}

}  // namespace

File::File(const fs::path& path)
    : path_(absolute_path(path)), descriptor_(open_to_read(AT_FDCWD, path.c_str(), path)) {
  identify();
}

File::File(const Descriptor& folder, const std::string& name, fs::path path)
    : path_(std::move(path)), descriptor_(open_to_read(folder.get(), name.c_str(), path_)) {
  identify();
}

void File::identify() {
  struct stat now;
  const int error = fstat(descriptor_.get(), &now) != 0 ? errno : 0;
  if (error != 0 || !S_ISREG(now.st_mode)) {
    if (error != 0) fail_at(path_, "stat", error);
    throw Error(Fault::io,
                cat(quoted(path_.native(), 400), ": is ", kind_of(now.st_mode), ", wanted a regular file"));
  }
  identity_ = identity_of(now);
}

void File::read_at(uint64_t offset, std::span<std::byte> out) const {
  const auto end = checked_add(offset, out.size());
  if (!end || *end > size()) {
    throw Error(Fault::truncated, cat(quoted(path_.native(), 400), ": wanted ", out.size(),
                                      " bytes from byte ", offset, ", the file has ", size()));
  }
  read_all(path_, descriptor_, offset, out);
}

void File::check_unchanged() const {
  struct stat here, named;
  if (fstat(descriptor_.get(), &here) != 0) fail_at(path_, "stat", errno);
  const bool there = ::stat(path_.c_str(), &named) == 0;
  if (!there && errno != ENOENT && errno != ENOTDIR) fail_at(path_, "stat", errno);
  const bool same = there && identity_of(here) == identity_ && identity_of(named) == identity_;
  if (!same) throw Error(Fault::changed, cat(quoted(path_.native(), 400), ": changed while it was in use"));
}

Mapping::Mapping(const File& file) {
  if (file.size() == 0) return;
  if (file.size() > std::numeric_limits<size_t>::max()) {
    throw Error(Fault::limit, cat(quoted(file.path().native(), 400), ": too large to be mapped"));
  }
  size_ = static_cast<size_t>(file.size());
  void* start = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.descriptor_.get(), 0);
  if (start == MAP_FAILED) fail_at(file.path(), "map", errno);
  data_ = static_cast<const std::byte*>(start);
}

Mapping::~Mapping() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

std::string read_text_file(const fs::path& path, size_t max_bytes) {
  return read_text_file(File(path), max_bytes);
}

std::string read_text_file(const File& file, size_t max_bytes) {
  if (file.size() > max_bytes) {
    throw Error(Fault::limit, cat(quoted(file.path().native(), 400), ": ", file.size(),
                                  " bytes, wanted at most ", max_bytes));
  }
  std::string text(static_cast<size_t>(file.size()), '\0');
  file.read_at(0, std::as_writable_bytes(std::span(text)));
  return text;
}

PathKind path_kind(const fs::path& path) {
  struct stat found;
  if (retry([&] { return ::stat(path.c_str(), &found); }) != 0) {
    if (errno != ENOENT && errno != ENOTDIR) fail_at(path, "stat", errno);
    return PathKind::absent;
  }
  return S_ISREG(found.st_mode)   ? PathKind::file
         : S_ISDIR(found.st_mode) ? PathKind::folder
                                  : PathKind::other;
}

bool file_exists(const fs::path& path) { return path_kind(path) == PathKind::file; }

namespace {

Descriptor create_at(int folder, const char* name, const fs::path& path) {
  const int descriptor =
      retry([&] { return ::openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666); });
  if (descriptor >= 0) return Descriptor(descriptor);
  if (errno == EEXIST) throw Error(Fault::exists, cat(quoted(path.native(), 400), ": exists already"));
  fail_at(path, "create", errno);
}

}  // namespace

FileWriter::FileWriter(const fs::path& path)
    : path_(absolute_path(path)), descriptor_(create_at(AT_FDCWD, path.c_str(), path_)) {}

FileWriter::FileWriter(const Descriptor& folder, const std::string& name, fs::path path)
    : path_(std::move(path)), descriptor_(create_at(folder.get(), name.c_str(), path_)) {}

void FileWriter::reserve(uint64_t bytes) { reserve_space(path_, descriptor_, bytes); }

void FileWriter::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  write_all(path_, descriptor_, offset, bytes);
}

void FileWriter::finish() {
  const int synced = retry([&] { return ::fsync(descriptor_.get()); });
  const int sync_error = synced != 0 && errno != EINVAL ? errno : 0;  // EINVAL: this file system can't sync
  const int closed = ::close(descriptor_.release());
  const int close_error = closed != 0 && errno != EINTR ? errno : 0;  // after EINTR it is closed, too
  if (sync_error != 0) fail_at(path_, "sync", sync_error);
  if (close_error != 0) fail_at(path_, "close", close_error);
}

}  // namespace gptq
