// Attention against the CPU backend: shapes of heads, lengths about a page, windows, chunks, caps, sinks and slopes.
#include <algorithm>

#include "cuda/attention.h"
#include "cuda_support.h"

namespace gptq::cuda {
namespace {

struct Shape {
  int64_t heads = 4, kv_heads = 2, key_dim = 64, value_dim = 64;
};

/// Positions [begin, end) of a sequence are the rows of a batch.
struct Part {
  int32_t sequence, begin, end;
};

struct Extras {
  AttentionParams params;  // but for heads, dims and vectors
  bool slopes = false, sinks = false;
};

class AttentionTest : public testing::TestWithParam<Element> {
 protected:
  /// Every sequence has its keys and values stored up to the last position that is asked for.
  void expect_attention(const Shape& s, const std::vector<Part>& parts, const Extras& extras = {},
                        int64_t busy = 1) {
    const Element element = GetParam();
    Random random(17);
    int32_t sequences = 0, longest = 0;
    std::vector<Row> rows;
    for (const Part& p : parts) {
      sequences = std::max(sequences, p.sequence + 1);
      longest = std::max(longest, p.end);
      for (int32_t i = p.begin; i < p.end; ++i) rows.push_back({p.sequence, i});
    }
    const auto count = static_cast<int64_t>(rows.size());
    const auto on_cpu = reference_.backend().create_cache(
        {.layers = {{s.kv_heads, s.key_dim, s.value_dim}}, .sequences = sequences});
    // pages, with what was never stored NaN
    CacheView cache{.keys_at = 0,
                    .values_at = s.kv_heads * kPagePositions * cache_pitch(s.key_dim),
                    .kv_heads = s.kv_heads,
                    .key_dim = s.key_dim,
                    .value_dim = s.value_dim};
    const int64_t page = cache.values_at + s.kv_heads * kPagePositions * cache_pitch(s.value_dim);
    cache.most_pages = (longest + kPagePositions - 1) / kPagePositions;
    std::vector<Activations> pages;
    std::vector<void*> table;
    for (int64_t i = 0; i < sequences * cache.most_pages; ++i) {
      pages.emplace_back(element, page);
      table.push_back(pages.back().data());
    }
    cache.pages = table.data();
    for (int32_t sequence = 0; sequence < sequences; ++sequence) {
      int32_t length = 0;
      for (const Part& p : parts) length = p.sequence == sequence ? std::max(length, p.end) : length;
      on_cpu->reserve(sequence, length);
      std::vector<Row> all;
      for (int32_t i = 0; i < length; ++i) all.push_back({sequence, i});
      Activations k(element, random_floats(random, length * s.kv_heads * s.key_dim)),
          v(element, random_floats(random, length * s.kv_heads * s.value_dim));
      Activations q(element, 0);
      rope_store(kQueue, element, {}, all.data(), length, 0, q.data(), k.data(), v.data(), cache);
      std::vector<float> keys = k.floats(), values = v.floats(), none;
      reference_->rope_store({}, all, matrix_of(none, length, 0),
                             matrix_of(keys, length, s.kv_heads * s.key_dim),
                             matrix_of(values, length, s.kv_heads * s.value_dim), *on_cpu, 0);
    }
    Activations q(element, random_floats(random, count * s.heads * s.key_dim, 3)),
        out(element, count * s.heads * s.value_dim);
    const std::vector<float> slopes = random_floats(random, s.heads, 0.1f),
                             sinks = random_floats(random, s.heads, 3);
    const auto slope_vector = reference_.backend().prepare_vector(float_tensor(slopes));
    const auto sink_vector = reference_.backend().prepare_vector(float_tensor(sinks));
    AttentionParams params = extras.params;
    params.heads = s.heads;
    params.kv_heads = s.kv_heads;
    params.key_dim = s.key_dim;
    params.value_dim = s.value_dim;
    params.scale = 1.0f / std::sqrt(static_cast<float>(s.key_dim));
    if (extras.slopes) params.slopes = slope_vector.get();
    if (extras.sinks) params.sinks = sink_vector.get();
    std::vector<float> queries = q.floats(), wanted(static_cast<size_t>(count * s.heads * s.value_dim));
    reference_->attention(params, rows, matrix_of(queries, count, s.heads * s.key_dim), *on_cpu, 0,
                          matrix_of(wanted, count, s.heads * s.value_dim));

    const AttentionView view{.heads = s.heads,
                             .scale = params.scale,
                             .window = params.window,
                             .chunk = params.chunk,
                             .softcap = params.softcap,
                             .slopes = extras.slopes ? slopes.data() : nullptr,
                             .sinks = extras.sinks ? sinks.data() : nullptr,
                             .slope_kind = params.slope_kind,
                             .slope_factor = params.slope_factor};
    const AttentionPlan plan = plan_attention(rows, view, s.kv_heads, busy);
    std::vector<float> scratch(static_cast<size_t>(plan.scratch_floats(s.value_dim)), NAN);
    attention(kQueue, element,
              {.params = view,
               .rows = rows.data(),
               .narrow = plan.narrow.data(),
               .wide = plan.wide.data(),
               .joins = plan.joins.data(),
               .narrow_count = static_cast<int64_t>(plan.narrow.size()),
               .wide_count = static_cast<int64_t>(plan.wide.size()),
               .joins_count = static_cast<int64_t>(plan.joins.size()),
               .q = q.data(),
               .cache = cache,
               .scratch = scratch.data(),
               .out = out.data()});
    expect_near(out.floats(), wanted, 2.5f * rounding(element), 0.5f, "attention");
    joins_ += plan.joins.size();
  }

  Reference reference_;
  size_t joins_ = 0;
};

TEST_P(AttentionTest, EveryShapeOfHeads) {
  for (const Shape& s :
       {Shape{1, 1, 64, 64}, Shape{4, 2, 128, 128}, Shape{2, 1, 16, 8}, Shape{6, 2, 80, 80},
        Shape{3, 3, 5, 3}, Shape{2, 2, 192, 128}, Shape{2, 1, 256, 256}, Shape{2, 1, 24, 200}}) {
    expect_attention(s, {{0, 0, 37}});   // wide or narrow, as the heads are
    expect_attention(s, {{0, 70, 71}});  // narrow
  }
}

TEST_P(AttentionTest, LengthsAboutAPage) {
  for (int32_t length : {1, 2, 15, 16, 17, 63, 64, 65, 127, 130}) {
    expect_attention({}, {{0, 0, length}});
    expect_attention({}, {{0, length - 1, length}});
  }
}

TEST_P(AttentionTest, ManySequences) {
  expect_attention({8, 2, 32, 32},
                   {{0, 30, 31}, {1, 0, 50}, {2, 64, 65}, {3, 100, 130}, {0, 31, 32}, {1, 50, 51}});
}

TEST_P(AttentionTest, HeadsThatShareOneHeadOfKeys) {
  for (int64_t heads : {5, 16, 17, 64, 71, 130}) {
    expect_attention({heads, 1, 32, 32}, {{0, 90, 91}, {1, 0, 3}});
  }
}

TEST_P(AttentionTest, WindowsChunksCapsSinksAndSlopes) {
  for (const Shape& s : {Shape{4, 2, 64, 64}, Shape{2, 1, 256, 256}}) {
    for (const std::vector<Part>& parts :
         {std::vector<Part>{{0, 0, 90}}, std::vector<Part>{{0, 150, 151}, {1, 129, 133}}}) {
      Extras window, chunk, cap, sinks, slopes, rounded;
      window.params.window = 33;
      chunk.params.chunk = 48;
      cap.params.softcap = 2;
      sinks.sinks = true;
      slopes.slopes = rounded.slopes = true;
      slopes.params.slope_factor = 0.7f;
      rounded.params.slope_kind = SlopeKind::rounded;
      for (const Extras& extras : {window, chunk, cap, sinks, slopes, rounded})
        expect_attention(s, parts, extras);
    }
  }
}

/// Positions cut into parts, which are joined.
TEST_P(AttentionTest, Parts) {
  Extras all;
  all.sinks = all.slopes = true;
  all.params.window = 700;
  for (const Extras& extras : {Extras{}, all}) {
    expect_attention({4, 2, 64, 64}, {{0, 999, 1000}}, extras, 100);
    expect_attention({4, 2, 40, 24}, {{0, 995, 1000}, {1, 300, 301}, {2, 5, 6}}, extras, 100);
    expect_attention({4, 4, 256, 256}, {{0, 590, 611}}, extras, 100);
  }
  EXPECT_GT(joins_, 5u);
}

TEST_P(AttentionTest, HasNoBankConflicts) {
  shim::reset_counts();
  expect_attention({4, 2, 128, 128}, {{0, 0, 128}, {1, 100, 101}});
  expect_no_conflicts(1000);
}

INSTANTIATE_TEST_SUITE_P(Cuda, AttentionTest, testing::ValuesIn(kElements));

/// So many rows as one launch is begun for: less where they see more, but for the fewest that are worth one.
TEST(Attention, ManyRowsThatSeeMuchGoInPieces) {
  const auto at_once = [](const AttentionView& view, int32_t last) {
    const std::vector<Row> rows{{0, last - 5}, {1, last}, {0, last - 4}};
    return rows_of_attention(rows, view, {.seen = 4000, .least_rows = 16});
  };
  EXPECT_EQ(at_once({}, 9), 400);
  EXPECT_EQ(at_once({}, 99), 32);
  EXPECT_EQ(at_once({}, 124), 32);
  EXPECT_EQ(at_once({}, 125), 16);
  EXPECT_EQ(at_once({}, 100'000), 16);
  EXPECT_EQ(at_once({.window = 10}, 100'000), 400);
  EXPECT_EQ(at_once({.chunk = 50}, 100'049), 80);
  EXPECT_EQ(rows_of_attention({}, {}, {.seen = 4000, .least_rows = 16}), 4000);
  constexpr AttentionLimits kUsual{};
  EXPECT_EQ(kUsual.least_rows % 8, 0);  // so a piece begins at a multiple of 16 bytes
  const std::vector<Row> far{{0, (1 << 20) - 1}}, near{{0, 2047}};
  EXPECT_EQ(rows_of_attention(far, {}, kUsual), 512);
  EXPECT_GE(rows_of_attention(near, {}, kUsual), 2048);
}

}  // namespace
}  // namespace gptq::cuda
