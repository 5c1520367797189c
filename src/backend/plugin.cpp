#include "backend/plugin.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <mutex>
#include <new>

#include "base/descriptor.h"
#include "base/error.h"
#include "base/system_text.h"
#include "base/text.h"

namespace gptq {
namespace {

constexpr char kFile[] = "libgptq-cuda.so", kEntry[] = "gptq_plugin";

std::mutex loading;
const PluginTable* loaded = nullptr;  // guarded by `loading`

/// "the plugin 'PATH' is ..."
[[noreturn]] void refuse(Status status, const std::string& path, std::string_view why) {
  throw Error(status, cat("the plugin ", quoted(path, 400), ' ', why));
}

/// The library, or the program, that this function is in.
std::string own_path() {
  static const char here = 0;
  Dl_info info{};
  // a program is known by the name that it was called by, which may be no path
  const char* name = dladdr(&here, &info) != 0 ? info.dli_fname : nullptr;
  if (name == nullptr || std::strchr(name, '/') == nullptr) name = "/proc/self/exe";
  char path[PATH_MAX];
  return realpath(name, path) != nullptr ? path : name;
}

/// That the file is all there: the system maps one that is cut short, and ends the process where it touches what is not.
void check_whole(const std::string& path) {
  const Descriptor file(retry([&] { return open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); }));
  struct stat status {};
  if (file.get() < 0 || fstat(file.get(), &status) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) refuse(Status::not_found, path, "is not there");
    refuse(Status::unsupported, path, cat("can't be opened: ", system_text(errno)));
  }
  const auto read = [&](void* to, size_t bytes, uint64_t offset) {
    return S_ISREG(status.st_mode) && retry([&] {
                                        return pread(file.get(), to, bytes, static_cast<off_t>(offset));
                                      }) == static_cast<ssize_t>(bytes);
  };
  ElfW(Ehdr) header;
  if (!read(&header, sizeof header, 0) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_phentsize != sizeof(ElfW(Phdr))) {
    refuse(Status::unsupported, path, "can't be opened: it is no library");
  }
  uint64_t end = header.e_phoff + uint64_t{header.e_phnum} * sizeof(ElfW(Phdr));
  for (uint64_t i = 0; i < header.e_phnum; ++i) {
    ElfW(Phdr) segment;
    if (!read(&segment, sizeof segment, header.e_phoff + i * sizeof segment)) break;
    if (segment.p_type == PT_LOAD) end = std::max<uint64_t>(end, segment.p_offset + segment.p_filesz);
  }
  if (end > static_cast<uint64_t>(status.st_size)) {
    refuse(Status::unsupported, path,
           cat("can't be opened: it has ", status.st_size, " bytes, wanted ", end, " or more"));
  }
}

/// dlopen(), looked up: a program that is linked statically has none, where it would load a second C library, and ld warns
/// of its use.
void* open_library(const char* path) {
  using Open = void* (*)(const char*, int);
  const auto open = reinterpret_cast<Open>(dlsym(RTLD_DEFAULT, "dlopen"));
  if (open == nullptr)
    throw Error(Status::unsupported, "a program that is linked statically can't open plugins");
  return open(path, RTLD_NOW | RTLD_LOCAL);
}

/// An open library, closed again unless it is kept.
class Library {
 public:
  explicit Library(const std::string& path) {
    errno = 0;
    handle_ = open_library(path.c_str());
    if (handle_ != nullptr) return;
    if (errno == ENOMEM) throw std::bad_alloc();
    const char* reason = dlerror();
    refuse(Status::unsupported, path,
           cat("can't be opened: ", reason != nullptr ? reason : "no reason given"));
  }
  ~Library() {
    if (handle_ != nullptr) dlclose(handle_);
  }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  PluginEntry entry() const { return reinterpret_cast<PluginEntry>(dlsym(handle_, kEntry)); }
  void keep() { handle_ = nullptr; }

 private:
  void* handle_ = nullptr;
};

/// What it throws is of a type that goes when the plugin is closed.
const PluginTable* table_of(PluginEntry entry) {
  try {
    return entry();
  } catch (...) {
    return nullptr;
  }
}

void log_of_plugin(void*, int32_t level, const char* text, int64_t length) {
  log(static_cast<LogLevel>(level), {text, static_cast<size_t>(length)});
}

}  // namespace

std::string plugin_path() {
  const char* folder = secure_getenv("GPTQ_PLUGIN_PATH");
  if (folder != nullptr && *folder != 0) return cat(folder, '/', kFile);
  const std::string own = own_path();
  return cat(std::string_view(own).substr(0, own.rfind('/')), "/gptq/", kFile);
}

const PluginTable& open_plugin(const std::string& path) {
  check_whole(path);
  Library library(path);
  const PluginEntry entry = library.entry();
  if (entry == nullptr) refuse(Status::unsupported, path, cat("has no function ", kEntry, "()"));
  const PluginTable* table = table_of(entry);
  if (table == nullptr || table->interface == nullptr || table->version == nullptr)
    refuse(Status::unsupported, path, "does not say what it is");
  if (std::strcmp(table->interface, kPluginInterface) != 0) {
    refuse(Status::unsupported, path,
           cat("is of another build: version ", quoted(table->version), ", interface ",
               quoted(table->interface), "; wanted '" GPTQ_VERSION_TEXT "', '", kPluginInterface, '\''));
  }
  library.keep();
  return *table;
}

const PluginTable& cuda_plugin() {
  const std::lock_guard lock(loading);
  if (loaded == nullptr) {
    loaded = &open_plugin(plugin_path());
    loaded->log_to(log_of_plugin);
  }
  return *loaded;
}

}  // namespace gptq
