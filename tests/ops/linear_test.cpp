// y = x W^T + b with dense and quantized weights against double arithmetic.
#include <cmath>
#include <memory>

#include "base/error.h"
#include "cpu/kernels.h"
#include "ops_support.h"

namespace gptq::test {
namespace {

// fp32 sums of k terms, in whatever order: an error of some units in the last place of the sum of magnitudes
constexpr double kTolerance = 1.5e-6;
const std::vector<int64_t> kRows{0, 1, 2, 3, 5, 12, 13, 33, 65};

TEST(DenseLinear, EveryShapeAndType) {
  const auto backend = backend_with(2);
  Random random(1);
  for (DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    for (int64_t k : {1, 7, 16, 33, 172, 512, 1030}) {
      for (int64_t n : {1, 15, 16, 17, 33, 100}) {
        const bool odd = (k + n) % 2 == 1;
        const DenseWeights w = random_dense(random, dtype, n, k, odd ? Place::odd : Place::aligned);
        const auto bias = n % 3 == 0 ? random_floats(random, n) : std::vector<float>();
        const Tensor bias_tensor = float_tensor(bias);
        const auto linear = backend->prepare(w.tensor, bias.empty() ? nullptr : &bias_tensor);
        EXPECT_EQ(linear->in_features(), k);
        EXPECT_EQ(linear->out_features(), n);
        for (int64_t m : kRows) {
          const auto x = random_floats(random, m * k);
          expect_close(run_linear(*backend, *linear, x, m), product_of(x, w.values, bias, m, k, n),
                       kTolerance, testing::PrintToString(std::vector<int64_t>{m, k, n}));
        }
      }
    }
  }
}

TEST(DenseLinear, ManyRowsGoInBands) {
  const auto backend = backend_with(2);
  Random random(2);
  const int64_t m = 1100, k = 70, n = 45;
  const DenseWeights w = random_dense(random, DType::bf16, n, k);
  const auto x = random_floats(random, m * k);
  const auto linear = backend->prepare(w.tensor, nullptr);
  expect_close(run_linear(*backend, *linear, x, m), product_of(x, w.values, {}, m, k, n), kTolerance,
               "bands");
}

/// Both sides of many rows' products are rounded to bf16 where the set has a unit for that, and only there: dense rows of up to
/// 16 never are.
TEST(DenseLinear, FastRoundsManyRowsToBf16) {
  Random random(3);
  const auto fast = create_backend("cpu", {.threads = 2, .compute = Compute::fast});
  const bool rounds = cpu::best_kernels().fast.rounded.left_values == 2;
  for (DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    const int64_t m = 200, k = 300, n = 545;
    const DenseWeights w = random_dense(random, dtype, n, k), router = random_dense(random, dtype, 64, k);
    const auto x = random_floats(random, m * k);
    const auto linear = fast->prepare(w.tensor, nullptr);
    expect_close(run_linear(*fast, *fast->prepare(router.tensor, nullptr), x, m),
                 product_of(x, router.values, {}, m, k, 64), rounds ? 0x1p-14 : kTolerance, "few outputs");
    const Product want = product_of(x, w.values, {}, m, k, n);
    const auto got = run_linear(*fast, *linear, x, m);
    expect_close(got, want, rounds ? 0x1p-7 : kTolerance, "many rows");
    double most = 0;
    for (size_t i = 0; i < got.size(); ++i)
      most = std::max(most, std::abs(got[i] - want.values[i]) / want.magnitudes[i]);
    EXPECT_EQ(most > kTolerance, rounds) << most;
    const std::vector<float> few(x.begin(), x.begin() + 16 * k);
    expect_close(run_linear(*fast, *linear, few, 16), product_of(few, w.values, {}, 16, k, n), kTolerance,
                 "few rows");
  }
}

TEST(DenseLinear, NoInputsGiveTheBias) {
  const auto backend = backend_with(1);
  std::byte* bytes = nullptr;
  const Tensor none = make_tensor(DType::f32, {3, 0}, &bytes), bias = float_tensor({1.0f, 2.0f, 3.0f});
  const auto linear = backend->prepare(none, &bias);
  EXPECT_EQ(run_linear(*backend, *linear, {}, 1), (std::vector<float>{1.0f, 2.0f, 3.0f}));
}

TEST(DenseLinear, RefusesWhatItCannotUse) {
  const auto backend = backend_with(1);
  std::byte* bytes = nullptr;
  EXPECT_THROW(backend->prepare(make_tensor(DType::f64, {2, 2}, &bytes), nullptr), Error);
  EXPECT_THROW(backend->prepare(make_tensor(DType::f32, {2, 2, 2}, &bytes), nullptr), Error);
  const Tensor w = make_tensor(DType::f32, {2, 2}, &bytes), bias = float_tensor({1.0f});
  EXPECT_THROW(backend->prepare(w, &bias), Error);
}

std::vector<QuantShape> quant_shapes() {
  std::vector<QuantShape> shapes;
  using Order = QuantShape::Order;
  using Zeros = QuantShape::Zeros;
  const std::vector<std::pair<int64_t, int64_t>> sizes{{1, 1},     {16, 32},  {17, 48},  {33, 172}, {15, 7},
                                                       {100, 512}, {40, 640}, {7, 1030}, {64, 96}};
  for (int bits : {2, 3, 4, 8}) {
    for (const auto& [n, k] : sizes) {
      for (int64_t group : {int64_t{16}, int64_t{32}, int64_t{128}, int64_t{-1}, int64_t{20}, int64_t{1}}) {
        if (group == 1 && k > 48) continue;
        const bool even = (n + group) % 2 == 0;
        shapes.push_back({bits, n, k, group, Order::sequential, even ? Zeros::middle : Zeros::any});
        shapes.push_back({bits, n, k, group, Order::shuffled, even ? Zeros::any : Zeros::middle});
      }
    }
  }
  return shapes;
}

std::string name_of(const QuantShape& s) {
  return std::to_string(s.bits) + " bits [" + std::to_string(s.rows) + ", " + std::to_string(s.cols) +
         "] groups of " + std::to_string(s.group_size) +
         (s.order == QuantShape::Order::shuffled ? " shuffled" : "") +
         (s.zeros == QuantShape::Zeros::any ? " any zeros" : "");
}

TEST(QuantizedLinear, EveryShape) {
  const auto backend = backend_with(2);
  Random random(3);
  for (const QuantShape& shape : quant_shapes()) {
    const QTensor q = random_quantized(random, shape);
    const auto w = dequantized(q);
    const auto bias = q.rows % 3 == 0 ? random_floats(random, q.rows) : std::vector<float>();
    const Tensor bias_tensor = float_tensor(bias);
    const auto linear = backend->prepare(q, bias.empty() ? nullptr : &bias_tensor);
    for (int64_t m : kRows) {
      const auto x = random_floats(random, m * q.cols);
      Product want = product_of(x, w, bias, m, q.cols, q.rows);
      // groups are summed before their zero point is taken off: for a zero at the edge of the range, sums are larger
      if (shape.zeros == QuantShape::Zeros::any) {
        for (double& v : want.magnitudes) v = 3.0 * v + 0.05;
      }
      expect_close(run_linear(*backend, *linear, x, m), want, kTolerance,
                   name_of(shape) + " rows " + std::to_string(m));
    }
  }
}

TEST(QuantizedLinear, UnpackGivesBackWhatWasPrepared) {
  const auto backend = backend_with(2);
  Random random(4);
  for (const QuantShape& shape : quant_shapes()) {
    const QTensor q = random_quantized(random, shape);
    const QTensor back = backend->prepare(q, nullptr)->unpack();
    EXPECT_EQ(back.bits, q.bits);
    EXPECT_EQ(back.rows, q.rows);
    EXPECT_EQ(back.cols, q.cols);
    EXPECT_EQ(back.groups, q.groups);
    EXPECT_EQ(back.codes, q.codes) << name_of(shape);
    EXPECT_EQ(back.scales, q.scales) << name_of(shape);
    EXPECT_EQ(back.zeros, q.zeros) << name_of(shape);
    EXPECT_EQ(back.group_of, q.group_of) << name_of(shape);
  }
}

/// Scales and zero points are kept in fp16 where nothing is lost: 4.125 and 4.25 bits a weight in groups of 128.
TEST(QuantizedLinear, ScalesTakeTwoBytesWhereFp16HasThem) {
  const auto backend = backend_with(1);
  Random random(8);
  for (const auto zeros : {QuantShape::Zeros::middle, QuantShape::Zeros::any}) {
    QTensor q =
        random_quantized(random, {.bits = 4, .rows = 64, .cols = 1024, .group_size = 128, .zeros = zeros});
    const uint64_t codes = q.codes.size() / 2, numbers = q.scales.size();
    const uint64_t of_zeros = zeros == QuantShape::Zeros::any ? 2 * numbers : 0;
    for (float& scale : q.scales) scale = fp16_to_float(float_to_fp16(scale));
    EXPECT_EQ(backend->prepare(q, nullptr)->bytes(), codes + 2 * numbers + of_zeros);
    for (const float other : {0.01f, 1e-9f, 70000.0f, INFINITY, NAN}) {
      q.scales[numbers / 2] = other;
      const bool fits = std::isinf(other);
      const auto linear = backend->prepare(q, nullptr);
      EXPECT_EQ(linear->bytes(), codes + (fits ? 2 : 4) * numbers + of_zeros) << other;
      const float back = linear->unpack().scales[numbers / 2];
      EXPECT_TRUE(back == other || (std::isnan(back) && std::isnan(other))) << back;
    }
  }
}

/// Three bits take three quarters of four where groups have whole runs of 32 inputs, and elsewhere no more than four.
TEST(QuantizedLinear, ThreeBitsTakeThree) {
  const auto backend = backend_with(1);
  Random random(7);
  const auto bytes = [&](int bits, int64_t cols, int64_t group) {
    QTensor q = random_quantized(random, {.bits = bits, .rows = 64, .cols = cols, .group_size = group});
    const uint64_t scales = q.scales.size() * sizeof(float);
    q.scales[0] = 0.01f;  // which fp16 does not have
    return backend->prepare(q, nullptr)->bytes() - scales;
  };
  for (int64_t group : {32, 64, 128, -1})
    EXPECT_EQ(bytes(3, 512, group), bytes(4, 512, group) * 3 / 4) << group;
  for (int64_t group : {16, 48}) EXPECT_EQ(bytes(3, 480, group), bytes(4, 480, group)) << group;
  EXPECT_EQ(bytes(3, 496, -1), bytes(4, 496, -1));  // padded it would be sorted
}

TEST(QuantizedLinear, GroupsWithoutInputs) {
  const auto backend = backend_with(1);
  Random random(5);
  QTensor q = random_quantized(random, {.bits = 4, .rows = 5, .cols = 40, .group_size = 8});
  for (int32_t& g : q.group_of) g = g % 2 == 0 ? 4 : 1;  // groups 0, 2 and 3 are empty
  const auto linear = backend->prepare(q, nullptr);
  EXPECT_EQ(linear->unpack().group_of, q.group_of);
  EXPECT_EQ(linear->unpack().scales, q.scales);
  for (int64_t m : {1, 6}) {
    const auto x = random_floats(random, m * q.cols);
    expect_close(run_linear(*backend, *linear, x, m), product_of(x, dequantized(q), {}, m, q.cols, q.rows),
                 kTolerance, "empty groups");
  }
}

/// Widths, groups and orders of inputs, some of them equal, some not, between dense ones: each as if it were alone.
TEST(Linear, ThoseOfOneInputAreThatOfEach) {
  Random random(31);
  constexpr int64_t kCols = 256;
  using enum QuantShape::Order;
  for (Compute compute : {Compute::fast, Compute::exact}) {
    const auto backend = create_backend("cpu", {.threads = 2, .compute = compute});
    std::vector<std::unique_ptr<Linear>> linears;
    std::vector<int32_t> order;
    const auto add = [&](int bits, int64_t rows, int64_t group, QuantShape::Order how) {
      QTensor q = random_quantized(
          random, {.bits = bits, .rows = rows, .cols = kCols, .group_size = group, .order = how});
      if (how == shuffled && group == 64) order.empty() ? order = q.group_of : q.group_of = order;
      linears.push_back(backend->prepare(q, nullptr));
    };
    for (int bits : {4, 8}) {
      add(bits, 40, 64, shuffled);
      add(bits, 17, 64, shuffled);  // in the same order
      add(bits, 33, 64, sequential);
      add(bits, 24, 32, shuffled);  // in another
      add(bits, 16, 128, shuffled);
      add(bits, 40, 64, shuffled);
    }
    linears.insert(linears.begin() + 3,
                   backend->prepare(random_dense(random, DType::bf16, 30, kCols).tensor, nullptr));
    for (int64_t rows : {1, 5, 40}) {
      auto x = random_floats(random, rows * kCols);
      std::vector<std::vector<float>> outs;
      for (const auto& w : linears) outs.emplace_back(static_cast<size_t>(rows * w->out_features()), 77.0f);
      std::vector<Projection> projections;
      for (size_t i = 0; i < linears.size(); ++i)
        projections.push_back({linears[i].get(), matrix(outs[i], rows, linears[i]->out_features())});
      backend->create_stream(nullptr)->linears(matrix(x, rows, kCols), projections);
      for (size_t i = 0; i < linears.size(); ++i)
        EXPECT_EQ(outs[i], run_linear(*backend, *linears[i], x, rows)) << "number " << i << ", rows " << rows;
    }
  }
}

TEST(Embedding, RowsOfDenseAndQuantizedTables) {
  const auto backend = backend_with(2);
  const auto stream = backend->create_stream(nullptr);
  Random random(6);
  const std::vector<int32_t> ids{3, 0, 16, 16, 7};
  const auto check = [&](const Linear& table, const std::vector<float>& values, int64_t cols) {
    std::vector<float> out(ids.size() * static_cast<size_t>(cols));
    stream->embed(table, ids, matrix(out, static_cast<int64_t>(ids.size()), cols));
    for (size_t i = 0; i < out.size(); ++i) {
      const auto row = static_cast<size_t>(ids[i / static_cast<size_t>(cols)]);
      ASSERT_EQ(out[i], values[row * static_cast<size_t>(cols) + i % static_cast<size_t>(cols)]);
    }
  };
  for (DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    const DenseWeights w = random_dense(random, dtype, 17, 37, Place::odd);
    check(*backend->prepare(w.tensor, nullptr), w.values, 37);
  }
  for (int bits : {2, 3, 4, 8}) {
    const QTensor q = random_quantized(random, {.bits = bits,
                                                .rows = 17,
                                                .cols = 45,
                                                .group_size = 20,
                                                .order = QuantShape::Order::shuffled,
                                                .zeros = QuantShape::Zeros::any});
    check(*backend->prepare(q, nullptr), dequantized(q), 45);
  }
}

}  // namespace
}  // namespace gptq::test
