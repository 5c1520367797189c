// Products of many rows by a library that multiplies plain matrices, against sums in double of the same rounded weights; and
// ops through it against the CPU backend. Without such a library on a GPU there is nothing to test.
#include "cuda/library_products.h"

#include <optional>
#include <tuple>

#include "cuda/cusolver.h"
#include "library_support.h"
#include "weights_support.h"

namespace gptq::cuda {
namespace {

class LibraryProductsTest : public testing::TestWithParam<Element> {
 protected:
  void SetUp() override {
    const Turn turn(queue_);
    if (Cublas(blas_, device_, queue_).is_ready()) return;
    ASSERT_TRUE(is_nowhere(*blas_)) << "cuBLAS is not there, or of no use: " << blas_->name();
    GTEST_SKIP() << "no cuBLAS is here";
  }
  void TearDown() override { expect_no_refusal(logged_); }

  enum class Bias : uint8_t { no, yes };
  void expect_product(const PackedWeights& packed, const std::vector<float>& values, int64_t rows, Bias bias,
                      const std::optional<LibraryProducts::Limits>& limits, const std::string& what) {
    const int64_t outputs = packed.shape.rows, cols = packed.shape.cols;
    Random random(static_cast<uint64_t>(rows + outputs));
    const std::vector<float> biases =
        bias == Bias::yes ? random_floats(random, outputs, 3.0f) : std::vector<float>();
    const Weights w = view_of(packed, biases);
    Activations x(GetParam(), random_floats(random, rows * cols)), y(GetParam(), rows * outputs);
    Activations in(GetParam(), rows * w.inputs());
    const Turn turn(queue_);
    if (w.order != nullptr)
      gather_columns(turn.queue(), GetParam(), x.data(), cols, w.order, w.inputs(), rows, in.data());
    if (limits) cut_.emplace(blas_, device_, queue_, *limits);
    LibraryProducts& products = limits ? *cut_ : products_;
    ASSERT_TRUE(products.multiply(turn.queue(), GetParam(), w, w.order != nullptr ? in.data() : x.data(),
                                  rows, y.data()))
        << what;
    queue_.wait();
    const std::vector<float> from = x.floats(), got = y.floats(),
                             rounded = Activations(GetParam(), values).floats();
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t n = 0; n < outputs; ++n) {
        double sum = bias == Bias::yes ? biases[static_cast<size_t>(n)] : 0, size = std::abs(sum);
        for (int64_t k = 0; k < cols; ++k) {
          const double term = double{from[static_cast<size_t>(i * cols + k)]} *
                              double{rounded[static_cast<size_t>(n * cols + k)]};
          sum += term;
          size += std::abs(term);
        }
        ASSERT_NEAR(got[static_cast<size_t>(i * outputs + n)], sum,
                    1.01 * rounding(GetParam()) * std::abs(sum) + 1e-6 * size + 0x1p-25)
            << what << ": output " << n << " of row " << i;
      }
    }
  }
  void expect_product(const WeightShape& shape, int64_t rows, Bias bias = Bias::no,
                      const std::optional<LibraryProducts::Limits>& limits = {}) {
    Random random(static_cast<uint64_t>(shape.rows * 7 + shape.bits));
    const QTensor q = random_weights(random, shape);
    expect_product(pack(q), dequantized(q), rows, bias, limits,
                   std::to_string(shape.bits) + " bits, " + std::to_string(shape.rows) + " x " +
                       std::to_string(shape.cols) + ", groups of " + std::to_string(shape.group_size));
  }
  void expect_dense(int64_t outputs, int64_t cols, int64_t rows,
                    const std::optional<LibraryProducts::Limits>& limits = {}) {
    Random random(static_cast<uint64_t>(outputs));
    Activations numbers(GetParam(), random_floats(random, outputs * cols));
    expect_product(pack_halves(numbers.data(), outputs, cols), numbers.floats(), rows, Bias::no, limits,
                   "dense");
  }

  /// C = some numbers + sign A^T B.
  void expect_sums(int64_t a_cols, int64_t b_cols, int64_t rows, float sign, Wanted wanted,
                   int64_t least_panel = 1024) {
    Random random(static_cast<uint64_t>(a_cols * rows));
    Activations a(GetParam(), random_floats(random, rows * a_cols));
    Activations other(GetParam(), random_floats(random, wanted == Wanted::all ? rows * b_cols : 0));
    Activations& b = wanted == Wanted::all ? other : a;
    const std::vector<float> before = random_floats(random, a_cols * b_cols), left = a.floats(),
                             right = b.floats();
    std::vector<float> c = before;
    const Turn turn(queue_);
    LibraryProducts products(blas_, device_, queue_, {.least_panel = least_panel});
    products.add_products(turn.queue(), GetParam(), a.data(), a_cols, b.data(), b_cols, rows, sign, wanted,
                          c.data());
    queue_.wait();
    std::vector<double> sums(before.begin(), before.end()), sizes(sums.size());
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = 0; i < a_cols; ++i) {
        for (int64_t j = wanted == Wanted::all ? 0 : i; j < b_cols; ++j) {
          const double term = double{left[static_cast<size_t>(r * a_cols + i)]} *
                              double{right[static_cast<size_t>(r * b_cols + j)]};
          sums[static_cast<size_t>(i * b_cols + j)] += sign * term;
          sizes[static_cast<size_t>(i * b_cols + j)] += std::abs(term);
        }
      }
    }
    // tensor cores cut off what does not fit into a sum, once for each 16 products: less than a piece lacks without a row
    const double tolerance = 2e-6 + 0x1p-23 * static_cast<double>(rows) / 16;
    for (int64_t i = 0; i < a_cols; ++i) {
      for (int64_t j = wanted == Wanted::all ? 0 : i; j < b_cols; ++j) {
        const auto at = static_cast<size_t>(i * b_cols + j);
        ASSERT_NEAR(c[at], sums[at], tolerance * (sizes[at] + 1))
            << a_cols << " x " << b_cols << ", " << rows << " rows: " << i << ", " << j;
      }
    }
  }

  Logged logged_;
  HostDeviceState state_;
  std::shared_ptr<Device> device_ = create_host_device(state_);
  StepQueue queue_{device_};
  std::shared_ptr<MathLibrary> blas_ = std::make_shared<MathLibrary>("cuBLAS", test::some_libraries().blas);
  LibraryProducts products_{blas_, device_, queue_, {}};
  std::optional<LibraryProducts> cut_;
};

TEST_P(LibraryProductsTest, EveryWidthAndGroup) {
  for (int bits : {2, 3, 4, 8}) {
    for (auto zeros : {WeightShape::Zeros::middle, WeightShape::Zeros::own}) {
      for (int64_t group : {16, 32, 48, 64, 192, 10000})
        expect_product({.bits = bits, .rows = 20, .cols = 440, .group_size = group, .zeros = zeros},
                       kLibraryRows);
    }
  }
}

TEST_P(LibraryProductsTest, EveryTail) {
  for (int64_t outputs : {1, 15, 16, 17, 130}) {
    for (int64_t cols : {1, 61, 64, 65, 250})
      expect_product({.rows = outputs, .cols = cols, .zeros = WeightShape::Zeros::own},
                     kLibraryRows + outputs);
  }
  expect_dense(40, 320, kLibraryRows);
  expect_dense(33, 61, kLibraryRows + 1);
}

TEST_P(LibraryProductsTest, InputsInAnyOrderAndScalesOfAnyKind) {
  for (int bits : {2, 3, 4, 8}) {
    for (int64_t cols : {256, 250, 61}) {
      expect_product({.bits = bits,
                      .rows = 17,
                      .cols = cols,
                      .group_size = 32,
                      .zeros = WeightShape::Zeros::own,
                      .scales = WeightShape::Scales::f32,
                      .order = WeightShape::Order::shuffled},
                     kLibraryRows + 3, Bias::yes);
    }
  }
}

/// Panels of one strip and more, the last of them smaller; rows with a bias some at a time.
TEST_P(LibraryProductsTest, EveryCut) {
  const auto bytes_of_strips = [](int64_t strips) { return static_cast<size_t>(strips) * 16 * 192 * 2; };
  for (int64_t outputs : {16, 33, 90, 128}) {
    for (int64_t strips : {1, 2, 3, 100}) {
      const LibraryProducts::Limits limits{.panel_bytes = bytes_of_strips(strips) + 100,
                                           .sums_bytes = 50 * 16 * 4};
      for (auto bias : {Bias::no, Bias::yes})
        expect_product({.rows = outputs, .cols = 190, .group_size = 64}, kLibraryRows + 5, bias, limits);
      expect_dense(outputs, 190, kLibraryRows, limits);
    }
  }
  // a row at least
  expect_product({.rows = 40, .cols = 64}, kLibraryRows, Bias::yes, LibraryProducts::Limits{.sums_bytes = 1});
}

TEST_P(LibraryProductsTest, LeavesAloneWhatIsNotForIt) {
  Random random(1);
  const PackedWeights packed = pack(random_weights(random, {.rows = 16, .cols = 64}));
  const Weights w = view_of(packed);
  Activations x(GetParam(), random_floats(random, 64 * kLibraryRows)), y(GetParam(), 16 * kLibraryRows);
  const Turn turn(queue_);
  const auto multiplies = [&](const Queue& queue, const Weights& weights, int64_t rows,
                              const LibraryProducts::Limits& limits) {
    LibraryProducts products(blas_, device_, queue_, limits);
    return products.multiply(queue, GetParam(), weights, x.data(), rows, y.data());
  };
  EXPECT_TRUE(multiplies(turn.queue(), w, kLibraryRows, {}));
  EXPECT_FALSE(multiplies(turn.queue(), w, kLibraryRows - 1, {}));
  EXPECT_FALSE(multiplies(turn.queue(), w, kLibraryRows, {.panel_bytes = 16 * 64 * 2 - 1}));
  CommandList list;
  Queue writing = turn.queue();
  writing.list = &list;
  EXPECT_FALSE(multiplies(writing, w, kLibraryRows, {}));
  EXPECT_EQ(list.size(), 0u);
  for (const auto& [outputs, cols] : {std::tuple<int64_t, int64_t>{0, 64}, {16, 0}}) {
    const PackedWeights none = pack(random_weights(random, {.rows = outputs, .cols = cols}));
    EXPECT_FALSE(multiplies(turn.queue(), view_of(none), kLibraryRows, {}));
  }
}

TEST_P(LibraryProductsTest, AddsUp) {
  for (const auto& [a_cols, b_cols] : {std::tuple<int64_t, int64_t>{1, 1}, {40, 77}, {130, 8}, {8, 300}}) {
    for (const float sign : {1.0f, -1.0f}) expect_sums(a_cols, b_cols, kLibraryRows + 3, sign, Wanted::all);
  }
  expect_sums(24, 40, kLibraryRows - 1, -1, Wanted::all);  // by the plugin's kernel
  expect_sums(24, 40, kMostChain + 50, 1, Wanted::all);    // in pieces
}

TEST_P(LibraryProductsTest, AddsUpTriangles) {
  for (const int64_t n : {1, 77, 128, 129, 300}) {
    for (const int64_t panel : {128, 256, 1024}) expect_sums(n, n, kLibraryRows + 3, 1, Wanted::upper, panel);
  }
  expect_sums(140, 140, kMostChain + 50, 1, Wanted::upper, 128);
}

TEST_P(LibraryProductsTest, UnpacksPanels) {
  Random random(3);
  for (int bits : {2, 3, 4, 8, 16}) {
    for (int64_t first : {0, 16, 32}) {
      constexpr int64_t kOutputs = 37, kCols = 136, kPitch = 192;
      std::vector<float> values;
      PackedWeights packed;
      if (bits == 16) {
        Activations numbers(GetParam(), random_floats(random, kOutputs * kCols));
        packed = pack_halves(numbers.data(), kOutputs, kCols);
        values = numbers.floats();
      } else {
        const QTensor q = random_weights(random, {.bits = bits,
                                                  .rows = kOutputs,
                                                  .cols = kCols,
                                                  .group_size = 32,
                                                  .zeros = WeightShape::Zeros::own});
        packed = pack(q);
        values = Activations(GetParam(), dequantized(q)).floats();
      }
      const int64_t count = std::min<int64_t>(kOutputs - first, 20);
      Activations out(GetParam(), count * kPitch);
      const Turn turn(queue_);
      unpack_panel(turn.queue(), GetParam(), view_of(packed), first, count, out.data());
      queue_.wait();
      const std::vector<float> got = out.floats();
      for (int64_t r = 0; r < count; ++r) {
        for (int64_t k = 0; k < kCols; ++k)
          ASSERT_EQ(got[static_cast<size_t>(r * kPitch + k)],
                    values[static_cast<size_t>((first + r) * kCols + k)])
              << bits << " bits, output " << first + r << ", input " << k;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cuda, LibraryProductsTest, testing::ValuesIn(kElements));

TEST_F(LibraryBackendTest, Linears) {
  const std::vector<float> bias = random_floats(random_, 37);
  const Tensor bias_tensor = float_tensor(bias);
  for (int bits : {2, 3, 4, 8}) {
    for (auto order : {WeightShape::Order::sequential, WeightShape::Order::shuffled}) {
      const QTensor q = random_weights(
          random_, {.bits = bits, .rows = 37, .cols = 200, .zeros = WeightShape::Zeros::own, .order = order});
      for (const Tensor* added : {static_cast<const Tensor*>(nullptr), &bias_tensor}) {
        const auto cpu = cpu_->prepare(q, added), gpu = backend_->prepare(q, added);
        for (const int64_t rows : {kLibraryRows - 1, kLibraryRows, 2 * kLibraryRows}) {
          Pair x = make(rows, 200), y = make(rows, 37);
          reference_->linear(*cpu, x.cpu, y.cpu);
          stream_->linear(*gpu, x.gpu, y.gpu);
          expect_same(y, "linear", 4 * kRounding, 2.0f);  // weights are rounded, too
        }
      }
    }
  }
  expect_no_refusal(logged_);
}

/// A = L L^T, of which cuSOLVER gets what is on and below the diagonal.
TEST(CusolverTest, EverySize) {
  HostDeviceState state;
  const std::shared_ptr<Device> device = create_host_device(state);
  StepQueue queue(device);
  const auto library = std::make_shared<MathLibrary>("cuSOLVER", test::some_libraries().solver);
  Cusolver solver(library, device, queue);
  const Turn turn(queue);
  if (!solver.is_ready()) {
    ASSERT_TRUE(is_nowhere(*library)) << "cuSOLVER is not there, or of no use: " << library->name();
    GTEST_SKIP() << "no cuSOLVER is here";
  }
  Random random(9);
  for (const int64_t n : {1, 2, 63, 64, 65, 150}) {
    const auto at = [n](int64_t i, int64_t j) { return static_cast<size_t>(i * n + j); };
    const std::vector<float> x = random_floats(random, 2 * n * n);
    std::vector<float> a(static_cast<size_t>(n * n), NAN);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j <= i; ++j) {
        float sum = i == j ? 0.5f : 0.0f;
        for (int64_t k = 0; k < 2 * n; ++k) sum += x[at(k, i)] * x[at(k, j)];
        a[at(i, j)] = sum;
      }
    }
    std::vector<float> l = a;
    ASSERT_EQ(solver.factor(l.data(), n), Cusolver::Outcome::done);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j <= i; ++j) {
        double sum = 0;
        for (int64_t k = 0; k <= j; ++k) sum += double{l[at(i, k)]} * double{l[at(j, k)]};
        ASSERT_NEAR(sum, a[at(i, j)], 1e-4 * static_cast<double>(n)) << n << ": " << i << ", " << j;
      }
    }
    a[at(n - 1, n - 1)] = -1;
    EXPECT_EQ(solver.factor(a.data(), n), Cusolver::Outcome::not_positive_definite);
  }
}

}  // namespace
}  // namespace gptq::cuda
