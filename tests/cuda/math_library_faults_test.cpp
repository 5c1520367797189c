// How libraries are opened: where memory ends on the way, where the one who reads the log asks back, and what becomes of them
// when the process ends.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <future>
#include <iterator>
#include <new>
#include <optional>

#include "cuda/cublas.h"
#include "cuda/cusolver.h"
#include "cuda/step_queue.h"
#include "failing_new.h"
#include "library_support.h"

namespace gptq::cuda {
namespace {

constexpr const char* kFunctions[] = {"cublasCreate_v2", "cublasDestroy_v2", "cublasSetStream_v2",
                                      "cublasGemmEx"};

TEST(MathLibraryTest, OpensAgainWhereMemoryHasEnded) {
  const std::vector<std::string> names = {"/nowhere/libcublas.so", "libm.so.6", fake::kBlas};
  int failed = 0;
  for (bool ends = true; ends; ++failed) {
    ASSERT_LT(failed, 1000);
    MathLibrary library("cuBLAS", names);
    void* addresses[std::size(kFunctions)]{};
    test::allocations_left = failed;
    try {
      library.open(kFunctions, addresses);
      ends = test::allocations_left == 0;  // else more are left than it takes
    } catch (const std::bad_alloc&) {
    }
    test::allocations_left = -1;
    std::fill(std::begin(addresses), std::end(addresses), nullptr);
    ASSERT_TRUE(library.open(kFunctions, addresses)) << "allocation " << failed;
    for (const void* address : addresses) ASSERT_NE(address, nullptr) << "allocation " << failed;
    ASSERT_EQ(library.name(), fake::kBlas);
  }
  EXPECT_GT(failed, 5);
}

TEST(MathLibraryTest, AnswersWhoIsTold) {
  static std::future<std::string> name;
  static bool answers = false;
  MathLibrary library("cuBLAS", {fake::kBlas});
  set_log_level(LogLevel::debug);
  set_log_sink(
      [](void* of, int32_t, const char*, int64_t) {
        name = std::async(std::launch::async, [of] { return static_cast<MathLibrary*>(of)->name(); });
        answers = name.wait_for(std::chrono::seconds(20)) == std::future_status::ready;
      },
      &library);
  void* addresses[std::size(kFunctions)];
  const bool is_open = library.open(kFunctions, addresses);
  set_log_sink(nullptr, nullptr);
  set_log_level(LogLevel::info);
  EXPECT_TRUE(is_open);
  EXPECT_TRUE(answers);
  EXPECT_EQ(name.get(), fake::kBlas);
}

struct Used {
  HostDeviceState state;
  std::shared_ptr<Device> device = create_host_device(state);
  StepQueue queue{device};
  Cublas blas{std::make_shared<MathLibrary>("cuBLAS", test::some_libraries().blas), device, queue};
  Cusolver solver{std::make_shared<MathLibrary>("cuSOLVER", test::some_libraries().solver), device, queue};
};

/// Ends the process with what uses libraries in a static object, which is older than they.
[[noreturn]] void exit_with_libraries() {
  static std::optional<Used> used;
  used.emplace();
  bool is_ready = false;
  {
    const Turn turn(used->queue);
    is_ready = used->blas.is_ready() && used->solver.is_ready();
  }
  std::exit(is_ready ? 0 : 1);
}

TEST(MathLibraryDeathTest, LeavesLibrariesAloneAtTheEnd) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // in a process that has not opened them yet
  EXPECT_EXIT(exit_with_libraries(), testing::ExitedWithCode(0), "");
}

TEST(MathLibraryTest, IsClosedBeforeTheEnd) {
  fake::Control &blas = fake::control_of(fake::kBlas), &solver = fake::control_of(fake::kSolver);
  const int blas_handles = blas.handles, solver_handles = solver.handles;
  {
    Used used;
    const Turn turn(used.queue);
    ASSERT_TRUE(used.blas.is_ready() && used.solver.is_ready());
    EXPECT_EQ(blas.handles, blas_handles + 1);
    EXPECT_EQ(solver.handles, solver_handles + 2);
  }
  EXPECT_EQ(blas.handles, blas_handles);
  EXPECT_EQ(solver.handles, solver_handles);
}

}  // namespace
}  // namespace gptq::cuda
