// ThreadPool: every index once, faults and cancellation reported, no deadlock however it is called.
#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mutex>
#include <numeric>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/cpu_quota.h"
#include "base/error.h"
#include "support/test_data.h"

namespace gptq {
namespace {

TEST(ThreadPool, VisitsEveryIndexOnceInChunksOfGrain) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (int64_t count : {0, 1, 2, 7, 64, 1000}) {
      for (int64_t grain : {0, 1, 3, 64, 5000}) {
        std::vector<std::atomic<int>> visits(static_cast<size_t>(count));
        std::atomic<bool> aligned{true};
        pool.parallel_for(count, grain, [&](int64_t begin, int64_t end) {
          const int64_t chunk = std::max<int64_t>(grain, 1);
          if (begin % chunk != 0 || end != std::min(count, begin + chunk)) aligned = false;
          for (int64_t i = begin; i < end; ++i) ++visits[static_cast<size_t>(i)];
        });
        for (const auto& n : visits) ASSERT_EQ(n, 1) << threads << " " << count << " " << grain;
        EXPECT_TRUE(aligned) << threads << " " << count << " " << grain;
      }
    }
  }
}

TEST(ThreadPool, SpreadsWorkOverItsThreads) {
  ThreadPool pool(3);
  std::mutex mutex;
  std::set<std::thread::id> seen;
  std::atomic<int> arrived{0};
  pool.parallel_for(3, 1, [&](int64_t, int64_t) {
    {
      const std::lock_guard lock(mutex);
      seen.insert(std::this_thread::get_id());
    }
    ++arrived;
    while (arrived < 3) std::this_thread::yield();  // so no thread can take two
  });
  EXPECT_EQ(seen.size(), 3u);
  EXPECT_TRUE(seen.contains(std::this_thread::get_id()));
}

TEST(ThreadPool, OneThreadMeansTheCaller) {
  ThreadPool pool(1);
  pool.parallel_for(100, 1, [caller = std::this_thread::get_id()](int64_t, int64_t) {
    EXPECT_EQ(std::this_thread::get_id(), caller);
  });
}

TEST(ThreadPool, ManyShortJobs) {
  ThreadPool pool(4);
  int64_t sum = 0;
  std::atomic<int64_t> total{0};
  for (int round = 0; round < 20000; ++round) {
    pool.parallel_for(8, 1,
                      [&](int64_t begin, int64_t) { total.fetch_add(begin, std::memory_order_relaxed); });
    sum += 28;
  }
  EXPECT_EQ(total, sum);
}

TEST(ThreadPool, PlainWritesAreSeenByTheCallerAndTheNextJob) {
  ThreadPool pool(4);
  std::vector<int64_t> values(1000);
  for (int round = 1; round <= 200; ++round) {
    pool.parallel_for(1000, 7, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) values[static_cast<size_t>(i)] += i;
    });
    ASSERT_EQ(std::accumulate(values.begin(), values.end(), int64_t{0}), 499500 * round);
  }
}

TEST(ThreadPool, RethrowsAndStaysUsable) {
  for (int threads : {1, 4}) {
    ThreadPool pool(threads);
    std::atomic<int> after{0};
    const auto fail_at_10 = [&](int64_t begin, int64_t) {
      if (begin == 10) throw std::runtime_error("ten");
      if (begin > 10) ++after;
    };
    EXPECT_THROW(pool.parallel_for(100000, 1, fail_at_10), std::runtime_error);
    if (threads == 1) {
      EXPECT_EQ(after, 0);
    }
    std::atomic<int> done{0};
    pool.parallel_for(100, 1, [&](int64_t, int64_t) { ++done; });
    EXPECT_EQ(done, 100);
    EXPECT_THROW(pool.parallel_for(100, 1, [](int64_t, int64_t) { throw 7; }), int);
  }
}

TEST(ThreadPool, CancelStopsBeforeTheNextChunk) {
  for (int threads : {1, 4}) {
    ThreadPool pool(threads);
    std::atomic<bool> cancel{false};
    std::atomic<int> done{0}, late{0};
    const auto cancel_at_50 = [&](int64_t, int64_t) {
      if (cancel) ++late;
      if (++done == 50) cancel = true;
    };
    try {
      pool.parallel_for(int64_t{1} << 40, 1, cancel_at_50, &cancel);
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::cancelled);
    }
    EXPECT_GE(done, 50);
    EXPECT_LT(late, threads);  // a thread may have looked just before it was set
    EXPECT_THROW(pool.parallel_for(
                     1, 1, [](int64_t, int64_t) { FAIL(); }, &cancel),
                 Error);
    cancel = false;
    EXPECT_NO_THROW(pool.parallel_for(
        10, 1, [](int64_t, int64_t) {}, &cancel));
  }
}

TEST(ThreadPool, NestedCallsRunInline) {
  ThreadPool pool(4);
  std::atomic<int> inner{0};
  pool.parallel_for(16, 1, [&](int64_t, int64_t) {
    const auto self = std::this_thread::get_id();
    pool.parallel_for(16, 1, [&](int64_t, int64_t) {
      EXPECT_EQ(std::this_thread::get_id(), self);
      ++inner;
    });
  });
  EXPECT_EQ(inner, 256);
}

TEST(ThreadPool, ConcurrentCallersDoNotWaitForEachOther) {
  ThreadPool pool(2);
  std::atomic<int> total{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      for (int round = 0; round < 500; ++round) pool.parallel_for(10, 1, [&](int64_t, int64_t) { ++total; });
    });
  }
  for (auto& caller : callers) caller.join();
  EXPECT_EQ(total, 4 * 500 * 10);
}

TEST(ThreadPool, WorkersTakeNoSignals) {
  ThreadPool pool(2);
  std::atomic<int> arrived{0};
  std::atomic<bool> blocked{false};
  pool.parallel_for(2, 1, [&, caller = std::this_thread::get_id()](int64_t, int64_t) {
    ++arrived;
    while (arrived < 2) std::this_thread::yield();
    if (std::this_thread::get_id() == caller) return;
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    blocked = sigismember(&mask, SIGINT) == 1 && sigismember(&mask, SIGTERM) == 1;
  });
  EXPECT_TRUE(blocked);
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  EXPECT_EQ(sigismember(&mask, SIGTERM), 0);
}

#if !defined(__SANITIZE_THREAD__)
TEST(ThreadPool, AForkedChildWorksAlone) {
  auto pool = std::make_unique<ThreadPool>(3);
  pool->parallel_for(100, 1, [](int64_t, int64_t) {});
  const pid_t child = fork();
  if (child == 0) {
    std::atomic<int> done{0};
    pool->parallel_for(100, 1, [&](int64_t, int64_t) { ++done; });
    pool.reset();
    _exit(done == 100 ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
#endif

TEST(AvailableCpus, IsPositiveAndAtMostTheMachine) {
  EXPECT_GE(available_cpus(), 1);
  EXPECT_LE(available_cpus(), static_cast<int>(sysconf(_SC_NPROCESSORS_CONF)));
}

TEST(CgroupCpus, VersionTwoTakesTheLeastOfAllAncestors) {
  const test::TemporaryFolder mount;
  test::fs::create_directories(mount / "a/b");
  EXPECT_EQ(cgroup_cpus(mount.path(), "0::/a/b\n"), std::nullopt);
  test::write_file(mount / "a/b/cpu.max", "max 100000\n");
  EXPECT_EQ(cgroup_cpus(mount.path(), "0::/a/b\n"), std::nullopt);
  test::write_file(mount / "a/cpu.max", "250000 100000\n");
  EXPECT_EQ(cgroup_cpus(mount.path(), "0::/a/b\n"), 3);
  test::write_file(mount / "a/b/cpu.max", "50000 100000\n");
  EXPECT_EQ(cgroup_cpus(mount.path(), "0::/a/b\n"), 1);
  EXPECT_EQ(cgroup_cpus(mount.path(), "0::/a\n"), 3);
  test::write_file(mount / "cpu.max", "700000 100000\n");
  EXPECT_EQ(cgroup_cpus(mount.path(), "0::/not/here\n"), 7);
}

TEST(CgroupCpus, VersionOne) {
  const test::TemporaryFolder mount;
  test::fs::create_directories(mount / "cpu/docker/x");
  test::write_file(mount / "cpu/docker/x/cpu.cfs_quota_us", "400000\n");
  test::write_file(mount / "cpu/docker/x/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cgroup_cpus(mount.path(), "5:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n"), 4);
  test::write_file(mount / "cpu/docker/x/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(cgroup_cpus(mount.path(), "4:cpu,cpuacct:/docker/x\n"), std::nullopt);
}

TEST(CgroupCpus, NonsenseIsNoQuota) {
  const test::TemporaryFolder mount;
  for (std::string_view text : {"", "\n\n", "0", "0:", "0::", "::::", "abc", "0::/../../..", "1:cpu"}) {
    EXPECT_EQ(cgroup_cpus(mount.path(), text), std::nullopt) << text;
  }
  for (std::string_view text : {"", "x", "0 0", "-5 100", "100", "99999999999999999999 1"}) {
    test::write_file(mount / "cpu.max", text);
    EXPECT_EQ(cgroup_cpus(mount.path(), "0::/\n"), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace gptq
