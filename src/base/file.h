// Files: bounded reads by position, read-only mappings, and output folders that appear all at once or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/descriptor.h"

namespace gptq {

namespace fs = std::filesystem;

/// What tells that a file is still the one it was.
struct FileIdentity {
  uint64_t size = 0, device = 0, inode = 0;
  int64_t modified_ns = 0;

  bool operator==(const FileIdentity&) const = default;
};

/// A regular file open for reading. Reads are positioned, so threads may share one File.
class File {
 public:
  /// Status::not_found if absent; Fault::io for folders, pipes, devices and what may not be read (never blocks).
  explicit File(const fs::path& path);
  /// In an open folder; `path` is for messages, and for check_unchanged().
  File(const Descriptor& folder, const std::string& name, fs::path path);

  const fs::path& path() const { return path_; }
  uint64_t size() const { return identity_.size; }
  const FileIdentity& identity() const { return identity_; }
  /// Fills `out` from byte `offset`. Fault::truncated past the end, Fault::io on an error of the system.
  void read_at(uint64_t offset, std::span<std::byte> out) const;
  /// Fault::changed if it, or the file that its path names now, is not as it was when opened.
  void check_unchanged() const;

 private:
  friend class Mapping;
  void identify();

  fs::path path_;
  Descriptor descriptor_;
  FileIdentity identity_;
};

/// A whole file mapped read-only. The file must not shrink while it is in use (the system would raise SIGBUS).
class Mapping {
 public:
  explicit Mapping(const File& file);
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping();

  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

/// The whole file as text. Fault::limit when larger than `max_bytes`, before anything is allocated.
std::string read_text_file(const fs::path& path, size_t max_bytes);
std::string read_text_file(const File& file, size_t max_bytes);

/// What a path names, links followed. Fault::io when the system can't tell: that is not absence.
enum class PathKind : uint8_t { absent, file, folder, other };
PathKind path_kind(const fs::path& path);
/// True if the path names a regular file.
bool file_exists(const fs::path& path);

/// A file being written at known positions.
class FileWriter {
 public:
  explicit FileWriter(const fs::path& path);  // creates; Fault::exists if there already
  /// In an open folder; `path` is for messages.
  FileWriter(const Descriptor& folder, const std::string& name, fs::path path);

  /// Reserves the space now, so that a full disk is noticed at the start. Fault::io with bytes wanted and free.
  void reserve(uint64_t bytes);
  void write_at(uint64_t offset, std::span<const std::byte> bytes);
  /// fsync and close; every error is reported. Nothing may be written afterwards.
  void finish();

 private:
  fs::path path_;
  Descriptor descriptor_;  // without finish() closed without syncing
};

class WorkFolder;

/// Whether a finished output may take the place of an existing folder.
enum class Overwrite : uint8_t { no, yes };

/// A folder under construction beside its target, hidden and unfinished-looking until commit() renames it.
/// Destroyed without commit(), it removes what it wrote and leaves the target untouched.
class StagedFolder {
 public:
  /// Fault::exists when `target` exists and `overwrite` is no (an existing empty folder counts as absent);
  /// Fault::io when the parent can't be written: noticed here, before any work.
  StagedFolder(const fs::path& target, Overwrite overwrite);
  /// Inside the target's work folder, which it borrows, in the place of one left there.
  StagedFolder(const fs::path& target, Overwrite overwrite, const WorkFolder& within);
  StagedFolder(const StagedFolder&) = delete;
  StagedFolder& operator=(const StagedFolder&) = delete;
  ~StagedFolder();

  // To write files in, by the open folder; the path is for messages.
  const Descriptor& descriptor() const { return folder_; }
  const fs::path& path() const { return staging_; }
  void write_file(std::string_view name, std::string_view contents);
  void copy_file(const fs::path& from, std::string_view name);
  /// fsyncs the folder, renames it to the target, fsyncs the parent. An old target is kept until the rename.
  /// Fault::changed where another folder, or a link, has taken the place of this one.
  /// Files that others wrote into it must have been synced before (FileWriter::finish).
  void commit();

 private:
  enum class Placed : uint8_t { alone, exchanged, old_aside };  // where the old target went
  Placed place(const std::string& aside);
  void take_back(Placed placed, const std::string& aside) noexcept;
  void open_parent();
  bool make_staging();  // false where it exists

  fs::path target_, staging_;
  std::string target_name_, staging_name_;
  Overwrite overwrite_;
  uint32_t final_mode_ = 0755;
  Descriptor parent_;                   // of the target
  const Descriptor* place_ = &parent_;  // where the staging folder is made
  bool placed_ = false;
  // with a lock on it, which tells others that its maker lives, in whatever process namespace
  Descriptor folder_;
};

}  // namespace gptq
