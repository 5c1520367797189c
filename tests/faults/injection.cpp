#include "injection.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>

#define GPTQ_TEST_REPLACES extern "C" __attribute__((visibility("default")))

// where the C library keeps what is replaced here
extern "C" void* __libc_malloc(size_t size);
extern "C" void* __libc_calloc(size_t count, size_t size);
extern "C" void* __libc_realloc(void* block, size_t size);
extern "C" void* __libc_memalign(size_t alignment, size_t size);
extern "C" void __libc_free(void* block);

namespace gptq::test {
namespace {

/// Counts calls and says which of them fail.
struct Trigger {
  std::atomic<bool> armed{false};
  std::atomic<int64_t> calls{0}, failed{0};
  int64_t first = 0;
  Failing failing = Failing::nth;

  void arm(int64_t n, Failing which) {
    calls = failed = 0;
    first = n;
    failing = which;
    armed.store(true, std::memory_order_release);
  }
  Injected disarm() {
    armed = false;
    return {calls, failed};
  }
  bool fires() {
    if (!armed.load(std::memory_order_acquire)) return false;
    const int64_t call = ++calls;
    if (failing == Failing::nth ? call != first : call < first) return false;
    ++failed;
    return true;
  }
};

Trigger memory, threads, files;
size_t smallest_block = 0;
std::atomic<int64_t> live{0};
FileFault file_fault = FileFault::error;
int file_error = 0;
std::atomic<const char*> failed_function{""};

bool memory_fails(size_t bytes) {
  if (bytes < smallest_block || !memory.fires()) return false;
  errno = ENOMEM;
  return true;
}

void* counted(void* block) {
  if (block != nullptr) live.fetch_add(1, std::memory_order_relaxed);
  return block;
}

/// True: the call must return -1 with errno set.
bool file_fails(const char* function) {
  if (!files.fires()) return false;
  if (files.failed == 1) failed_function = function;
  if (file_fault == FileFault::kill) raise(SIGKILL);
  errno = file_error;
  return file_fault == FileFault::error;
}

/// For calls that clean up, where a failure is no error.
void kill_here(const char* function) {
  if (file_fault == FileFault::kill) file_fails(function);
}

/// Bytes that a read or write may move; -1: it must return that.
ssize_t allowed(const char* function, size_t size) {
  const int64_t failed = files.failed;
  if (file_fails(function)) return -1;
  if (files.failed == failed || !files.armed) return static_cast<ssize_t>(size);
  return file_fault == FileFault::nothing ? 0 : static_cast<ssize_t>(std::max<size_t>(size / 2, 1));
}

template <class... Arguments>
long call(long number, Arguments... arguments) {
  return syscall(number, arguments...);
}

}  // namespace

void arm_memory(int64_t n, Failing failing, size_t smallest) {
  smallest_block = smallest;
  memory.arm(n, failing);
}
Injected disarm_memory() { return memory.disarm(); }
int64_t live_blocks() { return live; }
void arm_threads(int64_t n) { threads.arm(n, Failing::from_nth); }
Injected disarm_threads() { return threads.disarm(); }

void arm_files(int64_t n, Failing failing, FileFault fault, int code) {
  file_fault = fault;
  file_error = code;
  failed_function = "";
  files.arm(n, failing);
}
Injected disarm_files() { return files.disarm(); }
const char* first_failed() { return failed_function; }

}  // namespace gptq::test

using namespace gptq::test;

GPTQ_TEST_REPLACES void* malloc(size_t size) {
  return memory_fails(size) ? nullptr : counted(__libc_malloc(size));
}
GPTQ_TEST_REPLACES void* calloc(size_t count, size_t size) {
  return memory_fails(count * size) ? nullptr : counted(__libc_calloc(count, size));
}
GPTQ_TEST_REPLACES void* realloc(void* block, size_t size) {
  if (memory_fails(size)) return nullptr;
  void* moved = __libc_realloc(block, size);
  if (block == nullptr) return counted(moved);
  if (moved == nullptr && size == 0) --live;
  return moved;
}
GPTQ_TEST_REPLACES void* aligned_alloc(size_t alignment, size_t size) {
  return memory_fails(size) ? nullptr : counted(__libc_memalign(alignment, size));
}
GPTQ_TEST_REPLACES void* memalign(size_t alignment, size_t size) { return aligned_alloc(alignment, size); }
GPTQ_TEST_REPLACES int posix_memalign(void** block, size_t alignment, size_t size) {
  void* made = aligned_alloc(alignment, size);
  if (made == nullptr) return ENOMEM;
  *block = made;
  return 0;
}
GPTQ_TEST_REPLACES void free(void* block) {
  if (block != nullptr) live.fetch_sub(1, std::memory_order_relaxed);
  __libc_free(block);
}

GPTQ_TEST_REPLACES int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                                      void* (*routine)(void*), void* argument) {
  if (threads.fires()) return EAGAIN;
  using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const auto create = reinterpret_cast<Create>(dlsym(RTLD_NEXT, "pthread_create"));
  return create(thread, attributes, routine, argument);
}

GPTQ_TEST_REPLACES void* mmap(void* at, size_t size, int protection, int flags, int file, off_t offset) {
  if (memory_fails(size)) return MAP_FAILED;
  if (file >= 0 && file_fails("mmap")) return MAP_FAILED;
  return reinterpret_cast<void*>(call(SYS_mmap, at, size, protection, flags, file, offset));
}

GPTQ_TEST_REPLACES int open(const char* path, int flags, ...) {
  __builtin_va_list rest;
  __builtin_va_start(rest, flags);
  const int mode = (flags & O_CREAT) != 0 ? __builtin_va_arg(rest, int) : 0;
  __builtin_va_end(rest);
  if (file_fails((flags & O_CREAT) != 0 ? "open to write" : "open")) return -1;
  return static_cast<int>(call(SYS_openat, AT_FDCWD, path, flags, mode));
}
GPTQ_TEST_REPLACES int openat(int folder, const char* path, int flags, ...) {
  __builtin_va_list rest;
  __builtin_va_start(rest, flags);
  const int mode = (flags & O_CREAT) != 0 ? __builtin_va_arg(rest, int) : 0;
  __builtin_va_end(rest);
  if (file_fails((flags & O_CREAT) != 0 ? "open to write" : "openat")) return -1;
  return static_cast<int>(call(SYS_openat, folder, path, flags, mode));
}
GPTQ_TEST_REPLACES int close(int file) {
  const bool fails = file_fails("close");
  const int error = errno;
  const auto closed = static_cast<int>(call(SYS_close, file));
  if (!fails) return closed;
  errno = error;
  return -1;
}
GPTQ_TEST_REPLACES ssize_t read(int file, void* bytes, size_t size) {
  const ssize_t most = allowed("read", size);
  return most < 0 ? -1 : call(SYS_read, file, bytes, most);
}
GPTQ_TEST_REPLACES ssize_t pread(int file, void* bytes, size_t size, off_t offset) {
  const ssize_t most = allowed("pread", size);
  return most < 0 ? -1 : call(SYS_pread64, file, bytes, most, offset);
}
GPTQ_TEST_REPLACES ssize_t pwrite(int file, const void* bytes, size_t size, off_t offset) {
  const ssize_t most = allowed("pwrite", size);
  return most < 0 ? -1 : call(SYS_pwrite64, file, bytes, most, offset);
}
/// No power is cut here: the disk need not be waited for some thousand times.
GPTQ_TEST_REPLACES int fsync(int file) {
  return file_fails("fsync") ? -1 : fcntl(file, F_GETFD) < 0 ? -1 : 0;
}
GPTQ_TEST_REPLACES int fallocate(int file, int mode, off_t offset, off_t length) {
  return file_fails("fallocate") ? -1 : static_cast<int>(call(SYS_fallocate, file, mode, offset, length));
}
GPTQ_TEST_REPLACES int ftruncate(int file, off_t length) noexcept {
  return file_fails("ftruncate") ? -1 : static_cast<int>(call(SYS_ftruncate, file, length));
}
GPTQ_TEST_REPLACES int fchmod(int file, mode_t mode) noexcept {
  return file_fails("fchmod") ? -1 : static_cast<int>(call(SYS_fchmod, file, mode));
}
GPTQ_TEST_REPLACES int mkdir(const char* path, mode_t mode) noexcept {
  return file_fails("mkdir") ? -1 : static_cast<int>(call(SYS_mkdirat, AT_FDCWD, path, mode));
}
GPTQ_TEST_REPLACES int mkdirat(int folder, const char* path, mode_t mode) noexcept {
  return file_fails("mkdir") ? -1 : static_cast<int>(call(SYS_mkdirat, folder, path, mode));
}
GPTQ_TEST_REPLACES int renameat(int from_folder, const char* from, int to_folder, const char* to) noexcept {
  return file_fails("rename") ? -1
                              : static_cast<int>(call(SYS_renameat2, from_folder, from, to_folder, to, 0));
}
GPTQ_TEST_REPLACES int rename(const char* from, const char* to) noexcept {
  return file_fails("rename") ? -1 : static_cast<int>(call(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
}
GPTQ_TEST_REPLACES int renameat2(int from_folder, const char* from, int to_folder, const char* to,
                                 unsigned flags) noexcept {
  return file_fails("renameat2")
             ? -1
             : static_cast<int>(call(SYS_renameat2, from_folder, from, to_folder, to, flags));
}
GPTQ_TEST_REPLACES int unlink(const char* path) noexcept {
  return file_fails("unlink") ? -1 : static_cast<int>(call(SYS_unlinkat, AT_FDCWD, path, 0));
}
GPTQ_TEST_REPLACES int unlinkat(int folder, const char* name, int flags) noexcept {
  kill_here("unlinkat");
  return static_cast<int>(call(SYS_unlinkat, folder, name, flags));
}
GPTQ_TEST_REPLACES int rmdir(const char* path) noexcept {
  kill_here("rmdir");
  return static_cast<int>(call(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR));
}
GPTQ_TEST_REPLACES int fstat(int file, struct stat* out) noexcept {
  return file_fails("fstat") ? -1 : static_cast<int>(call(SYS_newfstatat, file, "", out, AT_EMPTY_PATH));
}
/// Beyond fstat(), only to see that a name is still that of an open folder.
GPTQ_TEST_REPLACES int fstatat(int folder, const char* path, struct stat* out, int flags) noexcept {
  kill_here("fstatat");
  return static_cast<int>(call(SYS_newfstatat, folder, path, out, flags));
}
GPTQ_TEST_REPLACES int stat(const char* path, struct stat* out) noexcept {
  return file_fails("stat") ? -1 : static_cast<int>(call(SYS_newfstatat, AT_FDCWD, path, out, 0));
}
