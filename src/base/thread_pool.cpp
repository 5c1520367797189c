// One job at a time, offered to all threads through a gate. Each thread has a run of chunks, so that it reads memory in
// order, and when they are done takes what is left of those of others.
// Threads that wake late find the gate closed, so the caller never waits for a thread that did no work.
#include "base/thread_pool.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <system_error>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/pause_cpu.h"
#include "base/signals_blocked.h"

namespace gptq {
namespace {

constexpr auto kSpinTime = std::chrono::microseconds(30);  // about what a futex wake costs

/// Spins until `ready()` for a bounded time; says whether it became so.
template <class Ready>
bool spin_until(const Ready& ready) {
  const auto end = std::chrono::steady_clock::now() + kSpinTime;
  do {
    for (int i = 0; i < 32; ++i) {
      if (ready()) return true;
      pause_cpu();
    }
  } while (std::chrono::steady_clock::now() < end);
  return ready();
}

using Body = std::function<void(int64_t, int64_t)>;

/// Chunks [next, end) that are left of a thread's run; next may go beyond the end.
struct alignas(64) Run {
  std::atomic<int64_t> next{0};
  int64_t end = 0;
};

struct Job {
  explicit Job(int threads) : runs(static_cast<size_t>(threads)) {}

  const Body* body = nullptr;
  const std::atomic<bool>* cancel = nullptr;
  int64_t count = 0, grain = 1;
  std::vector<Run> runs;  // [thread]
  std::atomic<bool> stopped{false}, failed{false}, cancelled{false};
  std::exception_ptr error;  // written by the one that set `failed`

  void begin(int64_t n, int64_t chunk_size, const Body& work, const std::atomic<bool>* flag) {
    body = &work;
    cancel = flag;
    count = n;
    grain = std::max<int64_t>(chunk_size, 1);
    const int64_t chunks = (count - 1) / grain + 1;
    const auto threads = static_cast<int64_t>(runs.size());
    for (int64_t t = 0; t < threads; ++t) {
      Run& run = runs[static_cast<size_t>(t)];
      // like chunks * t / threads, which could overflow
      const auto first = [&](int64_t i) { return chunks / threads * i + std::min(i, chunks % threads); };
      run.next.store(first(t), std::memory_order_relaxed);
      run.end = first(t + 1);
    }
    stopped.store(false, std::memory_order_relaxed);
    failed.store(false, std::memory_order_relaxed);
    cancelled.store(false, std::memory_order_relaxed);
    error = nullptr;
  }

  /// As thread number `own`, 0 the caller.
  void work(size_t own) noexcept {
    for (size_t i = 0; i < runs.size(); ++i) take(runs[(own + i) % runs.size()]);
  }

  void take(Run& run) noexcept {
    if (run.next.load(std::memory_order_relaxed) >= run.end)
      return;  // without a write that all others would see
    while (!stopped.load(std::memory_order_relaxed)) {
      const int64_t chunk = run.next.fetch_add(1, std::memory_order_relaxed);
      if (chunk >= run.end) return;
      if (cancel != nullptr && cancel->load(std::memory_order_relaxed)) {
        cancelled.store(true, std::memory_order_relaxed);
        stopped.store(true, std::memory_order_relaxed);
        return;
      }
      try {
        const int64_t first = chunk * grain;
        (*body)(first, count - first < grain ? count : first + grain);
      } catch (...) {
        if (!failed.exchange(true)) error = std::current_exception();
        stopped.store(true, std::memory_order_relaxed);
      }
    }
  }

  /// After the last thread has left.
  void finish() {
    if (error != nullptr) std::rethrow_exception(std::exchange(error, nullptr));
    if (cancelled.load(std::memory_order_relaxed)) throw Error(Status::cancelled, "cancelled");
  }
};

void work_alone(int64_t count, int64_t grain, const Body& body, const std::atomic<bool>* cancel) {
  for (int64_t first = 0; first < count;) {
    if (cancel != nullptr && cancel->load(std::memory_order_relaxed))
      throw Error(Status::cancelled, "cancelled");
    const int64_t end = count - first < grain ? count : first + grain;
    body(first, end);
    first = end;
  }
}

constexpr uint32_t kOpen = 0x80000000u;

}  // namespace

struct ThreadPool::State {
  State(int n, Executor host) : threads(std::max(n, 1)), executor(host), job(threads) {}

  const int threads;
  const Executor executor;
  std::atomic<bool> busy{false};
  std::atomic<bool> ending{false};
  std::atomic<uint32_t> epoch{0};  // one per job; what idle threads wait on
  std::atomic<uint32_t> gate{0};   // kOpen | threads inside, the caller not counted
  Job job;
  std::vector<std::thread> workers;
  pid_t process = 0;

  void start() {
    if (!workers.empty() || process != 0) return;
    process = ::getpid();
    const SignalsBlocked blocked;
    try {
      workers.reserve(static_cast<size_t>(threads) - 1);
      for (int i = 1; i < threads; ++i) workers.emplace_back([this, i] { serve(static_cast<size_t>(i)); });
    } catch (const std::exception&) {
      // the system gives no more threads, or no memory for them: those there are do the work
    }
  }

  void serve(size_t number) {
    pthread_setname_np(pthread_self(), "gptq");
    uint32_t seen = 0;
    while (true) {
      const auto called = [&] { return epoch.load(std::memory_order_acquire) != seen; };
      if (!spin_until(called)) epoch.wait(seen, std::memory_order_acquire);
      seen = epoch.load(std::memory_order_acquire);
      if (ending.load(std::memory_order_acquire)) return;
      if (!enter()) continue;
      job.work(number);
      gate.fetch_sub(1, std::memory_order_acq_rel);
      gate.notify_one();
    }
  }

  bool enter() {
    uint32_t now = gate.load(std::memory_order_relaxed);
    while ((now & kOpen) != 0) {
      if (gate.compare_exchange_weak(now, now + 1, std::memory_order_acquire, std::memory_order_relaxed))
        return true;
    }
    return false;
  }

  void run_by_own() {
    start();
    open_gate();
    job.work(0);
    close_gate();
  }

  void run_by_host() {
    executor.run(
        executor.user_data, threads,
        [](void* job, int64_t index) { static_cast<Job*>(job)->work(static_cast<size_t>(index)); }, &job);
    job.work(0);  // what it has left out
  }

  void open_gate() {
    gate.store(kOpen, std::memory_order_release);
    epoch.fetch_add(1, std::memory_order_release);
    epoch.notify_all();
  }

  void close_gate() {
    uint32_t now = gate.fetch_and(~kOpen, std::memory_order_acq_rel) & ~kOpen;
    const auto all_left = [&] { return (now = gate.load(std::memory_order_acquire)) == 0; };
    if (now == 0 || spin_until(all_left)) return;
    while (!all_left()) gate.wait(now, std::memory_order_acquire);
  }
};

ThreadPool::ThreadPool(int threads, Executor executor) : state_(std::make_unique<State>(threads, executor)) {}

ThreadPool::~ThreadPool() {
  if (!state_->workers.empty() && state_->process != ::getpid()) {
    // a forked child has the pool's memory but not its threads, and their names may be those of new ones by now
    static_cast<void>(state_.release());
    return;
  }
  state_->ending.store(true, std::memory_order_release);
  state_->epoch.fetch_add(1, std::memory_order_release);
  state_->epoch.notify_all();
  for (std::thread& worker : state_->workers) worker.join();
}

int ThreadPool::threads() const { return state_->threads; }

void ThreadPool::parallel_for(int64_t count, int64_t grain, const Body& body,
                              const std::atomic<bool>* cancel) {
  if (count <= 0) return;
  State& state = *state_;
  const bool alone = state.threads == 1 || count <= grain;
  if (alone || state.busy.exchange(true, std::memory_order_acquire)) {
    return work_alone(count, std::max<int64_t>(grain, 1), body, cancel);
  }
  struct Release {
    std::atomic<bool>& busy;
    ~Release() { busy.store(false, std::memory_order_release); }
  } const release{state.busy};
  state.job.begin(count, grain, body, cancel);
  state.executor.run != nullptr ? state.run_by_host() : state.run_by_own();
  state.job.finish();
}

}  // namespace gptq
