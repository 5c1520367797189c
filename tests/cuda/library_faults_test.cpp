// Libraries that are not there, lack a function or refuse: the plugin's own kernels do what they don't, and the log says so.
// What is refused with a lasting status is refused to all streams, in passing to one.
#include <numeric>
#include <thread>
#include <utility>

#include "base/error.h"
#include "cuda/cublas.h"
#include "cuda/cusolver.h"
#include "cuda/library_products.h"
#include "library_support.h"
#include "weights_support.h"

namespace gptq::cuda {
namespace {

constexpr int kNotInitialized = 1, kNoMemory = 3, kInvalidValue = 7, kArchitecture = 8, kExecution = 13,
              kInternal = 14, kNotSupported = 15;  // of cuBLAS
constexpr int kSolverNoMemory = 2, kSolverNotSupported = 9;

class LibraryFaultsTest : public LibraryBackendTest {
 protected:
  static constexpr int64_t kOutputs = 37, kCols = 200;
  static constexpr int kCallsBefore = 4;  // a product: a handle, its stream, workspace and mode

  LibraryFaultsTest() {
    blas_.restart();
    solver_.restart();
    bias_ = random_floats(random_, kOutputs);
    const Tensor bias = float_tensor(bias_);
    const QTensor q = random_weights(random_, {.bits = 4, .rows = kOutputs, .cols = kCols});
    on_cpu_ = cpu_->prepare(q, &bias);
    prepare_ = [this, q] {
      const Tensor added = float_tensor(bias_);
      return backend_->prepare(q, &added);
    };
  }
  ~LibraryFaultsTest() override {
    blas_.restart();
    solver_.restart();
  }

  /// A product of many rows on the backend as it is now.
  void expect_product(const std::string& what) {
    const auto weights = prepare_();
    Pair x = make(kLibraryRows, kCols), y = make(kLibraryRows, kOutputs);
    reference_->linear(*on_cpu_, x.cpu, y.cpu);
    stream_->linear(*weights, x.gpu, y.gpu);
    expect_same(y, what, 4 * kRounding, 2.0f);
  }
  void expect_logged_once(const std::string& text) {
    const std::string& said = logged_.text();
    EXPECT_NE(said.find(text), std::string::npos) << "in: " << said;
    EXPECT_EQ(said.find(text), said.rfind(text)) << "more than once in: " << said;
  }

  /// A factor on the backend as it is now, of a Hessian whose factor is known: then weights that are solved with it.
  std::vector<float> solved(float damping) {
    constexpr int64_t kSize = 70;
    Random random(4);
    const std::vector<float> x = random_halves(random, 2 * kSize * kSize);
    const auto memory = stream_->allocate(x.size() * sizeof(uint16_t));
    const Matrix inputs{memory->data(), 2 * kSize, kSize};
    stream_->upload(x.data(), inputs);
    const auto hessian = stream_->create_hessian(kSize);
    stream_->hessian_add(inputs, *hessian);
    std::vector<int32_t> order(kSize), group_of(kSize, 0);
    std::iota(order.begin(), order.end(), 0);
    const std::vector<float> add(kSize, damping);
    const auto factor = stream_->factor(*hessian, order, add);
    std::vector<float> weights;
    if (factor == nullptr) return weights;
    for (int64_t i = 0; i < 3 * kSize; ++i) weights.push_back(std::sin(static_cast<float>(i)));
    std::vector<float> scales(3);
    std::vector<uint8_t> codes(weights.size());
    std::vector<uint16_t> zeros(3);
    SolveProblem problem{.rows = 3,
                         .cols = kSize,
                         .groups = 1,
                         .weights = weights.data(),
                         .group_of = group_of.data(),
                         .codes = codes.data(),
                         .scales = scales.data(),
                         .zeros = zeros.data()};
    stream_->solve(factor.get(), {.bits = 8}, problem);
    return weights;
  }

  fake::Control &blas_ = fake::control_of(fake::kBlas), &solver_ = fake::control_of(fake::kSolver);
  std::vector<float> bias_;
  std::unique_ptr<Linear> on_cpu_;
  std::function<std::unique_ptr<Linear>()> prepare_;
};

TEST_F(LibraryFaultsTest, IsNotThere) {
  use({.blas = {"/nowhere/libcublas.so.13", "/nowhere/libcublas.so.12"}, .solver = {}});
  for (int i = 0; i < 2; ++i) expect_product("without cuBLAS");
  EXPECT_EQ(blas_.calls, 0);
  expect_logged_once(
      "cuBLAS is not used, but the plugin's own kernels: /nowhere/libcublas.so.13: cannot open");
  expect_logged_once("/nowhere/libcublas.so.12");
}

TEST_F(LibraryFaultsTest, IsNotWanted) {
  use({});
  expect_product("without cuBLAS");
  EXPECT_EQ(logged_.text(), "");
}

TEST_F(LibraryFaultsTest, LacksAFunction) {
  use({.blas = {"libm.so.6"}, .solver = {}});
  expect_product("with another library");
  EXPECT_EQ(blas_.calls, 0);
  expect_logged_once("libm.so.6 has no cublasCreate_v2");
}

TEST_F(LibraryFaultsTest, TakesTheFirstThatIsOfUse) {
  use({.blas = {"/nowhere/libcublas.so.13", "libm.so.6", fake::kBlas}, .solver = {}});
  expect_product("with cuBLAS");
  EXPECT_EQ(blas_.computations, 1);
  EXPECT_EQ(logged_.text(), "");
}

TEST_F(LibraryFaultsTest, RefusesAtEachCall) {
  expect_product("with cuBLAS");
  const int calls = blas_.calls;
  EXPECT_EQ(calls, kCallsBefore + 1);
  for (int at = 1; at <= calls + 1; ++at) {
    blas_.restart(at, kNotSupported);
    logged_.clear();
    use(test::some_libraries());
    for (int i = 0; i < 3; ++i) expect_product("refused from call " + std::to_string(at) + " on");
    EXPECT_EQ(blas_.calls, at) << "asked again";
    EXPECT_EQ(blas_.handles, 0);
    expect_logged_once("cuBLAS is not used from here on, but the plugin's own kernels: cublas");
    expect_logged_once("status");
  }
  use({});
  EXPECT_EQ(blas_.handles, 0);
}

/// What another stream was refused for good.
TEST_F(LibraryFaultsTest, RefusesAnotherStream) {
  use(test::some_libraries());
  expect_product("with cuBLAS");
  const auto first = std::exchange(stream_, backend_->create_stream(&cancel_));
  blas_.restart(kCallsBefore + 1, kInvalidValue);
  expect_product("refused");
  EXPECT_EQ(blas_.handles, 1) << "that of the first stream alone";
  const size_t used = state_.used;
  const auto weights = prepare_();
  Pair x = make(kLibraryRows, kCols), y = make(kLibraryRows, kOutputs);
  first->linear(*weights, x.gpu, y.gpu);
  EXPECT_EQ(blas_.calls, kCallsBefore + 1) << "asked again";
  EXPECT_EQ(blas_.handles, 0);
  EXPECT_LT(state_.used, used - Cublas::kWorkspaceBytes / 2);
}

/// Of several panels some are computed when it refuses.
TEST_F(LibraryFaultsTest, RefusesBetweenPanels) {
  const auto device = create_host_device(state_);
  StepQueue queue(device);
  const Turn turn(queue);
  Random random(5);
  const PackedWeights packed = pack(random_weights(random, {.rows = 48, .cols = 64}));
  Activations x(Element::bf16, random_floats(random, kLibraryRows * 64)), y(Element::bf16, kLibraryRows * 48);
  const size_t used = state_.used;
  for (int at = kCallsBefore + 1; at <= kCallsBefore + 4; ++at) {
    blas_.restart(at, kInvalidValue);
    const auto library = std::make_shared<MathLibrary>("cuBLAS", test::some_libraries().blas);
    LibraryProducts products(library, device, queue, {.panel_bytes = 16 * 64 * 2});
    EXPECT_EQ(
        products.multiply(turn.queue(), Element::bf16, view_of(packed), x.data(), kLibraryRows, y.data()),
        at == kCallsBefore + 4);
    EXPECT_EQ(library->is_given_up(), at < kCallsBefore + 4);
    EXPECT_EQ(state_.used == used, at < kCallsBefore + 4) << "it keeps what it does not need any more";
    EXPECT_EQ(blas_.computations, at - kCallsBefore - 1);
  }
}

/// What was added stays, and nothing is added twice; where it is not known what was added, nothing goes on.
TEST_F(LibraryFaultsTest, RefusesBetweenSums) {
  constexpr int64_t kSize = 140, kRows = kMostChain + 40;
  const auto device = create_host_device(state_);
  StepQueue queue(device);
  const Turn turn(queue);
  Random random(6);
  Activations x(Element::bf16, random_floats(random, kRows * kSize));
  const auto sums = [&](const std::shared_ptr<MathLibrary>& library) {
    LibraryProducts products(library, device, queue, {.least_panel = 128});
    std::vector<float> c(kSize * kSize, 100.0f);
    products.add_products(turn.queue(), Element::bf16, x.data(), kSize, x.data(), kSize, kRows, 1,
                          Wanted::upper, c.data());
    for (int64_t i = 0; i < kSize; ++i) std::fill_n(c.begin() + i * kSize, i, 0.0f);
    return c;
  };
  const std::vector<float> want = sums(std::make_shared<MathLibrary>("cuBLAS", std::vector<std::string>()));
  for (const int status :
       {kNotInitialized, kNoMemory, kInvalidValue, kArchitecture, kExecution, kInternal, kNotSupported}) {
    const bool is_open = status == kExecution || status == kInternal;
    const bool is_lasting = status == kInvalidValue || status == kArchitecture || status == kNotSupported;
    for (int at = kCallsBefore + 1; at <= kCallsBefore + 5; ++at) {  // two panels of each of two pieces
      const bool is_refused = at < kCallsBefore + 5;
      const std::string what = "status " + std::to_string(status) + " at call " + std::to_string(at);
      blas_.restart(at, status);
      const auto library = std::make_shared<MathLibrary>("cuBLAS", test::some_libraries().blas);
      if (is_refused && is_open) {
        try {
          sums(library);
          ADD_FAILURE() << what;
        } catch (const Error& error) {
          EXPECT_EQ(error.status(), Status::device) << what;
          EXPECT_NE(std::string(error.what()).find("may have been added"), std::string::npos) << error.what();
        }
      } else {
        expect_near(sums(library), want, 1e-4f, 1, what);
      }
      EXPECT_EQ(library->is_given_up(), is_refused && is_lasting) << what;
      EXPECT_EQ(blas_.computations, at - kCallsBefore - 1) << what;
    }
  }
}

/// One product without it, and the next with it; another stream does not hear of it.
TEST_F(LibraryFaultsTest, RefusesOnce) {
  for (const int status : {kNotInitialized, kNoMemory, kExecution, kInternal}) {
    for (int at = 1; at <= kCallsBefore + 1; ++at) {
      const std::string what = "status " + std::to_string(status) + " at call " + std::to_string(at);
      blas_.restart(at, status, 1);
      logged_.clear();
      use(test::some_libraries());
      expect_product(what);
      EXPECT_EQ(blas_.computations, 0) << what;
      EXPECT_EQ(blas_.handles, at > kCallsBefore ? 1 : 0) << what;
      expect_logged_once("for once cuBLAS is not used");
      for (int i = 1; i <= 2; ++i) {
        expect_product("after " + what);
        EXPECT_EQ(blas_.computations, i) << what;
      }
      EXPECT_EQ(logged_.text().find("from here on"), std::string::npos) << logged_.text();
    }
  }
}

/// A stream that is always refused asks no more; one that is begun then does.
TEST_F(LibraryFaultsTest, RefusesAStreamAlways) {
  constexpr int kMost = 3;  // one after the other
  for (int at = 1; at <= kCallsBefore + 1; ++at) {
    const std::string what = "refused from call " + std::to_string(at) + " on";
    blas_.restart(at, kNoMemory);
    logged_.clear();
    use(test::some_libraries());
    const size_t used = state_.used;
    int calls = 0;
    for (int i = 0; i < kMost + 2; ++i) {
      expect_product(what);
      if (i + 1 == kMost) calls = blas_.calls;
    }
    EXPECT_EQ(blas_.calls, calls) << what << ": asked again";
    EXPECT_GE(calls, at + kMost - 1) << what;
    EXPECT_EQ(blas_.handles, 0) << what;
    EXPECT_LT(state_.used, used + Cublas::kWorkspaceBytes) << what;
    expect_logged_once("for once cuBLAS is not used");
    expect_logged_once("cuBLAS is not asked by a stream any more, but the plugin's own kernels: cublas");
    blas_.restart();
    stream_ = backend_->create_stream(&cancel_);
    expect_product("by another stream");
    EXPECT_EQ(blas_.computations, 1) << what;
  }
}

/// Refused now and then, however often.
TEST_F(LibraryFaultsTest, RefusesInBetween) {
  for (int i = 0; i < 5; ++i) {
    expect_product("before");
    blas_.restart(1, kNoMemory, 2);
    for (int j = 0; j < 2; ++j) expect_product("refused");
    EXPECT_EQ(blas_.computations, 0);
    blas_.restart();
    expect_product("after");
    EXPECT_EQ(blas_.computations, 1);
  }
}

/// What cuBLAS and cuSOLVER say after a kernel's fault is no fault of theirs.
TEST_F(LibraryFaultsTest, AreNotBlamedForAKernel) {
  const auto weights = prepare_();
  Pair x = make(kLibraryRows, kCols), y = make(kLibraryRows, kOutputs);
  const auto expect_fault = [&](const std::function<void()>& op) {
    state_.has_fault = true;
    try {
      op();
      ADD_FAILURE() << "no fault is found";
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::device);
      EXPECT_STREQ(error.what(), "a kernel had a fault");
    }
    state_.has_fault = false;
    EXPECT_EQ(logged_.text(), "");
  };
  for (int at = 1; at <= kCallsBefore + 1; ++at) {
    blas_.restart(at, kInvalidValue);
    use(test::some_libraries());
    expect_fault([&] { stream_->linear(*weights, x.gpu, y.gpu); });
    blas_.restart();
    expect_product("after it");
    EXPECT_EQ(blas_.computations, 1);
  }
  const auto device = create_host_device(state_);
  StepQueue queue(device);
  std::vector<float> one = {1};
  for (int at = 1; at <= 5; ++at) {
    solver_.restart(at, kSolverNotSupported);
    Cusolver solver(std::make_shared<MathLibrary>("cuSOLVER", test::some_libraries().solver), device, queue);
    const Turn turn(queue);
    expect_fault([&] { solver.factor(one.data(), 1); });
    solver_.restart();
    EXPECT_TRUE(solver.is_ready());
  }
}

TEST_F(LibraryFaultsTest, HasNoRoom) {
  for (const size_t room : {Cublas::kWorkspaceBytes - 1, Cublas::kWorkspaceBytes + 100}) {
    blas_.restart();
    logged_.clear();
    use(test::some_libraries());
    const auto weights = prepare_();
    Pair x = make(kLibraryRows, kCols), y = make(kLibraryRows, kOutputs);
    stream_->linear(*weights, {x.gpu.data, 16, kCols}, {y.gpu.data, 16, kOutputs});  // has its scratch memory
    state_.limit = state_.used + room;
    for (int i = 0; i < 2; ++i) {
      reference_->linear(*on_cpu_, x.cpu, y.cpu);
      stream_->linear(*weights, x.gpu, y.gpu);
      expect_same(y, "without room", 4 * kRounding, 2.0f);
    }
    EXPECT_LE(state_.used, state_.limit - room);
    EXPECT_EQ(blas_.handles, 0);
    state_.limit = SIZE_MAX;
    EXPECT_EQ(blas_.computations, 0);
    expect_logged_once("the device has no");
    stream_ = backend_->create_stream(&cancel_);  // another may have more of it
    stream_->linear(*weights, x.gpu, y.gpu);
    EXPECT_EQ(blas_.computations, 1);
  }
}

/// Memory that an op needs, where cuBLAS and cuSOLVER have it.
TEST_F(LibraryFaultsTest, GivesItsRoomBack) {
  solved(1);
  expect_product("with cuBLAS");
  EXPECT_EQ(blas_.handles, 1);
  EXPECT_GT(solver_.handles, 0);
  state_.limit = state_.used + 1000;
  const auto needed = stream_->allocate(Cublas::kWorkspaceBytes);
  EXPECT_EQ(blas_.handles, 0);
  EXPECT_EQ(solver_.handles, 0);
  expect_logged_once("goes on without cuBLAS and cuSOLVER");
  EXPECT_THROW(stream_->allocate(Cublas::kWorkspaceBytes), Error);
  state_.limit = SIZE_MAX;
  expect_product("without cuBLAS");
  EXPECT_EQ(blas_.computations, 1 + 1);  // a Hessian and a product, before
}

TEST_F(LibraryFaultsTest, IsNotAskedForFewRowsNorInSteps) {
  const auto weights = prepare_();
  Pair x = make(2 * kLibraryRows, kCols), y = make(2 * kLibraryRows, kOutputs);
  for (const int64_t rows : {int64_t{1}, int64_t{16}, kLibraryRows - 1})
    stream_->linear(*weights, {x.gpu.data, rows, kCols}, {y.gpu.data, rows, kOutputs});
  stream_->step(kMostStepRows, [&] { stream_->linear(*weights, x.gpu, y.gpu); });
  EXPECT_EQ(blas_.calls, 0);
  reference_->linear(*on_cpu_, x.cpu, y.cpu);
  expect_same(y, "a step", 4 * kRounding, 2.0f);
  stream_->step(2 * kLibraryRows, [&] { stream_->linear(*weights, x.gpu, y.gpu); });  // which is none
  EXPECT_EQ(blas_.computations, 1);
  expect_same(y, "a large step", 4 * kRounding, 2.0f);
}

TEST_F(LibraryFaultsTest, HasAHandleForEachStream) {
  use(test::some_libraries());
  const int handles = blas_.handles;
  const auto weights = prepare_();
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      const auto stream = backend_->create_stream(nullptr);
      const auto memory =
          stream->allocate(static_cast<size_t>(kLibraryRows * (kCols + kOutputs)) * sizeof(uint16_t));
      const Matrix x{memory->data(), kLibraryRows, kCols},
          y{memory->data() + static_cast<size_t>(kLibraryRows * kCols) * sizeof(uint16_t), kLibraryRows,
            kOutputs};
      stream->clear(x);
      for (int j = 0; j < 2; ++j) stream->linear(*weights, x, y);
      std::vector<float> got(static_cast<size_t>(kLibraryRows * kOutputs));
      stream->download(y, got.data());
      for (size_t j = 0; j < got.size(); ++j)
        ASSERT_EQ(got[j], bf16_to_float(float_to_bf16(bias_[j % kOutputs])));
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(blas_.creations, 3);
  EXPECT_EQ(blas_.handles, handles);
  EXPECT_EQ(blas_.computations, 6);
}

TEST_F(LibraryFaultsTest, RefusesToFactor) {
  use({});
  const std::vector<float> want = solved(1);
  EXPECT_EQ(solver_.calls, 0);
  use(test::some_libraries());
  expect_near(solved(1), want, 1e-2f, 1, "with cuSOLVER");
  const int calls = solver_.calls;
  EXPECT_EQ(calls, 5);  // a handle, its stream, parameters, a size, a factorization
  EXPECT_EQ(solver_.computations, 1);
  for (int at = 1; at <= calls; ++at) {
    solver_.restart(at, kSolverNotSupported);
    logged_.clear();
    use(test::some_libraries());
    for (int i = 0; i < 2; ++i) EXPECT_EQ(solved(1), want) << "refused from call " << at << " on";
    EXPECT_EQ(solver_.calls, at) << "asked again";
    expect_logged_once("cuSOLVER is not used from here on");
  }
  solver_.restart();
  solver_.wrong_argument = 6;
  logged_.clear();
  use(test::some_libraries());
  for (int i = 0; i < 2; ++i) EXPECT_EQ(solved(1), want) << "a wrong argument";
  EXPECT_EQ(solver_.computations, 1);
  expect_logged_once("cusolverDnXpotrf() finds argument 6 wrong");
  use({});
  EXPECT_EQ(solver_.handles, 0);
}

TEST_F(LibraryFaultsTest, RefusesToFactorOnce) {
  use({});
  const std::vector<float> want = solved(1);
  for (int at = 1; at <= 5; ++at) {
    for (const int many : {1, 100}) {
      solver_.restart(at, kSolverNoMemory, many);
      logged_.clear();
      use(test::some_libraries());
      EXPECT_EQ(solved(1), want) << "refused at call " << at;
      EXPECT_EQ(solver_.computations, 0);
      for (int i = 0; i < 3; ++i) solved(1);
      EXPECT_EQ(solver_.computations, many == 1 ? 3 : 0);
      EXPECT_EQ(solver_.handles, many == 1 ? 2 : 0);
      expect_logged_once("for once cuSOLVER is not used");
      if (many > 1) expect_logged_once("cuSOLVER is not asked by a stream any more");
      EXPECT_EQ(logged_.text().find("from here on"), std::string::npos) << logged_.text();
    }
  }
}

TEST_F(LibraryFaultsTest, FindsThatThereIsNoFactor) {
  for (const float damping : {-1e6f, NAN, INFINITY}) {
    logged_.clear();
    EXPECT_EQ(solved(damping), std::vector<float>()) << damping;
    EXPECT_EQ(logged_.text(), "");
  }
  EXPECT_EQ(solver_.computations, 3);
}

/// What the factorization itself needs.
TEST_F(LibraryFaultsTest, HasNoRoomToFactor) {
  use({});
  const std::vector<float> want = solved(1);
  solver_.device_bytes = size_t{1} << 40;
  use(test::some_libraries());
  state_.limit = size_t{64} << 20;
  for (int i = 0; i < 2; ++i) EXPECT_EQ(solved(1), want);
  state_.limit = SIZE_MAX;
  EXPECT_EQ(solver_.computations, 0);
  solver_.restart();
  expect_near(solved(1), want, 1e-2f, 1, "with room again");
  EXPECT_EQ(solver_.computations, 1);
}

}  // namespace
}  // namespace gptq::cuda
