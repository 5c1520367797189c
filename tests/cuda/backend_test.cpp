// The backend on a device in host memory, op by op, against the CPU backend's on the same numbers.
#include <array>
#include <functional>
#include <numeric>

#include "backend_support.h"
#include "base/error.h"
#include "cuda/linear_cuda.h"

namespace gptq::cuda {
namespace {

TEST_F(BackendTest, DescribesItself) {
  EXPECT_EQ(backend_->description(), "cuda (" + create_host_device(state_)->description() + ", bf16)");
  EXPECT_EQ(backend_->threads(), 1);
  EXPECT_EQ(stream_->element_bytes(), 2u);
  try {
    create_cuda_backend(create_host_device(state_), {.compute = Compute::exact});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::unsupported);
  }
}

TEST_F(BackendTest, GivesWeightsBack) {
  for (int bits : kBitWidths) {
    const QTensor q = random_weights(random_, bits, 37, 200, 5, bits % 2 == 0);
    const QTensor again = backend_->prepare(q, nullptr)->unpack();
    EXPECT_EQ(again.codes, q.codes);
    EXPECT_EQ(again.scales, q.scales);
    EXPECT_EQ(again.zeros, q.zeros);
    EXPECT_EQ(again.group_of, q.group_of);
  }
}

TEST_F(BackendTest, MovesMatrices) {
  for (const auto& [rows, cols] : {std::array<int64_t, 2>{0, 5}, {5, 0}, {1, 1}, {3, 77}, {1100, 1000}}) {
    const Pair x = make(rows, cols);
    std::vector<float> got(x.cpu_values.size());
    stream_->download(x.gpu, got.data());
    EXPECT_EQ(got, x.cpu_values);
  }
}

/// As logits of a later row, of a vocabulary that is no multiple of 8.
TEST_F(BackendTest, ReadsRowsThatBeginAnywhere) {
  const Pair x = make(3, 77);
  const Pair some = make(2, 1);
  const Matrix row{x.gpu.data + 77 * 2, 1, 77};
  const auto values = x.cpu_values.begin() + 77;
  std::vector<float> got(77);
  stream_->download(row, got.data());
  EXPECT_EQ(got, std::vector<float>(values, values + 77));
  const std::vector<int32_t> ids{76, 5};
  stream_->gather({row.data, 77, 1}, ids, some.gpu);
  stream_->download(some.gpu, got.data());
  EXPECT_EQ(got[0], values[76]);
  EXPECT_EQ(got[1], values[5]);
  Ranked first;
  stream_->largest(row, 1, {&first, 1});
  const auto most = std::max_element(values, values + 77);
  EXPECT_EQ(first.column, most - values);
  EXPECT_EQ(first.value, *most);
  const double temperature = 0.7;
  double sum = 0, want = 0;
  stream_->exp_sums(row, {&temperature, 1}, {&sum, 1});
  for (auto v = values; v != values + 77; ++v) want += std::exp((double{*v} - *most) / temperature);
  EXPECT_NEAR(sum, want, 1e-5 * want);
}

TEST_F(BackendTest, Elements) {
  Pair x = make(5, 24), y = make(5, 24), out = make(5, 24);
  const auto both = [&](const std::function<void(Stream&, Matrix, Matrix, Matrix)>& op) {
    op(*reference_, x.cpu, y.cpu, out.cpu);
    op(*stream_, x.gpu, y.gpu, out.gpu);
  };
  both([](Stream& s, Matrix a, Matrix b, Matrix) { s.add(a, b, 0.5f); });
  expect_same(x, "add");
  both([](Stream& s, Matrix a, Matrix, Matrix) { s.scale(a, 3.0f); });
  expect_same(x, "scale", 3 * kRounding);
  both([](Stream& s, Matrix a, Matrix, Matrix) { s.clamp(a, 1.5f); });
  expect_same(x, "clamp", 3 * kRounding);
  both([](Stream& s, Matrix a, Matrix, Matrix) { s.softcap(a, 2.0f); });
  expect_same(x, "softcap", 4 * kRounding);
  both([](Stream& s, Matrix, Matrix b, Matrix c) { s.activate(Act::silu, b, nullptr, c); });
  expect_same(out, "activate");
  both([](Stream& s, Matrix, Matrix b, Matrix c) { s.activate(Act::gelu, b, &b, c); });
  expect_same(out, "activate times");
  const std::vector<float> factors{1, -2, 0.5f, 0, 3};
  both([&](Stream& s, Matrix, Matrix b, Matrix) { s.scale_rows(b, factors); });
  expect_same(y, "scale_rows");
  const Pair each = make(5, 1);
  reference_->scale_rows(y.cpu, each.cpu);
  stream_->scale_rows(y.gpu, each.gpu);
  expect_same(y, "scale_rows by a matrix", 3 * kRounding);
  both([](Stream& s, Matrix, Matrix, Matrix c) { s.clear(c); });
  expect_same(out, "clear", 0);
}

TEST_F(BackendTest, Norms) {
  const std::vector<float> weight = random_floats(random_, 48), bias = random_floats(random_, 48);
  const auto on = [](const Backend& backend, const std::vector<float>& values) {
    return backend.prepare_vector(float_tensor(values));
  };
  const auto cpu_weight = on(*cpu_, weight), cpu_bias = on(*cpu_, bias);
  const auto gpu_weight = on(*backend_, weight), gpu_bias = on(*backend_, bias);
  for (const int64_t cols : {48, 16}) {  // the second has a part of the weights for each row in turn
    Pair x = make(6, cols), out = make(6, cols);
    reference_->norm(Norm::rms, x.cpu, *cpu_weight, nullptr, 1e-5f, out.cpu);
    stream_->norm(Norm::rms, x.gpu, *gpu_weight, nullptr, 1e-5f, out.gpu);
    expect_same(out, "rms");
    reference_->norm(Norm::layer, x.cpu, *cpu_weight, cpu_bias.get(), 1e-5f, x.cpu);
    stream_->norm(Norm::layer, x.gpu, *gpu_weight, gpu_bias.get(), 1e-5f, x.gpu);
    expect_same(x, "layer");
  }
}

/// The bits of add() and norm(), also where a matrix is replaced.
TEST_F(BackendTest, SumsAndNorms) {
  const std::vector<float> weight = random_floats(random_, 40), bias = random_floats(random_, 40);
  const auto of_weight = backend_->prepare_vector(float_tensor(weight)),
             of_bias = backend_->prepare_vector(float_tensor(bias));
  for (const Norm kind : {Norm::rms, Norm::layer}) {
    const Vector* const added = kind == Norm::layer ? of_bias.get() : nullptr;
    for (const bool in_place : {false, true}) {
      Pair x = make(5, 40), y = make(5, 40, 3), sum = make(5, 40), wanted = make(5, 40), out = make(5, 40);
      stream_->upload(x.cpu_values.data(), sum.gpu);
      stream_->add(sum.gpu, y.gpu, 0.22f);
      stream_->norm(kind, sum.gpu, *of_weight, added, 1e-5f, wanted.gpu);
      stream_->download(sum.gpu, sum.cpu_values.data());
      stream_->download(wanted.gpu, wanted.cpu_values.data());
      shim::reset_counts();
      stream_->add_norm(x.gpu, y.gpu, 0.22f, kind, *of_weight, added, 1e-5f, in_place ? x.gpu : out.gpu);
      expect_launches(1);
      x.cpu_values = in_place ? wanted.cpu_values : sum.cpu_values;
      expect_same(x, "x", 0);
      out.cpu_values = wanted.cpu_values;
      if (!in_place) expect_same(out, "out", 0);
    }
  }
}

TEST_F(BackendTest, RowsAndHeads) {
  Pair x = make(6, 20), out = make(4, 20), tail = make(6, 3), heads = make(6, 5 * 7);
  const std::vector<int32_t> rows{5, 0, 0, 3};
  reference_->gather(x.cpu, rows, out.cpu);
  stream_->gather(x.gpu, rows, out.gpu);
  expect_same(out, "gather", 0);
  reference_->join_heads(x.cpu, tail.cpu, 5, heads.cpu);
  stream_->join_heads(x.gpu, tail.gpu, 5, heads.gpu);
  expect_same(heads, "join_heads", 3 * kRounding);
  const std::vector<float> cos = random_floats(random_, 6 * 2), sin = random_floats(random_, 6 * 2);
  const RopeRows rope{cos.data(), sin.data(), 4, RopeLayout::pairs, 1};
  reference_->rotate(rope, heads.cpu, 7);
  stream_->rotate(rope, heads.gpu, 7);
  expect_same(heads, "rotate", 4 * kRounding, 0.1f);
}

TEST_F(BackendTest, Linears) {
  const std::vector<float> bias = random_floats(random_, 37);
  const Tensor bias_tensor = float_tensor(bias);
  for (int bits : kBitWidths) {
    for (const bool sorted : {true, false}) {
      const QTensor q = random_weights(random_, bits, 37, 200, 5, sorted);
      const auto cpu = cpu_->prepare(q, &bias_tensor), gpu = backend_->prepare(q, &bias_tensor);
      for (const int64_t rows : {1, 3, 8, 9, 70}) {
        Pair x = make(rows, 200), y = make(rows, 37);
        reference_->linear(*cpu, x.cpu, y.cpu);
        stream_->linear(*gpu, x.gpu, y.gpu);
        expect_same(y, "linear", 4 * kRounding, 0.5f);
      }
      Pair out = make(3, 200);
      const std::vector<int32_t> ids{36, 0, 17};
      reference_->embed(*cpu, ids, out.cpu);
      stream_->embed(*gpu, ids, out.gpu);
      expect_same(out, "embed");
    }
  }
}

TEST_F(BackendTest, DenseLinears) {
  const std::vector<float> values = random_halves(random_, 21 * 50);
  Tensor weight = float_tensor(values);
  weight.shape = {21, 50};
  const auto cpu = cpu_->prepare(weight, nullptr), gpu = backend_->prepare(weight, nullptr);
  for (const int64_t rows : {1, 20}) {
    Pair x = make(rows, 50), y = make(rows, 21);
    reference_->linear(*cpu, x.cpu, y.cpu);
    stream_->linear(*gpu, x.gpu, y.gpu);
    expect_same(y, "linear", 4 * kRounding, 0.5f);
  }
  EXPECT_EQ(gpu->in_features(), 50);
  EXPECT_EQ(gpu->out_features(), 21);
}

/// Linears that read the same rows, beside each alone: one launch for those of a width and an order, and one more to gather
/// rows in an order.
TEST_F(BackendTest, LinearsOfTheSameInput) {
  struct Case {
    std::vector<int> bits,
        groups;  // of each; -1 groups: in order, else those of equal numbers have one order
    uint64_t launches;
  };
  const int64_t outputs[] = {48, 16, 16, 7, 33};
  std::vector<float> bias = random_floats(random_, 16);
  const Tensor bias_tensor = float_tensor(bias);
  for (const Case& c : {Case{{4, 4, 4}, {-1, -1, -1}, 1}, Case{{4, 4, 4}, {5, 5, 5}, 2},
                        Case{{3, 3, 3, 3, 3}, {5, 4, 5, -1, 4}, 5},
                        Case{{4, 8, 2, 4, 8}, {-1, -1, -1, -1, -1}, 3}, Case{{4, 8, 4}, {5, 5, 5}, 4}}) {
    std::vector<std::unique_ptr<Linear>> linears;
    for (size_t i = 0; i < c.bits.size(); ++i) {
      const bool in_order = c.groups[i] < 0;
      const QTensor q =
          random_weights(random_, c.bits[i], outputs[i], 192, in_order ? 3 : c.groups[i], in_order);
      linears.push_back(backend_->prepare(q, i == 1 ? &bias_tensor : nullptr));
    }
    for (const int64_t rows : {1, 2, 5, 8, 9, 16, 17, 33, 64, 130}) {
      const Pair x = make(rows, 192);
      std::vector<Pair> alone, together;
      std::vector<Projection> projections;
      for (size_t i = 0; i < linears.size(); ++i) {
        alone.push_back(make(rows, outputs[i]));
        together.push_back(make(rows, outputs[i]));
        projections.push_back({linears[i].get(), together[i].gpu});
        stream_->linear(*linears[i], x.gpu, alone[i].gpu);
        stream_->download(alone[i].gpu, together[i].cpu_values.data());
      }
      shim::reset_counts();
      stream_->linears(x.gpu, projections);
      if (rows < 128) expect_launches(c.launches);
      // of more rows the cut of the line of stages may be another, and so the order of sums
      const float tolerance = rows <= 8 || rows >= 128 ? 0 : 2 * kRounding;
      for (size_t i = 0; i < linears.size(); ++i)
        expect_same(together[i], std::to_string(rows) + " rows, " + std::to_string(i), tolerance, 0.5f);
    }
  }
}

/// Rows that begin at no multiple of 16 bytes, and Linears of which there are more than a launch has.
TEST_F(BackendTest, LinearsOfAnyNumberAndPlace) {
  const QTensor q = random_weights(random_, 4, 9, 64, 1, true);
  const auto linear = backend_->prepare(q, nullptr);
  Pair x = make(2, 64), wanted = make(1, 9), out = make(20, 9);
  const Matrix row{x.gpu.data + 64 * 2, 1, 64};
  stream_->linear(*linear, row, wanted.gpu);
  stream_->download(wanted.gpu, wanted.cpu_values.data());
  std::vector<Projection> projections;
  for (int i = 0; i < 20; ++i) projections.push_back({linear.get(), {out.gpu.data + i * 9 * 2, 1, 9}});
  stream_->linears(row, projections);
  for (int i = 0; i < 20; ++i) std::copy_n(wanted.cpu_values.begin(), 9, out.cpu_values.begin() + i * 9);
  expect_same(out, "20 of them", 0);
  stream_->linears(row, {});
}

/// Equal orders are in the device's memory once, as long as one of their Linears is there.
TEST_F(BackendTest, LinearsOfOneOrderShareIt) {
  const QTensor q = random_weights(random_, 4, 16, 192, 3, false),
                other = random_weights(random_, 8, 16, 192, 4, false);
  const size_t before = state_.used;
  auto first = backend_->prepare(q, nullptr);
  const size_t one = state_.used - before;
  auto second = backend_->prepare(q, nullptr), third = backend_->prepare(other, nullptr);
  EXPECT_EQ(weights_of(*first).order, weights_of(*second).order);
  EXPECT_NE(weights_of(*first).order, weights_of(*third).order);
  first.reset();
  EXPECT_EQ(second->unpack().group_of, q.group_of);
  third.reset();
  EXPECT_EQ(state_.used - before, one);
  second.reset();
  EXPECT_EQ(state_.used, before);
  first = backend_->prepare(q, nullptr);
  EXPECT_EQ(first->unpack().group_of, q.group_of);
}

/// One piece of a row, several, so many that those of the second round are several, too; ties, which bf16 has many of.
TEST_F(BackendTest, Largest) {
  for (const auto& [rows, cols] : {std::array<int64_t, 2>{2, 1}, {1, 300}, {3, 2048}, {2, 2049}, {1, 9000}}) {
    Pair x = make(rows, cols, 4);
    if (cols == 300) {
      for (size_t i : {200u, 100u}) x.cpu_values[i] = NAN;
      for (size_t i : {30u, 20u}) x.cpu_values[i] = INFINITY;
      for (size_t i = 40; i < 60; ++i) x.cpu_values[i] = i % 2 == 0 ? -0.0f : 0.0f;
      x.cpu_values[299] = -INFINITY;
      stream_->upload(x.cpu_values.data(), x.gpu);
    }
    for (const int64_t count : {int64_t{1}, int64_t{2}, int64_t{50}, int64_t{300}, kMostLargest}) {
      if (count > cols) continue;
      std::vector<Ranked> want(static_cast<size_t>(rows * count)), got(want.size());
      reference_->largest(x.cpu, count, want);
      stream_->largest(x.gpu, count, got);
      for (size_t i = 0; i < want.size(); ++i) {
        ASSERT_EQ(got[i].column, want[i].column) << cols << " columns, place " << i << " of " << count;
        ASSERT_EQ(std::isnan(got[i].value), std::isnan(want[i].value));
        if (!std::isnan(want[i].value)) {
          ASSERT_EQ(got[i].value, want[i].value);
        }
      }
    }
    EXPECT_THROW(stream_->largest(x.gpu, cols + 1, {}), Error);
  }
  stream_->largest({nullptr, 0, 5}, 2, {});
}

/// One piece of a row, some, and some of which the last has one element; those of one that are all -infinity.
TEST_F(BackendTest, ExpSums) {
  for (const auto& [rows, cols] : {std::array<int64_t, 2>{2, 1}, {1, 300}, {3, 2048}, {2, 4097}, {1, 0}}) {
    Pair x = make(rows, cols, 12);
    if (cols == 4097) {
      std::fill_n(x.cpu_values.begin(), 2048, -INFINITY);
      stream_->upload(x.cpu_values.data(), x.gpu);
    }
    for (const double first : {0.25, 1.0, 20.0}) {
      std::vector<double> temperatures(static_cast<size_t>(rows)), want(temperatures.size()),
          got(want.size());
      std::iota(temperatures.begin(), temperatures.end(), first);
      reference_->exp_sums(x.cpu, temperatures, want);
      stream_->exp_sums(x.gpu, temperatures, got);
      for (size_t i = 0; i < want.size(); ++i)
        EXPECT_NEAR(got[i], want[i], 1e-12 * want[i]) << cols << " columns";
    }
  }
  stream_->exp_sums({nullptr, 0, 5}, {}, {});
  EXPECT_FALSE(stream_->in_host_memory());
  EXPECT_TRUE(reference_->in_host_memory());
}

TEST_F(BackendTest, CancelsBetweenOps) {
  Pair x = make(2, 8);
  cancel_ = true;
  try {
    stream_->scale(x.gpu, 2);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::cancelled);
  }
  cancel_ = false;
  EXPECT_EQ(state_.turns, 0);
  expect_same(x, "what a cancelled op left", 0);
}

TEST_F(BackendTest, CacheSurvivesWantOfMemory) {
  const CacheShape shape{.layers = {{.kv_heads = 2, .key_dim = 12, .value_dim = 7}, {1, 8, 8}},
                         .sequences = 3};
  const size_t before = state_.used;
  const auto cache = backend_->create_cache(shape);
  cache->reserve(1, 65);
  const uint64_t two_pages = cache->bytes();
  state_.limit = state_.used + 1;
  for (const int64_t length : {129, 1000}) {
    try {
      cache->reserve(1, length);
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::out_of_memory);
    }
    EXPECT_EQ(cache->bytes(), two_pages);
  }
  cache->reserve(1, 128);
  state_.limit = SIZE_MAX;
  cache->reserve(1, 129);
  EXPECT_GT(cache->bytes(), two_pages);
  EXPECT_EQ(cache->truncate(1, 10), 10);
  EXPECT_LT(cache->bytes(), two_pages);
  EXPECT_EQ(cache->truncate(1, 0), 0);
  EXPECT_THROW(cache->reserve(3, 1), Error);
  EXPECT_THROW(backend_->create_cache({.layers = {{.kv_heads = -1}}}), Error);
  EXPECT_GT(state_.used, before);
}

TEST_F(BackendTest, RefusesACacheOfEightBits) {
  try {
    (void)backend_->create_cache({.layers = {{1, 8, 8}}, .elements = KvElements::int8});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::unsupported);
    for (const char* says : {"'kv_cache' = int8", "cuda (", "auto"})
      EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace gptq::cuda
