// What holds for all ops: results that do not depend on threads, cancelling, copies, options.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <functional>
#include <thread>

#include "base/error.h"
#include "ops_support.h"

namespace gptq::test {
namespace {

TEST(Backend, SaysWhatItIs) {
  const std::string text = backend_with(1)->description();
  EXPECT_EQ(text, std::string("cpu (") + cpu::best_kernels().name + ")");
}

TEST(Backend, RefusesSillyThreadCounts) {
  EXPECT_THROW(backend_with(-1), Error);
  EXPECT_THROW(backend_with(1025), Error);
  EXPECT_GE(backend_with(0)->threads(), 1);
  EXPECT_EQ(backend_with(3)->threads(), 3);
}

/// Everything a small model does, as one list of numbers.
std::vector<float> all_ops(int threads) {
  const auto backend = backend_with(threads);
  const auto stream = backend->create_stream(nullptr);
  Random random(21);
  std::vector<float> all;
  const int64_t heads = 4, dim = 16, width = heads * dim;
  const auto dense = backend->prepare(random_dense(random, DType::bf16, 3 * width, width).tensor, nullptr);
  const auto packed = backend->prepare(random_quantized(random, {.bits = 4,
                                                                 .rows = width,
                                                                 .cols = width,
                                                                 .group_size = 32,
                                                                 .order = QuantShape::Order::shuffled,
                                                                 .zeros = QuantShape::Zeros::any}),
                                       nullptr);
  const auto weight = backend->prepare_vector(float_tensor(random_floats(random, width)));
  const auto cache = backend->create_cache(
      {.layers = {{.kv_heads = heads, .key_dim = dim, .value_dim = dim}}, .sequences = 1});
  cache->reserve(0, 1400);
  int32_t position = 0;
  for (int64_t m : {1390, 1, 2, 5}) {
    auto x = random_floats(random, m * width);
    std::vector<float> qkv(static_cast<size_t>(m * 3 * width)), out(x.size());
    stream->norm(Norm::layer, matrix(x, m, width), *weight, weight.get(), 1e-5f, matrix(x, m, width));
    stream->linear(*dense, matrix(x, m, width), matrix(qkv, m, 3 * width));
    std::vector<Row> rows;
    for (int64_t i = 0; i < m; ++i) rows.push_back({0, position++});
    const auto part = [&](int64_t i) {
      return Matrix{reinterpret_cast<std::byte*>(qkv.data() + i * m * width), m, width};
    };
    stream->rope_store({}, rows, part(0), part(1), part(2), *cache, 0);
    stream->attention({.heads = heads, .kv_heads = heads, .key_dim = dim, .value_dim = dim, .scale = 0.25f},
                      rows, part(0), *cache, 0, matrix(out, m, width));
    stream->linear(*packed, matrix(out, m, width), matrix(x, m, width));
    const Matrix up = matrix(out, m, width);
    stream->activate(Act::silu, matrix(x, m, width), &up, matrix(x, m, width));
    stream->add(matrix(x, m, width), matrix(out, m, width));
    all.insert(all.end(), x.begin(), x.end());
  }
  return all;
}

TEST(Stream, SameBitsWithAnyNumberOfThreads) {
  const auto one = all_ops(1);
  for (float v : one) ASSERT_TRUE(std::isfinite(v));
  for (int threads : {2, 3, 5}) {
    const auto other = all_ops(threads);
    ASSERT_EQ(one.size(), other.size());
    EXPECT_EQ(std::memcmp(one.data(), other.data(), one.size() * sizeof(float)), 0) << threads << " threads";
  }
}

TEST(Stream, EmptyBatchesDoNothing) {
  const auto backend = backend_with(2);
  const auto stream = backend->create_stream(nullptr);
  Random random(1);
  const auto dense = backend->prepare(random_dense(random, DType::f32, 4, 8).tensor, nullptr);
  const auto weight = backend->prepare_vector(float_tensor(random_floats(random, 8)));
  const auto cache =
      backend->create_cache({.layers = {{.kv_heads = 1, .key_dim = 8, .value_dim = 8}}, .sequences = 1});
  const Matrix none{nullptr, 0, 8};
  stream->linear(*dense, none, {nullptr, 0, 4});
  stream->norm(Norm::rms, none, *weight, nullptr, 1e-5f, none);
  stream->activate(Act::gelu, none, nullptr, none);
  stream->add(none, none);
  stream->upload(nullptr, none);
  stream->download(none, nullptr);
  stream->embed(*dense, {}, none);
  stream->rope_store({}, {}, none, none, none, *cache, 0);
  stream->attention({.heads = 1, .kv_heads = 1, .key_dim = 8, .value_dim = 8}, {}, none, *cache, 0, none);
  EXPECT_EQ(cache->bytes(), 0u);
}

TEST(Stream, MemoryIsAlignedAndCopiesAreExact) {
  const auto backend = backend_with(1);
  const auto stream = backend->create_stream(nullptr);
  EXPECT_EQ(stream->element_bytes(), 4u);
  const auto memory = stream->allocate(3 * 5 * 4);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(memory->data()) % 64, 0u);
  EXPECT_EQ(memory->bytes(), 60u);
  Random random(2);
  const auto values = random_floats(random, 15);
  const Matrix a{memory->data(), 3, 5};
  stream->upload(values.data(), a);
  std::vector<float> back(15);
  stream->download(a, back.data());
  EXPECT_EQ(back, values);
  EXPECT_THROW(stream->allocate(SIZE_MAX - 5), std::bad_alloc);
  EXPECT_THROW(stream->allocate(SIZE_MAX / 2), std::bad_alloc);
}

TEST(Stream, NormsAndActivationsOfRows) {
  const auto backend = backend_with(2);
  const auto stream = backend->create_stream(nullptr);
  Random random(3);
  const int64_t rows = 37, cols = 300;
  const auto x0 = random_floats(random, rows * cols), w = random_floats(random, cols),
             b = random_floats(random, cols);
  const auto weight = backend->prepare_vector(float_tensor(w)),
             bias = backend->prepare_vector(float_tensor(b));
  EXPECT_EQ(weight->size(), cols);
  auto x = x0;
  std::vector<float> y(x.size()), z(x.size());
  stream->norm(Norm::rms, matrix(x, rows, cols), *weight, bias.get(), 1e-6f, matrix(y, rows, cols));
  const Matrix up = matrix(x, rows, cols);
  stream->activate(Act::relu, matrix(x, rows, cols), &up, matrix(z, rows, cols));
  for (int64_t i = 0; i < rows; ++i) {
    double squares = 0.0;
    for (int64_t j = 0; j < cols; ++j) squares += std::pow(double{x0[static_cast<size_t>(i * cols + j)]}, 2);
    const double rms = std::sqrt(squares / static_cast<double>(cols) + 1e-6);
    for (int64_t j = 0; j < cols; ++j) {
      const auto at = static_cast<size_t>(i * cols + j), c = static_cast<size_t>(j);
      ASSERT_NEAR(y[at], x0[at] / rms * w[c] + b[c], 2e-6);
      ASSERT_EQ(z[at], x0[at] > 0 ? x0[at] * x0[at] : 0.0f);
    }
  }
}

TEST(Stream, CancelledBeforehand) {
  const auto backend = backend_with(2);
  const std::atomic<bool> cancel{true};
  const auto stream = backend->create_stream(&cancel);
  Random random(4);
  const auto dense = backend->prepare(random_dense(random, DType::f32, 16, 16).tensor, nullptr);
  for (int64_t m : {1, 20}) {
    std::vector<float> x(static_cast<size_t>(m * 16)), y(x.size());
    try {
      stream->linear(*dense, matrix(x, m, 16), matrix(y, m, 16));
      FAIL() << "not cancelled";
    } catch (const Error& e) {
      EXPECT_EQ(e.status(), Status::cancelled);
    }
  }
}

TEST(Stream, CancelledInTheMiddleOfALargeProduct) {
  const auto backend = backend_with(2);
  std::atomic<bool> cancel{false};
  const auto stream = backend->create_stream(&cancel);
  Random random(5);
  const int64_t k = 4096, n = 11008, m = 512;
  std::byte* bytes = nullptr;
  const auto linear = backend->prepare(make_tensor(DType::bf16, {n, k}, &bytes), nullptr);
  std::vector<float> x(static_cast<size_t>(m * k)), y(static_cast<size_t>(m * n));
  std::chrono::steady_clock::time_point set;
  std::thread canceller([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    set = std::chrono::steady_clock::now();
    cancel = true;
  });
  bool cancelled = false;
  for (int i = 0; i < 50 && !cancelled; ++i) {
    try {
      stream->linear(*linear, matrix(x, m, k), matrix(y, m, n));
    } catch (const Error& e) {
      cancelled = e.status() == Status::cancelled;
    }
  }
  const auto seen = std::chrono::steady_clock::now();
  canceller.join();
  EXPECT_TRUE(cancelled);
  EXPECT_LT(std::chrono::duration<double>(seen - set).count(), 0.3);  // 20 ms on a machine of one's own
}

TEST(Stream, ConcurrentStreamsOfOneBackend) {
  const auto backend = backend_with(2);
  Random random(6);
  const QTensor q = random_quantized(random, {.bits = 4, .rows = 100, .cols = 256, .group_size = 64});
  const auto linear = backend->prepare(q, nullptr);
  const auto x = random_floats(random, 40 * 256);
  const auto want = run_linear(*backend, *linear, x, 40);
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) wrong += run_linear(*backend, *linear, x, 40) != want;
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
}

/// What an op makes of a matrix of 3 rows of 37, beside plain double arithmetic.
void expect_elements(const std::vector<float>& x, const std::function<void(Stream&, Matrix)>& op,
                     const std::function<double(double value, size_t i)>& wanted, double tolerance = 2e-6) {
  std::vector<float> y = x;
  op(*backend_with(2)->create_stream(nullptr), matrix(y, 3, 37));
  for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(y[i], wanted(double{x[i]}, i), tolerance) << i;
}

TEST(Elementwise, ScalesClampsAndCaps) {
  Random random(3);
  const std::vector<float> x = random_floats(random, 3 * 37, 4.0f), z = random_floats(random, 3 * 37, 4.0f);
  const std::vector<float> factors{0.5f, -2.0f, 0.0f};
  std::vector<float> other = z;
  expect_elements(
      x, [](Stream& s, Matrix m) { s.scale(m, -1.5f); }, [](double v, size_t) { return -1.5 * v; });
  expect_elements(
      x, [](Stream& s, Matrix m) { s.clamp(m, 1.25f); },
      [](double v, size_t) { return std::clamp(v, -1.25, 1.25); });
  expect_elements(
      x, [](Stream& s, Matrix m) { s.softcap(m, 3.0f); },
      [](double v, size_t) { return 3 * std::tanh(v / 3); });
  expect_elements(
      x, [&](Stream& s, Matrix m) { s.scale_rows(m, factors); },
      [&](double v, size_t i) { return v * double{factors[i / 37]}; });
  expect_elements(
      x, [&](Stream& s, Matrix m) { s.add(m, matrix(other, 3, 37), 0.25f); },
      [&](double v, size_t i) { return v + 0.25 * double{z[i]}; });
}

TEST(Elementwise, ActivationsWithoutAKernel) {
  Random random(4);
  const std::vector<float> x = random_floats(random, 3 * 37, 4.0f), z = random_floats(random, 3 * 37, 4.0f);
  std::vector<float> up = z;
  const auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
  const auto check = [&](const Activation& act, const std::function<double(double)>& f) {
    expect_elements(
        x, [&](Stream& s, Matrix m) { s.activate(act, m, nullptr, m); },
        [&](double v, size_t) { return f(v); }, 2e-5);
    expect_elements(
        x,
        [&](Stream& s, Matrix m) {
          const Matrix u = matrix(up, 3, 37);
          s.activate(act, m, &u, m);
        },
        [&](double v, size_t i) {
          const double factor = double{z[i]};
          return f(v) * (act.act == Act::clamped_silu ? std::clamp(factor, -2.0, 2.0) + 1 : factor);
        },
        1e-4);
  };
  check(Act::relu2, [](double v) { return v > 0 ? v * v : 0; });
  check(Act::sigmoid, sigmoid);
  Activation xielu = Act::xielu;
  xielu.a = 0.8f, xielu.a_negative = 1.3f, xielu.c = 0.5f, xielu.d = -1e-6f;
  check(xielu, [](double v) {
    return v > 0 ? double{0.8f} * v * v + 0.5 * v
                 : (std::expm1(std::min(v, double{-1e-6f})) - v) * double{1.3f} + 0.5 * v;
  });
  Activation clamped = Act::clamped_silu;
  clamped.a = 1.5f, clamped.d = 2.0f;
  check(clamped, [&](double v) { return std::min(v, 2.0) * sigmoid(1.5 * std::min(v, 2.0)); });
}

TEST(Elementwise, NormsWithWeightsForEachHead) {
  Random random(5);
  std::vector<float> x = random_floats(random, 6 * 16, 3.0f);
  const std::vector<float> w = random_floats(random, 2 * 16, 1.0f);
  const auto backend = backend_with(2);
  const auto weight = backend->prepare_vector(float_tensor(w));
  std::vector<float> y(x.size());
  backend->create_stream(nullptr)->norm(Norm::rms, matrix(x, 6, 16), *weight, nullptr, 1e-6f,
                                        matrix(y, 6, 16));
  for (size_t r = 0; r < 6; ++r) {
    double square = 0;
    for (size_t i = 0; i < 16; ++i) square += double{x[r * 16 + i]} * double{x[r * 16 + i]};
    for (size_t i = 0; i < 16; ++i) {
      EXPECT_NEAR(y[r * 16 + i],
                  double{x[r * 16 + i]} / std::sqrt(square / 16 + 1e-6) * double{w[r % 2 * 16 + i]}, 3e-6);
    }
  }
}

TEST(Heads, AreJoinedAndRotatedFromAnOffset) {
  Random random(6);
  std::vector<float> a = random_floats(random, 2 * 6), b = random_floats(random, 2 * 6),
                     shared = random_floats(random, 2 * 2);
  std::vector<float> own(2 * 12), common(2 * 12);
  const auto stream = backend_with(2)->create_stream(nullptr);
  stream->join_heads(matrix(a, 2, 6), matrix(b, 2, 6), 3, matrix(own, 2, 12));
  stream->join_heads(matrix(a, 2, 6), matrix(shared, 2, 2), 3, matrix(common, 2, 12));
  for (size_t r = 0; r < 2; ++r) {
    for (size_t h = 0; h < 3; ++h) {
      for (size_t i = 0; i < 2; ++i) {
        EXPECT_EQ(own[r * 12 + h * 4 + i], a[r * 6 + h * 2 + i]);
        EXPECT_EQ(own[r * 12 + h * 4 + 2 + i], b[r * 6 + h * 2 + i]);
        EXPECT_EQ(common[r * 12 + h * 4 + 2 + i], shared[r * 2 + i]);
      }
    }
  }
  const float cos[] = {0.6f, 0.8f}, sin[] = {0.8f, -0.6f};  // of two rows
  std::vector<float> turned = own;
  stream->rotate({.cos = cos, .sin = sin, .dim = 2, .layout = RopeLayout::pairs, .offset = 2},
                 matrix(turned, 2, 12), 4);
  for (size_t r = 0; r < 2; ++r) {
    for (size_t h = 0; h < 3; ++h) {
      const size_t at = r * 12 + h * 4;
      EXPECT_EQ(turned[at], own[at]);
      EXPECT_NEAR(turned[at + 2], double{own[at + 2]} * cos[r] - double{own[at + 3]} * sin[r], 1e-6);
      EXPECT_NEAR(turned[at + 3], double{own[at + 3]} * cos[r] + double{own[at + 2]} * sin[r], 1e-6);
    }
  }
}

}  // namespace
}  // namespace gptq::test
