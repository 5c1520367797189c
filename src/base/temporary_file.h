// A file that no folder names: room on disk that goes with the process, whatever ends it.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/descriptor.h"
#include "base/file.h"
#include "base/work_folder.h"

namespace gptq {

class TemporaryFile {
 public:
  /// Made in `folder` as `name`, in the place of one left there, and unlinked at once.
  /// `bytes` of zeros, reserved so that a full disk is noticed here: Fault::io with bytes wanted and free.
  TemporaryFile(const WorkFolder& folder, const std::string& name, uint64_t bytes);

  uint64_t size() const { return size_; }
  /// Past the end: Status::internal. Errors of the system: Fault::io.
  void read_at(uint64_t offset, std::span<std::byte> out) const;
  void write_at(uint64_t offset, std::span<const std::byte> bytes);

 private:
  void check(uint64_t offset, size_t bytes) const;

  fs::path path_;  // that it had
  Descriptor descriptor_;
  uint64_t size_;
};

}  // namespace gptq
