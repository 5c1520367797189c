// A hidden folder beside an output, ".NAME.unfinished", for what shall outlive a process that is killed: locked by the
// one process that works in it, found again by the next. All that is done in it goes by the locked folder, not by its path.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/descriptor.h"
#include "base/file.h"

namespace gptq {

class WorkFolder {
 public:
  /// Checks the target as StagedFolder does, then makes the folder, or opens the one that an earlier process left.
  /// Status::busy with the number of the process that works in it, if one does; a lock whose process is dead holds
  /// nobody up.
  WorkFolder(const fs::path& target, Overwrite overwrite);
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;
  ~WorkFolder();  // removes the folder, unless keep() was called

  const fs::path& path() const { return path_; }
  const Descriptor& descriptor() const { return folder_; }
  void keep() { kept_ = true; }
  void remove() { kept_ = false; }

  /// The file has the old contents or the new ones whatever happens meanwhile; on return the new ones are on disk, and
  /// so are the names of all files made before.
  void replace_file(const std::string& name, std::string_view contents);
  /// No error where there is none.
  void remove_file(const std::string& name);
  /// A new one, in the place of one that is there.
  FileWriter create_file(const std::string& name);
  /// Empty where there is none.
  std::optional<File> open_file(const std::string& name) const;

 private:
  bool open();
  void lock();
  void write_owner();
  pid_t find_owner() const;
  [[noreturn]] void refuse_busy();

  fs::path path_;
  std::string name_;   // in parent_
  Descriptor parent_;  // of the target
  Descriptor folder_;  // locked
  bool ours_ = false;  // made or locked by this object
  bool kept_ = false;
};

}  // namespace gptq
