// A machine that runs CUDA kernels compiled as C++: a fibre for each thread, and what a GPU leaves open decided in the
// worst way that a seed can find.
//
// Threads run one at a time, in an order that the seed gives, from one place where they wait for each other to the next.
// Blocks that are resident at the same time take turns. Shared memory is NaN at first. Copies that were begun poison their
// destination and arrive at the wait for them. A thread that finds what is not allowed (an address that is not
// aligned, lanes of a warp at different instructions, a barrier that a thread has left for good) ends the launch
// with a Misuse.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>

namespace gptq::shim {

struct Misuse : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Grid {
  int x = 1, y = 1, z = 1;
  int threads = 32;
  size_t shared_bytes = 0;
  bool all_resident = false;  // blocks wait for each other
};

/// How the machine is to behave from now on, on this thread.
struct Behaviour {
  uint64_t seed = 1;
  int resident_blocks = 3;
};
void behave(const Behaviour& behaviour);

/// Whether counts() has anything: not where the same tests run on a GPU (tests/gpu/machine.h).
inline constexpr bool kCounts = true;

/// Accesses of 8 and 16 bytes to shared memory by warps, counted until the next reset_counts().
struct Counts {
  uint64_t accesses = 0;   // cycles that they take when no two lanes want the same bank
  uint64_t conflicts = 0;  // cycles on top of those
  uint64_t multiplies = 0, launches = 0;
};
Counts counts();
void reset_counts();

/// Calls `kernel` for each thread of the grid.
void run(const Grid& grid, const std::function<void()>& kernel);

// ---- for device_twins.h

struct Place {
  int thread, block_x, block_y, block_z;
};
Place place();
Grid grid();
std::byte* shared_memory();

/// Ends the launch; returns to nobody.
[[noreturn]] void misuse(std::string what);
/// Fails unless `p` is a multiple of `bytes`.
void check_aligned(const void* p, size_t bytes, const char* what);

/// Waits until all lanes of the warp are here with the same function, which is called once with the argument of each.
void with_warp(void (*together)(void* const* arguments), void* argument);
void sync_block();
/// Others go on first.
void yield();

void copy_begin(void* shared, const void* global, int bytes);
void copy_commit();
void copy_wait(int left);

/// An access to shared memory by one lane, to be compared with those of the other lanes.
void note_access(const void* shared, size_t bytes);
void note_matrices(void* const* rows);
void note_multiply();

}  // namespace gptq::shim
