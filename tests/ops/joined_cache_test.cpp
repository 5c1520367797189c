// A cache that has taken the sequences of others: what is stored and seen there is theirs.
#include <array>

#include "base/error.h"
#include "ops_support.h"

namespace gptq::test {
namespace {

constexpr int64_t kHeads = 4, kKvHeads = 2, kDim = 8, kLength = 70;

CacheShape shape_of(int64_t sequences, KvElements elements = KvElements::automatic) {
  return {.layers = {{.kv_heads = kKvHeads, .key_dim = kDim, .value_dim = kDim}},
          .sequences = sequences,
          .elements = elements};
}

/// Stores numbers for the rows, and what attention then gives for each.
std::vector<float> step(const Backend& backend, const std::vector<Row>& rows, KvCache& cache) {
  const auto stream = backend.create_stream(nullptr);
  const auto m = static_cast<int64_t>(rows.size());
  std::vector<float> q, k, v, out(static_cast<size_t>(m * kHeads * kDim));
  for (const Row& row : rows) {  // of a position, whatever sequence of the cache it is of
    Random random(static_cast<uint64_t>(row.position));
    for (auto [to, heads] : {std::pair{&q, kHeads}, {&k, kKvHeads}, {&v, kKvHeads}}) {
      const auto some = random_floats(random, heads * kDim);
      to->insert(to->end(), some.begin(), some.end());
    }
  }
  const Matrix queries = matrix(q, m, kHeads * kDim);
  stream->rope_store({}, rows, queries, matrix(k, m, kKvHeads * kDim), matrix(v, m, kKvHeads * kDim), cache,
                     0);
  stream->attention(
      {.heads = kHeads, .kv_heads = kKvHeads, .key_dim = kDim, .value_dim = kDim, .scale = 0.3f}, rows,
      queries, cache, 0, matrix(out, m, kHeads * kDim));
  return out;
}

std::vector<Row> rows_of(int32_t sequence, int32_t begin, int32_t end) {
  std::vector<Row> rows;
  for (int32_t p = begin; p < end; ++p) rows.push_back({sequence, p});
  return rows;
}

TEST(JoinedCache, StoresInTheOthersAndSeesThem) {
  for (KvElements elements : {KvElements::automatic, KvElements::int8}) {
    const auto backend = backend_with(2);
    const auto a = backend->create_cache(shape_of(1, elements)),
               b = backend->create_cache(shape_of(2, elements)),
               joined = backend->create_cache(shape_of(0, elements));
    a->reserve(0, kLength);
    b->reserve(0, kLength);
    b->reserve(1, kLength);
    (void)step(*backend, rows_of(0, 0, 65), *a);
    (void)step(*backend, rows_of(1, 0, 9), *b);
    const std::array<KvCache*, 2> both{b.get(), a.get()};
    joined->join(both);
    EXPECT_EQ(joined->bytes(), a->bytes() + b->bytes());
    const auto got = step(*backend, {{2, 65}, {1, 9}, {0, 0}}, *joined);
    joined->join({});
    EXPECT_EQ(joined->bytes(), 0u);
    EXPECT_THROW(step(*backend, {{0, 0}}, *joined), Error);
    // what comes next sees what was stored, and the same rows alone give the same bits
    const auto whole = backend->create_cache(shape_of(1, elements));
    whole->reserve(0, kLength);
    (void)step(*backend, rows_of(0, 0, 65), *whole);
    auto want = step(*backend, {{0, 65}}, *whole);
    EXPECT_EQ(step(*backend, {{0, 66}}, *a), step(*backend, {{0, 66}}, *whole));
    EXPECT_EQ(whole->truncate(0, 9), 9);
    for (int32_t position : {9, 0}) {
      const auto row = step(*backend, {{0, position}}, *whole);
      want.insert(want.end(), row.begin(), row.end());
    }
    EXPECT_EQ(got, want);
  }
}

TEST(JoinedCache, OutlivesThem) {
  const auto backend = backend_with(1);
  const auto joined = backend->create_cache(shape_of(0));
  {
    const auto a = backend->create_cache(shape_of(1));
    a->reserve(0, 3);
    const std::array<KvCache*, 1> one{a.get()};
    joined->join(one);
  }
  EXPECT_EQ(step(*backend, rows_of(0, 0, 3), *joined).size(), size_t{3 * kHeads * kDim});
}

TEST(JoinedCache, RefusesWhatKeepsSomethingElse) {
  const auto backend = backend_with(1);
  const auto a = backend->create_cache(shape_of(1)),
             rounded = backend->create_cache(shape_of(1, KvElements::int8));
  CacheShape more_layers = shape_of(1);
  more_layers.layers.push_back(more_layers.layers[0]);
  const auto deeper = backend->create_cache(more_layers);
  for (KvCache* const other : {rounded.get(), deeper.get()}) {
    const auto joined = backend->create_cache(shape_of(0));
    const std::array<KvCache*, 2> both{a.get(), other};
    try {
      joined->join(both);
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::invalid_argument);
    }
    EXPECT_EQ(joined->bytes(), 0u);
  }
}

}  // namespace
}  // namespace gptq::test
