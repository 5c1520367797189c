// ThreadPool on threads of the host, whatever these do with what they are given.
#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"

namespace gptq {
namespace {

using Task = void (*)(void* context, int64_t index);

void count_call(void* calls) { ++*static_cast<std::atomic<int>*>(calls); }

void last_first(void* calls, int64_t count, Task task, void* context) {
  count_call(calls);
  while (count > 0) task(context, --count);
}

void all_at_once(void* calls, int64_t count, Task task, void* context) {
  count_call(calls);
  std::vector<std::thread> threads;
  for (int64_t i = 0; i < count; ++i) threads.emplace_back([=] { task(context, i); });
  for (std::thread& thread : threads) thread.join();
}

/// Against what it has promised.
void none(void* calls, int64_t, Task, void*) { count_call(calls); }

class HostThreads : public testing::TestWithParam<decltype(Executor::run)> {
 protected:
  std::atomic<int> calls_{0};
  ThreadPool pool_{3, {GetParam(), &calls_}};
};

TEST_P(HostThreads, VisitEveryIndexOnce) {
  for (int64_t count : {1, 2, 3, 7, 1000}) {
    std::vector<std::atomic<int>> visits(static_cast<size_t>(count));
    pool_.parallel_for(count, 2, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) ++visits[static_cast<size_t>(i)];
    });
    for (const auto& n : visits) ASSERT_EQ(n, 1) << count;
  }
  EXPECT_EQ(calls_, 3) << "one for each count above the grain";
}

TEST_P(HostThreads, FaultsAndCancelsComeBack) {
  EXPECT_THROW(pool_.parallel_for(100, 1, [](int64_t, int64_t) { throw std::runtime_error("no"); }),
               std::runtime_error);
  std::atomic<bool> cancel{false};
  EXPECT_THROW(pool_.parallel_for(
                   1000, 1, [&](int64_t, int64_t) { cancel = true; }, &cancel),
               Error);
  std::atomic<int> done{0};
  pool_.parallel_for(100, 1, [&](int64_t, int64_t) { ++done; });
  EXPECT_EQ(done, 100);
}

TEST_P(HostThreads, NestedCallsRunInline) {
  std::atomic<int> done{0};
  pool_.parallel_for(4, 1,
                     [&](int64_t, int64_t) { pool_.parallel_for(10, 1, [&](int64_t, int64_t) { ++done; }); });
  EXPECT_EQ(done, 40);
  EXPECT_EQ(calls_, 1);
}

INSTANTIATE_TEST_SUITE_P(Executors, HostThreads, testing::Values(last_first, all_at_once, none));

TEST(HostThreads, TakeThePlaceOfOwnOnes) {
  std::atomic<int> calls{0};
  ThreadPool pool(8, {last_first, &calls});
  std::set<std::thread::id> seen;  // no lock: there is one thread
  pool.parallel_for(1000, 1, [&](int64_t, int64_t) { seen.insert(std::this_thread::get_id()); });
  EXPECT_EQ(seen, std::set{std::this_thread::get_id()});
}

}  // namespace
}  // namespace gptq
