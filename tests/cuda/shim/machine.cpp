#include "machine.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "fibre.h"

namespace gptq::shim {
namespace {

constexpr int kWarp = 32;
constexpr size_t kStackBytes = size_t{96} << 10;
constexpr uint64_t kMostYields = 20'000'000;  // in sequence: nobody will come

struct Copy {
  std::byte* to;
  const std::byte* from;
  int bytes;
};

struct Warp;
struct Block;

struct Lane {
  Fibre fibre;
  Block* block = nullptr;
  Warp* warp = nullptr;
  int index = 0;  // in the warp
  std::vector<Copy> copies;
  std::vector<size_t> groups;                          // ends of committed groups in `copies`
  std::vector<std::pair<uintptr_t, size_t>> accesses;  // since the warp last met
};

struct Warp {
  int number = 0;  // in the block
  std::array<Lane, kWarp> lanes;
  uint32_t ready = 0;    // lanes that can go on
  uint32_t arrived = 0;  // lanes at `together`
  void (*together)(void* const*) = nullptr;
  std::array<void*, kWarp> arguments{};
};

struct Block {
  int x = 0, y = 0, z = 0;
  std::vector<std::unique_ptr<Warp>> warps;
  std::unique_ptr<std::byte, decltype(&std::free)> shared{nullptr, &std::free};
  std::unique_ptr<std::byte, decltype(&std::free)> stacks{nullptr, &std::free};
  int waiting = 0, finished = 0;  // threads
};

struct Machine {
  Behaviour behaviour;
  uint64_t random = 1;
  Grid grid;
  const std::function<void()>* kernel = nullptr;
  std::vector<std::unique_ptr<Block>> blocks;  // resident; kept from launch to launch
  Fibre scheduler;
  Lane* running = nullptr;
  uint64_t yields = 0;
  std::string fault;
  Counts counts;

  uint64_t next() {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    return random;
  }
};

Machine& machine() {
  thread_local Machine the_machine;
  return the_machine;
}

std::byte* aligned(size_t bytes) {
  void* p = nullptr;
  if (posix_memalign(&p, 128, std::max<size_t>(bytes, 128)) != 0) throw std::bad_alloc();
  return static_cast<std::byte*>(p);
}

void leave() {
  Machine& m = machine();
  m.running->fibre.switch_to(m.scheduler);
}

void thread_main(void* lane) {
  auto& self = *static_cast<Lane*>(lane);
  (*machine().kernel)();
  if (!self.copies.empty()) misuse("a thread ends before the copies that it began");
  Block& block = *self.block;
  ++block.finished;
  if (block.waiting > 0) misuse("a thread ends while others wait for it at a barrier");
  leave();
  std::abort();
}

void fill_block(Machine& m, Block& block, int number) {
  const auto warps = static_cast<size_t>(m.grid.threads / kWarp);
  block.x = number % m.grid.x;
  block.y = number / m.grid.x % m.grid.y;
  block.z = number / m.grid.x / m.grid.y;
  block.waiting = block.finished = 0;
  if (block.warps.size() < warps) {
    block.stacks.reset(aligned(warps * kWarp * kStackBytes));
    while (block.warps.size() < warps) block.warps.push_back(std::make_unique<Warp>());
  }
  // of just these bytes, so that AddressSanitizer sees what is read behind them
  block.shared.reset(aligned(m.grid.shared_bytes));
  std::memset(block.shared.get(), 0xFF, m.grid.shared_bytes);
  for (size_t w = 0; w < warps; ++w) {
    Warp& warp = *block.warps[w];
    warp.number = static_cast<int>(w);
    warp.ready = ~0u;
    warp.arrived = 0;
    for (int l = 0; l < kWarp; ++l) {
      Lane& lane = warp.lanes[static_cast<size_t>(l)];
      lane.block = &block;
      lane.warp = &warp;
      lane.index = l;
      lane.copies.clear();
      lane.groups.clear();
      lane.accesses.clear();
      lane.fibre.prepare(block.stacks.get() + (w * kWarp + static_cast<size_t>(l)) * kStackBytes, kStackBytes,
                         thread_main, &lane);
    }
  }
}

/// Lets the lanes of the warp that can go on do so, once each, in an order of its own.
void run_warp(Machine& m, Warp& warp) {
  const uint64_t random = m.next();
  const auto start = static_cast<int>(random % kWarp), step = static_cast<int>(random / kWarp % 16 * 2 + 1);
  for (int i = 0; i < kWarp && m.fault.empty(); ++i) {
    const int l = (start + i * step) % kWarp;
    if ((warp.ready >> l & 1) == 0) continue;
    warp.ready &= ~(1u << l);
    m.running = &warp.lanes[static_cast<size_t>(l)];
    m.scheduler.switch_to(m.running->fibre);
  }
}

void schedule(Machine& m) {
  const int total = m.grid.x * m.grid.y * m.grid.z;
  const int resident = m.grid.all_resident ? total : std::min(total, m.behaviour.resident_blocks);
  const int warps = m.grid.threads / kWarp;
  while (static_cast<int>(m.blocks.size()) < resident) m.blocks.push_back(std::make_unique<Block>());
  std::vector<Block*> live;
  int next = 0;
  for (; next < resident; ++next) {
    live.push_back(m.blocks[static_cast<size_t>(next)].get());
    fill_block(m, *live.back(), next);
  }
  while (!live.empty()) {
    // a block from a random place, and in it the first warp from a random place that can go on
    bool found = false;
    const size_t first = m.next() % live.size();
    for (size_t i = 0; i < live.size() && !found; ++i) {
      Block& block = *live[(first + i) % live.size()];
      const auto from = static_cast<int>(m.next() % static_cast<uint64_t>(warps));
      for (int w = 0; w < warps && !found; ++w) {
        Warp& warp = *block.warps[static_cast<size_t>((from + w) % warps)];
        if (warp.ready == 0) continue;
        found = true;
        run_warp(m, warp);
      }
      if (!m.fault.empty()) return;
      if (block.finished < m.grid.threads) continue;
      const auto at = std::find(live.begin(), live.end(), &block);
      if (next < total) {
        fill_block(m, block, next++);
      } else {
        live.erase(at);
      }
      break;
    }
    if (!found && !live.empty()) {
      m.fault = "threads wait for each other without end";
      return;
    }
  }
}

/// Cycles on top of the first one that `count` addresses take, of accesses that make at most 128 bytes.
uint64_t extra_cycles(const uintptr_t* addresses, int count, size_t bytes) {
  uint32_t words[32][8];
  int used[32] = {};
  int most = 1;
  for (int i = 0; i < count; ++i) {
    for (size_t b = 0; b < bytes; b += 4) {
      const auto word = static_cast<uint32_t>((addresses[i] + b) / 4);
      uint32_t* const bank = words[word % 32];
      int& n = used[word % 32];
      if (std::find(bank, bank + n, word) != bank + n) continue;
      if (n < 8) bank[n++] = word;
      most = std::max(most, n);
    }
  }
  return static_cast<uint64_t>(most - 1);
}

/// The lanes' n-th accesses since they last met were one instruction.
void count_accesses(Warp& warp) {
  size_t most = 0;
  for (const Lane& lane : warp.lanes) most = std::max(most, lane.accesses.size());
  Counts& counts = machine().counts;
  for (size_t n = 0; n < most; ++n) {
    uintptr_t addresses[kWarp];
    int count = 0;
    size_t bytes = 16;
    const auto flush = [&] {
      if (count == 0) return;
      ++counts.accesses;
      counts.conflicts += extra_cycles(addresses, count, bytes);
      count = 0;
    };
    for (int l = 0; l < kWarp; ++l) {
      const Lane& lane = warp.lanes[static_cast<size_t>(l)];
      if (n >= lane.accesses.size()) continue;
      bytes = lane.accesses[n].second;
      addresses[count++] = lane.accesses[n].first;
      if ((static_cast<size_t>(l) + 1) * bytes % 128 == 0) flush();
    }
    flush();
  }
  for (Lane& lane : warp.lanes) lane.accesses.clear();
}

}  // namespace

void behave(const Behaviour& behaviour) {
  Machine& m = machine();
  m.behaviour = behaviour;
  m.random = behaviour.seed * 0x9E3779B97F4A7C15u | 1;
}

Counts counts() { return machine().counts; }
void reset_counts() { machine().counts = {}; }

void run(const Grid& grid, const std::function<void()>& kernel) {
  Machine& m = machine();
  if (m.running != nullptr) throw Misuse("a kernel launches a kernel");
  if (grid.threads < kWarp || grid.threads > 1024 || grid.threads % kWarp != 0)
    throw Misuse("a block of " + std::to_string(grid.threads) + " threads");
  if (grid.x < 1 || grid.y < 1 || grid.z < 1 || grid.y > 65535 || grid.z > 65535)
    throw Misuse("a grid of " + std::to_string(grid.x) + " x " + std::to_string(grid.y) + " x " +
                 std::to_string(grid.z));
  if (grid.shared_bytes > (size_t{99} << 10)) throw Misuse("more shared memory than sm_86 has");
  m.grid = grid;
  m.kernel = &kernel;
  m.yields = 0;
  m.fault.clear();
  ++m.counts.launches;
  schedule(m);
  m.running = nullptr;
  if (!m.fault.empty()) throw Misuse(m.fault);
}

Place place() {
  const Lane& lane = *machine().running;
  return {lane.warp->number * kWarp + lane.index, lane.block->x, lane.block->y, lane.block->z};
}

Grid grid() { return machine().grid; }
std::byte* shared_memory() { return machine().running->block->shared.get(); }

/// What is on the fibre's stack is never destroyed, as it does not go on: nothing there may keep memory.
void misuse(std::string what) {
  Machine& m = machine();
  const Place at = place();
  m.fault = what + " (thread " + std::to_string(at.thread) + " of block " + std::to_string(at.block_x) +
            ", " + std::to_string(at.block_y) + ", " + std::to_string(at.block_z) + ")";
  std::string().swap(what);
  leave();
  std::abort();
}

void check_aligned(const void* p, size_t bytes, const char* what) {
  if (reinterpret_cast<uintptr_t>(p) % bytes != 0)
    misuse(std::string(what) + ": the address is not a multiple of " + std::to_string(bytes));
}

void with_warp(void (*together)(void* const*), void* argument) {
  Machine& m = machine();
  m.yields = 0;
  Lane& lane = *m.running;
  Warp& warp = *lane.warp;
  if (warp.arrived == 0) {
    warp.together = together;
  } else if (warp.together != together) {
    misuse("lanes of a warp are at different instructions");
  }
  warp.arguments[static_cast<size_t>(lane.index)] = argument;
  warp.arrived |= 1u << lane.index;
  if (warp.arrived != ~0u) return leave();
  warp.arrived = 0;
  count_accesses(warp);
  together(warp.arguments.data());
  warp.ready = ~0u & ~(1u << lane.index);
}

void sync_block() {
  with_warp([](void* const*) {}, nullptr);
  Machine& m = machine();
  Block& block = *m.running->block;
  if (block.finished > 0) misuse("a barrier that a thread has left for good");
  if (++block.waiting < m.grid.threads) return leave();
  block.waiting = 0;
  for (int w = 0; w < m.grid.threads / kWarp; ++w) block.warps[static_cast<size_t>(w)]->ready = ~0u;
  m.running->warp->ready &= ~(1u << m.running->index);
}

void yield() {
  Machine& m = machine();
  if (++m.yields > kMostYields) misuse("a thread waits for what does not come");
  m.running->warp->ready |= 1u << m.running->index;
  leave();
}

void copy_begin(void* shared, const void* global, int bytes) {
  Lane& lane = *machine().running;
  const auto* const memory = lane.block->shared.get();
  const auto* const to = static_cast<const std::byte*>(shared);
  check_aligned(shared, 16, "cp.async to shared memory");
  check_aligned(global, 16, "cp.async from global memory");
  if (to < memory || to + 16 > memory + machine().grid.shared_bytes)
    misuse("cp.async to where shared memory is not");
  if (bytes != 0 && bytes != 16) misuse("cp.async of a part");
  std::memset(shared, 0xFF, 16);
  lane.copies.push_back({static_cast<std::byte*>(shared), static_cast<const std::byte*>(global), bytes});
}

void copy_commit() {
  Lane& lane = *machine().running;
  lane.groups.push_back(lane.copies.size());
}

void copy_wait(int left) {
  Lane& lane = *machine().running;
  if (lane.groups.size() <= static_cast<size_t>(left)) return;
  const size_t done = lane.groups.size() - static_cast<size_t>(left), end = lane.groups[done - 1];
  for (size_t i = 0; i < end; ++i) {
    const Copy& copy = lane.copies[i];
    std::memset(copy.to, 0, 16);
    if (copy.bytes > 0) std::memcpy(copy.to, copy.from, static_cast<size_t>(copy.bytes));
  }
  lane.copies.erase(lane.copies.begin(), lane.copies.begin() + static_cast<std::ptrdiff_t>(end));
  lane.groups.erase(lane.groups.begin(), lane.groups.begin() + static_cast<std::ptrdiff_t>(done));
  for (size_t& group : lane.groups) group -= end;
}

void note_access(const void* shared, size_t bytes) {
  Lane& lane = *machine().running;
  check_aligned(shared, bytes, "a vector in shared memory");
  lane.accesses.emplace_back(reinterpret_cast<uintptr_t>(shared), bytes);
}

void note_matrices(void* const* rows) {
  Counts& counts = machine().counts;
  for (int i = 0; i < kWarp; i += 8) {
    uintptr_t addresses[8];
    for (int j = 0; j < 8; ++j) addresses[j] = reinterpret_cast<uintptr_t>(rows[i + j]);
    ++counts.accesses;
    counts.conflicts += extra_cycles(addresses, 8, 16);
  }
}

void note_multiply() { ++machine().counts.multiplies; }

}  // namespace gptq::shim
