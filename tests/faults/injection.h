// Faults on order: this executable's own malloc(), pthread_create() and file functions take the place of the C library's,
// for the libraries too, and fail when told to.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gptq::test {

/// Which of the calls that are counted from arm_*() on fail.
enum class Failing : uint8_t { nth, from_nth };

struct Injected {
  int64_t calls = 0, failed = 0;  // since arm_*()
};

/// Allocations of at least `smallest` bytes, mappings included, count, and fail with ENOMEM.
void arm_memory(int64_t n, Failing failing, size_t smallest = 0);
Injected disarm_memory();
/// Blocks from malloc() and its like that were not given back yet.
int64_t live_blocks();

/// pthread_create() fails with EAGAIN from the nth call on.
void arm_threads(int64_t n);
Injected disarm_threads();

/// What happens to a call on a file. Those that only fit some calls (short_count, nothing) leave others alone.
enum class FileFault : uint8_t {
  error,        // -1 with `code`; close() closes nevertheless
  short_count,  // reads and writes move half of what they could
  nothing,      // reads and writes move 0 bytes
  kill,         // SIGKILL before the call
};

/// All file functions of injection.cpp count; those that only clean up (unlinkat, rmdir) with FileFault::kill alone.
void arm_files(int64_t n, Failing failing, FileFault fault, int code = 0);
Injected disarm_files();
/// The function that failed first, "pwrite" for example.
const char* first_failed();

}  // namespace gptq::test
