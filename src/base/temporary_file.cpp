#include "base/temporary_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/checked.h"
#include "base/error.h"
#include "base/folder.h"
#include "base/positioned_io.h"
#include "base/system_text.h"
#include "base/text.h"

namespace gptq {

// not O_TMPFILE, which network file systems lack: a process killed between open and unlink leaves an empty file
TemporaryFile::TemporaryFile(const WorkFolder& folder, const std::string& name, uint64_t bytes)
    : path_(join(folder.path(), name)), size_(bytes) {
  const int within = folder.descriptor().get();
  const auto unlink = [&] { return ::unlinkat(within, name.c_str(), 0); };
  if (unlink() != 0 && errno != ENOENT) fail_at(path_, "remove", errno);
  descriptor_ = Descriptor(
      retry([&] { return ::openat(within, name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600); }));
  if (descriptor_.get() < 0) fail_at(path_, "create", errno);
  if (unlink() != 0) fail_at(path_, "remove", errno);
  reserve_space(path_, descriptor_, bytes);
}

void TemporaryFile::check(uint64_t offset, size_t bytes) const {
  const auto end = checked_add(offset, bytes);
  if (end && *end <= size_) return;
  throw Error(Status::internal,
              cat(quoted(path_.native(), 400), ": ", bytes, " bytes at byte ", offset, ", it has ", size_));
}

void TemporaryFile::read_at(uint64_t offset, std::span<std::byte> out) const {
  check(offset, out.size());
  read_all(path_, descriptor_, offset, out);
}

void TemporaryFile::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  check(offset, bytes.size());
  write_all(path_, descriptor_, offset, bytes);
}

}  // namespace gptq
