#include "base/positioned_io.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "base/checked.h"
#include "base/error.h"
#include "base/system_text.h"
#include "base/text.h"

namespace gptq {
namespace {

constexpr size_t kLargestTransfer = size_t{1} << 30;  // the system moves at most 2 GiB - 4 KiB per call

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

void read_all(const fs::path& path, const Descriptor& file, uint64_t offset, std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t got = retry([&] {
      return ::pread(file.get(), out.data(), std::min(out.size(), kLargestTransfer),
                     static_cast<off_t>(offset));
    });
    if (got < 0) fail_at(path, "read", errno);
    if (got == 0) {
      throw Error(Fault::truncated, cat(quoted(path.native(), 400), ": ends at byte ", offset, ", ",
                                        out.size(), " more were there before"));
    }
    offset += static_cast<uint64_t>(got);
    out = out.subspan(static_cast<size_t>(got));
  }
}

void write_all(const fs::path& path, const Descriptor& file, uint64_t offset,
               std::span<const std::byte> bytes) {
  const auto end = checked_add(offset, bytes.size());
  if (!end || *end > static_cast<uint64_t>(std::numeric_limits<off_t>::max())) {
    fail_to_grow(path, file, bytes.size(), EFBIG);
  }
  check_size_limit(path, *end);
  while (!bytes.empty()) {
    const ssize_t put = retry([&] {
      return ::pwrite(file.get(), bytes.data(), std::min(bytes.size(), kLargestTransfer),
                      static_cast<off_t>(offset));
    });
    if (put <= 0) fail_to_grow(path, file, bytes.size(), put < 0 ? errno : EIO);
    offset += static_cast<uint64_t>(put);
    bytes = bytes.subspan(static_cast<size_t>(put));
  }
}

void reserve_space(const fs::path& path, const Descriptor& file, uint64_t bytes) {
  if (bytes == 0) return;
  check_size_limit(path, bytes);
  if (bytes > static_cast<uint64_t>(std::numeric_limits<off_t>::max())) {
    fail_to_grow(path, file, bytes, EFBIG);
  }
  const auto length = static_cast<off_t>(bytes);
  // not posix_fallocate: where the file system can't reserve, that writes a byte into every block
  if (retry([&] { return ::fallocate(file.get(), 0, 0, length); }) == 0) return;
  if (errno != EOPNOTSUPP && errno != ENOSYS) fail_to_grow(path, file, bytes, errno);
  struct statvfs disk;
  if (fstatvfs(file.get(), &disk) == 0 && bytes / disk.f_frsize > disk.f_bavail) {
    fail_to_grow(path, file, bytes, ENOSPC);
  }
  if (retry([&] { return ::ftruncate(file.get(), length); }) != 0) {
    fail_to_grow(path, file, bytes, errno);
  }
}

}  // namespace gptq
