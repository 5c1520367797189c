// Files by position: reading, mapping and writing, with every call of the system checked.
#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "base/checked.h"
#include "base/error.h"
#include "base/folder.h"
#include "base/system_text.h"
#include "base/text.h"

namespace gptq {
namespace {

constexpr size_t kLargestTransfer = size_t{1} << 30;  // the system moves at most 2 GiB - 4 KiB per call

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

int open_to_read(const fs::path& path) {
  // O_NONBLOCK: opening a pipe without a writer must not wait
  const int descriptor =
      retry([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); });
  if (descriptor >= 0) return descriptor;
  const int error = errno;
  if (error == ENOENT || error == ENOTDIR) {
    throw Error(Status::not_found, cat(quoted(path.native(), 400), ": no such file"));
  }
  fail_at(path, "open", error);
}

}  // namespace

File::File(const fs::path& path) : path_(absolute_path(path)), descriptor_(open_to_read(path)) {
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
  while (!out.empty()) {
    const ssize_t got = retry([&] {
      return ::pread(descriptor_.get(), out.data(), std::min(out.size(), kLargestTransfer),
                     static_cast<off_t>(offset));
    });
    if (got < 0) fail_at(path_, "read", errno);
    if (got == 0) {
      throw Error(Fault::truncated, cat(quoted(path_.native(), 400), ": ends at byte ", offset, ", had ",
                                        size(), " when opened"));
    }
    offset += static_cast<uint64_t>(got);
    out = out.subspan(static_cast<size_t>(got));
  }
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
  const File file(path);
  if (file.size() > max_bytes) {
    throw Error(Fault::limit,
                cat(quoted(path.native(), 400), ": ", file.size(), " bytes, wanted at most ", max_bytes));
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

[[noreturn]] void fail_to_grow(const fs::path& path, const Descriptor& file, uint64_t wanted, int error) {
  struct statvfs disk;
  std::string room;
  if (fstatvfs(file.get(), &disk) == 0) {
    const uint64_t free_bytes = uint64_t{disk.f_bavail} * disk.f_frsize;
    room = cat(", ", free_bytes, " bytes are free on its disk");
  }
  fail_at(path, cat("write ", wanted, " bytes", room), error);
}

/// A write past RLIMIT_FSIZE would raise SIGXFSZ, which ends the host.
void check_size_limit(const fs::path& path, uint64_t end) {
  rlimit limit;
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || end <= limit.rlim_cur)
    return;
  throw Error(Fault::io,
              cat(quoted(path.native(), 400), ": cannot grow to ", end,
                  " bytes, the process may write files of ", limit.rlim_cur, " bytes (RLIMIT_FSIZE)"));
}

}  // namespace

FileWriter::FileWriter(const fs::path& path) : path_(absolute_path(path)) {
  descriptor_ =
      Descriptor(retry([&] { return ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666); }));
  if (descriptor_.get() >= 0) return;
  if (errno == EEXIST) throw Error(Fault::exists, cat(quoted(path_.native(), 400), ": exists already"));
  fail_at(path_, "create", errno);
}

void FileWriter::reserve(uint64_t bytes) {
  if (bytes == 0) return;
  check_size_limit(path_, bytes);
  if (bytes > static_cast<uint64_t>(std::numeric_limits<off_t>::max())) {
    fail_to_grow(path_, descriptor_, bytes, EFBIG);
  }
  const auto length = static_cast<off_t>(bytes);
  // not posix_fallocate: where the file system can't reserve, that writes a byte into every block
  if (retry([&] { return ::fallocate(descriptor_.get(), 0, 0, length); }) == 0) return;
  if (errno != EOPNOTSUPP && errno != ENOSYS) fail_to_grow(path_, descriptor_, bytes, errno);
  struct statvfs disk;
  if (fstatvfs(descriptor_.get(), &disk) == 0 && bytes / disk.f_frsize > disk.f_bavail) {
    fail_to_grow(path_, descriptor_, bytes, ENOSPC);
  }
  if (retry([&] { return ::ftruncate(descriptor_.get(), length); }) != 0) {
    fail_to_grow(path_, descriptor_, bytes, errno);
  }
}

void FileWriter::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  const auto end = checked_add(offset, bytes.size());
  if (!end || *end > static_cast<uint64_t>(std::numeric_limits<off_t>::max())) {
    fail_to_grow(path_, descriptor_, bytes.size(), EFBIG);
  }
  check_size_limit(path_, *end);
  while (!bytes.empty()) {
    const ssize_t put = retry([&] {
      return ::pwrite(descriptor_.get(), bytes.data(), std::min(bytes.size(), kLargestTransfer),
                      static_cast<off_t>(offset));
    });
    if (put <= 0) fail_to_grow(path_, descriptor_, bytes.size(), put < 0 ? errno : EIO);
    offset += static_cast<uint64_t>(put);
    bytes = bytes.subspan(static_cast<size_t>(put));
  }
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
