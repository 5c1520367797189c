// The gated delta rule against the CPU backend, whose state it can go on from.
#include <algorithm>

#include "cuda_support.h"

namespace gptq::cuda {
namespace {

struct Shape {
  int64_t heads, key_heads, key_dim, value_dim, kernel;
};

struct Part {
  int32_t sequence, begin, end;
};

class DeltaTest : public testing::TestWithParam<Element> {
 protected:
  /// Takes the batches one after the other, on both.
  void expect_delta(const Shape& s, const std::vector<std::vector<Part>>& batches) {
    const Element element = GetParam();
    constexpr int32_t kSequences = 3;
    const int64_t keys = s.key_heads * s.key_dim, values = s.heads * s.value_dim,
                  channels = 2 * keys + values;
    Random random(23);
    const std::vector<float> conv = random_floats(random, channels * s.kernel),
                             a_log = random_floats(random, s.heads), dt_bias = random_floats(random, s.heads);
    const auto vector = [&](const std::vector<float>& x) {
      return reference_.backend().prepare_vector(float_tensor(x));
    };
    const auto conv_vector = vector(conv), a_vector = vector(a_log), dt_vector = vector(dt_bias);
    const DeltaParams params{s.heads,  s.key_heads,       s.key_dim,      s.value_dim,
                             s.kernel, conv_vector.get(), a_vector.get(), dt_vector.get()};
    const auto cache =
        reference_.backend().create_cache({.layers = {{.state = params.state()}}, .sequences = kSequences});
    for (int32_t i = 0; i < kSequences; ++i) cache->reserve(i, 200);
    std::vector<std::vector<float>> states(kSequences,
                                           std::vector<float>(static_cast<size_t>(params.state())));
    for (const std::vector<Part>& parts : batches) {
      std::vector<Row> rows;
      std::vector<DeltaRun> runs;
      for (const Part& p : parts) {
        runs.push_back({static_cast<int32_t>(rows.size()), p.end - p.begin, p.begin,
                        states[static_cast<size_t>(p.sequence)].data()});
        for (int32_t i = p.begin; i < p.end; ++i) rows.push_back({p.sequence, i});
      }
      const auto count = static_cast<int64_t>(rows.size());
      const auto make = [&](int64_t cols) {
        return Activations(element, random_floats(random, count * cols));
      };
      Activations q = make(keys), k = make(keys), v = make(values), beta = make(s.heads),
                  decay = make(s.heads);
      Activations out(element, count * values);
      std::vector<float> q0 = q.floats(), k0 = k.floats(), v0 = v.floats(), b0 = beta.floats(),
                         d0 = decay.floats();
      std::vector<float> wanted(static_cast<size_t>(count * values));
      reference_->delta_rule(params, rows, matrix_of(q0, count, keys), matrix_of(k0, count, keys),
                             matrix_of(v0, count, values), matrix_of(b0, count, s.heads),
                             matrix_of(d0, count, s.heads), *cache, 0, matrix_of(wanted, count, values));
      const DeltaView view{s.heads,  s.key_heads, s.key_dim,    s.value_dim,
                           s.kernel, conv.data(), a_log.data(), dt_bias.data()};
      std::vector<float> scratch(scratch_of_delta(view, count) / sizeof(float), NAN);
      delta_rule(kQueue, element, view, runs.data(), static_cast<int64_t>(runs.size()), count, q.data(),
                 k.data(), v.data(), beta.data(), decay.data(), scratch.data(), out.data());
      // what comes in is rounded alike for both: what is left is the rounding of the result, which may be subnormal
      float most = 0;
      for (float w : wanted) most = std::max(most, std::abs(w));
      expect_near(out.floats(), wanted, 1.01f * rounding(element), 1e-3f * most + 0x1p-14f, "delta rule");
    }
  }

  Reference reference_;
};

TEST_P(DeltaTest, EqualsTheCpu) {
  for (const Shape& s : {Shape{1, 1, 1, 1, 1}, Shape{2, 2, 3, 5, 4}, Shape{6, 2, 16, 8, 2},
                         Shape{4, 1, 33, 70, 4}, Shape{2, 2, 128, 128, 8}})
    expect_delta(s, {{{0, 0, 40}}});
}

TEST_P(DeltaTest, GoesOnFromItsState) {
  expect_delta({4, 2, 8, 6, 4},
               {{{0, 0, 2}}, {{0, 2, 3}}, {{0, 3, 20}, {2, 0, 1}}, {{2, 1, 9}, {0, 20, 21}, {1, 0, 5}}});
  expect_delta({6, 2, 5, 3, 2}, {{{0, 0, 10}}, {{0, 10, 11}}, {{0, 11, 12}, {1, 0, 3}}});
}

INSTANTIATE_TEST_SUITE_P(Cuda, DeltaTest, testing::ValuesIn(kElements));

class ProductsTest : public testing::TestWithParam<Element> {};

TEST_P(ProductsTest, EqualSumsInDouble) {
  for (const auto& [a_cols, b_cols, rows] :
       {std::array<int64_t, 3>{8, 8, 1}, {130, 264, 50}, {5, 77, 33}, {256, 136, 100}, {16, 16, 4200}}) {
    for (float sign : {1.0f, -1.0f}) {
      Random random(5);
      Activations a(GetParam(), random_floats(random, rows * a_cols)),
          b(GetParam(), random_floats(random, rows * b_cols));
      const std::vector<float> x = a.floats(), y = b.floats(),
                               before = random_floats(random, a_cols * b_cols);
      std::vector<float> c = before;
      add_products(kQueue, GetParam(), a.data(), a_cols, b.data(), b_cols, rows, sign, Wanted::all, c.data());
      for (int64_t i = 0; i < a_cols; ++i) {
        for (int64_t j = 0; j < b_cols; ++j) {
          double wanted = 0, size = 1;
          for (int64_t r = 0; r < rows; ++r) {
            const double term = double{x[static_cast<size_t>(r * a_cols + i)]} *
                                double{y[static_cast<size_t>(r * b_cols + j)]};
            wanted += term;
            size += std::abs(term);
          }
          const auto at = static_cast<size_t>(i * b_cols + j);
          ASSERT_NEAR(c[at], before[at] + sign * wanted, 2e-6 * size) << i << ", " << j;
        }
      }
    }
  }
}

TEST_P(ProductsTest, UpperIsAboveTheDiagonal) {
  Random random(5);
  Activations x(GetParam(), random_floats(random, 20 * 300));
  std::vector<float> all(300 * 300), upper(300 * 300);
  add_products(kQueue, GetParam(), x.data(), 300, x.data(), 300, 20, 1, Wanted::all, all.data());
  add_products(kQueue, GetParam(), x.data(), 300, x.data(), 300, 20, 1, Wanted::upper, upper.data());
  for (size_t i = 0; i < 300; ++i) {
    for (size_t j = i; j < 300; ++j) EXPECT_EQ(upper[i * 300 + j], all[i * 300 + j]);
  }
  EXPECT_EQ(upper[299 * 300], 0.0f);
}

TEST_P(ProductsTest, HaveNoBankConflicts) {
  Random random(5);
  Activations x(GetParam(), random_floats(random, 64 * 128));
  std::vector<float> c(128 * 128);
  shim::reset_counts();
  add_products(kQueue, GetParam(), x.data(), 128, x.data(), 128, 64, 1, Wanted::all, c.data());
  expect_no_conflicts(100);
}

INSTANTIATE_TEST_SUITE_P(Cuda, ProductsTest, testing::ValuesIn(kElements));

}  // namespace
}  // namespace gptq::cuda
