#include "base/output_target.h"

#include <unistd.h>

#include <cerrno>

#include "base/error.h"
#include "base/folder.h"
#include "base/system_text.h"
#include "base/text.h"

namespace gptq {

fs::path resolve_target(const fs::path& given) {
  if (given.empty()) throw Error(Status::invalid_argument, "output folder: empty path");
  std::error_code failed;
  fs::path whole = absolute_path(given);
  if (!whole.has_filename()) whole = whole.parent_path();
  if (path_kind(whole) != PathKind::absent) {  // also links, "." and ".."
    whole = real_path(whole);
    if (whole.empty()) fail_at(given, "resolve", errno);
    if (!whole.has_filename())
      throw Error(Fault::exists, cat(quoted(whole.native()), ": is the root folder"));
    return whole;
  }
  if (fs::is_symlink(fs::symlink_status(whole, failed))) {
    throw Error(Fault::exists, cat(quoted(whole.native(), 400), ": is a link to nothing"));
  }
  const fs::path parent = real_path(whole.parent_path());
  if (parent.empty() && errno != ENOENT && errno != ENOTDIR) fail_at(whole.parent_path(), "resolve", errno);
  if (parent.empty() || path_kind(parent) != PathKind::folder) {
    throw Error(Fault::io, cat(quoted(whole.native(), 400), ": its parent folder ",
                               quoted(whole.parent_path().native(), 400), " does not exist"));
  }
  return join(parent, whole.filename().native());
}

void check_target(const fs::path& target, Overwrite overwrite) {
  const PathKind now = path_kind(target);
  if (now == PathKind::absent) return;
  if (now != PathKind::folder) {
    throw Error(Fault::exists, cat(quoted(target.native(), 400), ": is there already and is not a folder"));
  }
  if (overwrite == Overwrite::no && !list_folder(target).empty()) {
    throw Error(Fault::exists, cat(quoted(target.native(), 400),
                                   ": is there already and not empty; option 'overwrite' = 1 replaces it"));
  }
}

int sync_folder(const Descriptor& folder) {
  const int error = retry([&] { return ::fsync(folder.get()); }) != 0 ? errno : 0;
  return error != EINVAL ? error : 0;  // EINVAL: this file system can't sync folders
}

}  // namespace gptq
