#include "base/folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "base/system_text.h"

namespace gptq {
namespace {

constexpr int kDeepest = 8;  // of the folders that are removed: each level takes a buffer of the stack

/// Calls visit(name) for all but "." and ".."; 0, or the errno.
template <class Visit>
int each_name(const Descriptor& folder, const Visit& visit) {
  alignas(dirent64) char entries[2048];
  if (::lseek(folder.get(), 0, SEEK_SET) != 0) return errno;
  while (true) {
    const ssize_t size = retry([&] { return ::getdents64(folder.get(), entries, sizeof entries); });
    if (size <= 0) return size < 0 ? errno : 0;
    for (ssize_t at = 0; at < size;) {
      const auto* entry = reinterpret_cast<const dirent64*>(entries + at);
      at += entry->d_reclen;
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") visit(entry->d_name);
    }
  }
}

void remove_contents(const Descriptor& folder, int depth) {
  bool removed;
  do {  // again, as the system may pass over some when others go
    removed = false;
    each_name(folder, [&](const char* name) {
      if (::unlinkat(folder.get(), name, 0) == 0) {
        removed = true;
      } else if ((errno == EISDIR || errno == EPERM) && depth < kDeepest) {
        const Descriptor inner(::openat(folder.get(), name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
        if (inner.get() < 0) return;
        remove_contents(inner, depth + 1);
        removed |= ::unlinkat(folder.get(), name, AT_REMOVEDIR) == 0;
      }
    });
  } while (removed);
}

}  // namespace

std::filesystem::path join(const std::filesystem::path& folder, std::string_view name) {
  const std::string& parent = folder.native();
  return cat(parent, parent.empty() || parent.ends_with('/') ? "" : "/", name);
}

std::filesystem::path absolute_path(const std::filesystem::path& path) {
  if (path.empty() || path.native().starts_with('/')) return path;
  char here[PATH_MAX];
  if (::getcwd(here, sizeof here) == nullptr) fail_at(path, "resolve", errno);
  return join(here, path.native());
}

std::filesystem::path real_path(const std::filesystem::path& path) {
  char whole[PATH_MAX];
  return ::realpath(path.c_str(), whole) != nullptr ? whole : "";
}

Descriptor open_folder(const std::filesystem::path& path) {
  return Descriptor(
      retry([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW); }));
}

Descriptor open_folder(const Descriptor& parent, const std::string& name) {
  return Descriptor(retry(
      [&] { return ::openat(parent.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW); }));
}

std::vector<std::string> list_folder(const std::filesystem::path& path) {
  const Descriptor folder(retry([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (folder.get() < 0) {
    if (errno == ENOENT) throw Error(Status::not_found, cat(quoted(path.native(), 400), ": no such folder"));
    fail_at(path, "open this folder", errno);
  }
  return list_folder(folder, path);
}

std::vector<std::string> list_folder(const Descriptor& folder, const std::filesystem::path& path) {
  std::vector<std::string> names;
  const int error = each_name(folder, [&](const char* name) { names.emplace_back(name); });
  if (error != 0) fail_at(path, "list this folder", error);
  std::sort(names.begin(), names.end());
  return names;
}

int check_named(const Descriptor& folder, const Descriptor& parent, const std::string& name) {
  struct stat here, named;
  if (::fstat(folder.get(), &here) != 0) return errno;
  if (::fstatat(parent.get(), name.c_str(), &named, AT_SYMLINK_NOFOLLOW) != 0) return errno;
  return here.st_dev == named.st_dev && here.st_ino == named.st_ino ? 0 : ESTALE;
}

bool remove_folder(const Descriptor& parent, const std::string& name, const Descriptor& folder) {
  if (folder.get() < 0) return false;
  remove_contents(folder, 0);
  const bool taken = check_named(folder, parent, name) == ESTALE;
  if (taken) errno = ESTALE;
  return !taken && ::unlinkat(parent.get(), name.c_str(), AT_REMOVEDIR) == 0;
}

}  // namespace gptq
