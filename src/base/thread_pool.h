// The library's own threads, or those of the host. Work is split by index ranges, so results never depend on the number of threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "base/executor.h"

namespace gptq {

/// A CPU count that honours affinity and cgroup quota (at least 1).
int available_cpus();

class ThreadPool {
 public:
  /// `threads` >= 1, the caller of parallel_for included. Threads start at the first use, with all signals blocked; none do
  /// where there is an executor: that gets so many tasks instead.
  explicit ThreadPool(int threads, Executor executor = {});
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool();

  int threads() const;

  /// Calls body(begin, end) over [0, count) in chunks of `grain` indices, on all threads, and waits.
  /// The first exception of a chunk is rethrown here after the others stopped. When another thread is using the
  /// pool, the caller does all the work alone: no waiting, no deadlock, the same results.
  /// When `cancel` is not null and becomes true, no further chunk starts and Error(Status::cancelled) is thrown.
  void parallel_for(int64_t count, int64_t grain, const std::function<void(int64_t begin, int64_t end)>& body,
                    const std::atomic<bool>* cancel = nullptr);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gptq
