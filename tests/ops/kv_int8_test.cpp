// A cache in 8 bits beside one in fp32: how far attention may be from it, what it takes, and what is no number.
#include <cmath>

#include "base/error.h"
#include "ops_support.h"

namespace gptq::test {
namespace {

constexpr int64_t kHeads = 4, kKvHeads = 2, kKeyDim = 24, kValueDim = 20, kGroup = kHeads / kKvHeads;
constexpr float kScale = 0.2f;

CacheShape shape_of(KvElements elements) {
  return {.layers = {{.kv_heads = kKvHeads, .key_dim = kKeyDim, .value_dim = kValueDim}},
          .elements = elements};
}

std::vector<Row> rows_of(int64_t begin, int64_t end) {
  std::vector<Row> rows;
  for (int64_t p = begin; p < end; ++p) rows.push_back({0, static_cast<int32_t>(p)});
  return rows;
}

/// One sequence of queries, keys and values.
struct Texts {
  std::vector<float> q, k, v;
  int64_t length;

  Texts(Random& random, int64_t count)
      : q(random_floats(random, count * kHeads * kKeyDim)),
        k(random_floats(random, count * kKvHeads * kKeyDim, 3.0f)),
        v(random_floats(random, count * kKvHeads * kValueDim, 2.0f)),
        length(count) {}

  float* key(int64_t position, int64_t head) { return k.data() + (position * kKvHeads + head) * kKeyDim; }
  float* value(int64_t position, int64_t head) { return v.data() + (position * kKvHeads + head) * kValueDim; }
};

/// Positions [begin, end): stored, then attended from.
std::vector<float> attend(const Backend& backend, KvCache& cache, const Texts& texts, int64_t begin,
                          int64_t end) {
  const auto part = [&](const std::vector<float>& all, int64_t width) {
    return std::vector<float>(all.begin() + begin * width, all.begin() + end * width);
  };
  const auto stream = backend.create_stream(nullptr);
  const auto rows = rows_of(begin, end);
  auto q = part(texts.q, kHeads * kKeyDim), k = part(texts.k, kKvHeads * kKeyDim),
       v = part(texts.v, kKvHeads * kValueDim);
  const int64_t m = end - begin;
  cache.reserve(0, end);
  stream->rope_store({}, rows, matrix(q, m, kHeads * kKeyDim), matrix(k, m, kKvHeads * kKeyDim),
                     matrix(v, m, kKvHeads * kValueDim), cache, 0);
  std::vector<float> out(static_cast<size_t>(m * kHeads * kValueDim));
  stream->attention(
      {.heads = kHeads, .kv_heads = kKvHeads, .key_dim = kKeyDim, .value_dim = kValueDim, .scale = kScale},
      rows, matrix(q, m, kHeads * kKeyDim), cache, 0, matrix(out, m, kHeads * kValueDim));
  return out;
}

std::vector<float> attend(const Backend& backend, KvElements elements, const Texts& texts) {
  const auto cache = backend.create_cache(shape_of(elements));
  return attend(backend, *cache, texts, 0, texts.length);
}

float largest(const float* x, int64_t n) {
  float most = 0.0f;
  for (int64_t i = 0; i < n; ++i) most = std::max(most, std::fabs(x[i]));
  return most;
}

/// How far rounding may move what a head gives at a position. With s the scales, |q| the sum of magnitudes and half a step of
/// error in each number: scores move by at most e = |q| max s_k / 2, so each probability by a factor between e^-2e and e^2e,
/// and values by at most max s_v / 2.
double bound(Texts& texts, int64_t position, int64_t head) {
  double sum = 0.0, key_scale = 0.0, value_scale = 0.0, value = 0.0;
  for (int64_t i = 0; i < kKeyDim; ++i)
    sum += std::fabs(double{kScale} * texts.q[static_cast<size_t>((position * kHeads + head) * kKeyDim + i)]);
  for (int64_t p = 0; p <= position; ++p) {
    key_scale = std::max(key_scale, double{largest(texts.key(p, head / kGroup), kKeyDim)} / 127);
    value_scale = std::max(value_scale, double{largest(texts.value(p, head / kGroup), kValueDim)} / 127);
    value = std::max(value, double{largest(texts.value(p, head / kGroup), kValueDim)});
  }
  return (std::exp(sum * key_scale) - 1) * value + value_scale / 2 + 1e-5;
}

TEST(KvInt8, IsWithinHalfAStepOfTheScales) {
  Random random(31);
  const auto backend = create_backend("cpu", {.threads = 2});
  Texts texts(random, 200);
  const auto want = attend(*backend, KvElements::automatic, texts);
  const auto got = attend(*backend, KvElements::int8, texts);
  double squares = 0, bounds = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const auto head = static_cast<int64_t>(i) / kValueDim;
    const double most = bound(texts, head / kHeads, head % kHeads), error = double{got[i]} - want[i];
    ASSERT_LE(std::fabs(error), most) << i;
    squares += error * error;
    bounds += most * most;
  }
  EXPECT_GT(squares, 0);                // they are rounded
  EXPECT_LT(squares, bounds * 0.0025);  // and errors of many numbers are not all of one sign
}

TEST(KvInt8, ADecodedTokenIsThatOfThePrompt) {
  Random random(32);
  for (Compute compute : {Compute::exact, Compute::fast}) {
    const auto backend = create_backend("cpu", {.threads = 2, .compute = compute});
    const Texts texts(random, 140);
    const auto whole = attend(*backend, KvElements::int8, texts);
    const auto cache = backend->create_cache(shape_of(KvElements::int8));
    attend(*backend, *cache, texts, 0, 100);
    EXPECT_EQ(cache->truncate(0, 60), 60);
    for (int64_t p = 60; p < 140; ++p) {
      const auto token = attend(*backend, *cache, texts, p, p + 1);
      for (size_t i = 0; i < token.size(); ++i)
        ASSERT_NEAR(token[i], whole[static_cast<size_t>(p) * token.size() + i], 3e-6) << p;
    }
  }
}

TEST(KvInt8, RowsOfZerosAndOfOneLargeNumber) {
  Random random(33);
  const auto backend = create_backend("cpu", {.threads = 1});
  Texts texts(random, 70);
  for (int64_t h = 0; h < kKvHeads; ++h) {
    for (int64_t p : {0, 1, 5, 64}) {
      std::fill_n(texts.key(p, h), kKeyDim, 0.0f);
      std::fill_n(texts.value(p, h), kValueDim, p == 5 ? 1e-40f : 0.0f);
    }
    texts.value(9, h)[3] = 1e37f;
  }
  const auto got = attend(*backend, KvElements::int8, texts);
  for (float x : got) ASSERT_TRUE(std::isfinite(x));
  for (int64_t i = 0; i < 2 * kHeads * kValueDim; ++i) ASSERT_EQ(got[static_cast<size_t>(i)], 0.0f) << i;
}

TEST(KvInt8, WhatIsNotFiniteStaysWithThoseWhoSeeIt) {
  Random random(34);
  const auto backend = create_backend("cpu", {.threads = 1});
  for (float wild : {NAN, INFINITY}) {
    Texts texts(random, 100);
    const auto clean = attend(*backend, KvElements::int8, texts);
    texts.value(90, 1)[2] = wild;
    const auto cache = backend->create_cache(shape_of(KvElements::int8));
    auto got = attend(*backend, *cache, texts, 0, 90);
    for (size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], clean[i]);
    got = attend(*backend, *cache, texts, 90, 91);
    for (int64_t i = 0; i < kHeads * kValueDim; ++i)
      ASSERT_EQ(std::isnan(got[static_cast<size_t>(i)]), i / kValueDim / kGroup == 1) << i;
    // and is forgotten with its position
    EXPECT_EQ(cache->truncate(0, 90), 90);
    Random again(35);
    const Texts others(again, 100);
    for (float x : attend(*backend, *cache, others, 90, 100)) ASSERT_TRUE(std::isfinite(x));
  }
}

TEST(KvInt8, TakesAByteForANumberAndTwoScalesForAPosition) {
  const auto backend = create_backend("cpu", {.threads = 1, .compute = Compute::fast});
  const auto halves = backend->create_cache(shape_of(KvElements::automatic));
  const auto bytes = backend->create_cache(shape_of(KvElements::int8));
  EXPECT_EQ(halves->position_bytes(0), uint64_t{2 * kKvHeads * (kKeyDim + kValueDim)});
  EXPECT_EQ(bytes->position_bytes(0), uint64_t{kKvHeads * (kKeyDim + kValueDim + 8)});
  bytes->reserve(0, 1);
  const uint64_t page = bytes->bytes();
  EXPECT_GE(page, 64 * bytes->position_bytes(0));
  EXPECT_LE(page, 64 * bytes->position_bytes(0) + 64);
  bytes->reserve(0, 129);
  EXPECT_EQ(bytes->bytes(), 3 * page);
}

}  // namespace
}  // namespace gptq::test
