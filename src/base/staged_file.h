// An output file that appears at once or not at all; StagedFolder (base/file.h) is the same for folders.
#pragma once

#include <optional>

#include "base/descriptor.h"
#include "base/file.h"

namespace gptq {

/// A file under construction beside its target, hidden until commit() renames it. Destroyed without commit(), it is
/// removed, and the target stays as it was.
class StagedFile {
 public:
  /// Fault::exists when there is a `target` and `overwrite` is no, or when that is no file; Fault::io when the parent
  /// can't be written.
  StagedFile(const fs::path& target, Overwrite overwrite);
  StagedFile(const StagedFile&) = delete;
  StagedFile& operator=(const StagedFile&) = delete;
  ~StagedFile();

  FileWriter& writer() { return *writer_; }
  /// Finishes the file, renames it to the target, fsyncs the parent.
  void commit();

 private:
  fs::path target_, staging_;
  Overwrite overwrite_;
  Descriptor parent_folder_;
  Descriptor lock_;  // tells others that its maker lives, in whatever process namespace
  std::optional<FileWriter> writer_;
};

}  // namespace gptq
