// Rotation, the cache and attention against plain double arithmetic.
#include <cmath>

#include "base/error.h"
#include "ops_support.h"

namespace gptq::test {
namespace {

struct Shape {
  int64_t heads, kv_heads, key_dim, value_dim, window;
  int64_t chunk = 0;
  float softcap = 0;
};

/// Of each head: what is added per position, and the score of what has no value.
float slope_of(int64_t head) { return 0.03f * static_cast<float>(head + 1); }
float sink_of(int64_t head) { return 0.4f * static_cast<float>(head) - 0.5f; }
enum class Extras : uint8_t { none, slopes, rounded_slopes, sinks };

CacheShape cache_of(int64_t layers, const CacheLayer& each, int64_t sequences,
                    KvElements elements = KvElements::automatic) {
  return {
      .layers = std::vector(static_cast<size_t>(layers), each), .sequences = sequences, .elements = elements};
}

/// Keys, values and queries of some sequences, and the cache that holds the first two.
class World {
 public:
  World(const Backend& backend, const Shape& shape, const std::vector<int64_t>& lengths,
        KvElements elements = KvElements::automatic, int64_t layers = 1, int64_t layer = 0)
      : shape_(shape), layer_(layer), stream_(backend.create_stream(nullptr)), random_(9) {
    cache_ = backend.create_cache(cache_of(layers, {shape.kv_heads, shape.key_dim, shape.value_dim},
                                           static_cast<int64_t>(lengths.size()), elements));
    const auto numbers = [&](int64_t rows, int64_t dim, float scale) {
      return elements == KvElements::int8 ? wholes(rows, dim, scale) : halves(rows * dim, scale);
    };
    for (size_t s = 0; s < lengths.size(); ++s) {
      cache_->reserve(static_cast<int32_t>(s), lengths[s]);
      keys_.push_back(numbers(lengths[s] * shape.kv_heads, shape.key_dim, 2.0f));
      values_.push_back(numbers(lengths[s] * shape.kv_heads, shape.value_dim, 1.0f));
      queries_.push_back(random_floats(random_, lengths[s] * shape.heads * shape.key_dim, 2.0f));
    }
  }

  /// Numbers that a cache in fp16 keeps as they are.
  std::vector<float> halves(int64_t n, float scale) {
    std::vector<float> out = random_floats(random_, n, scale);
    for (float& x : out) x = fp16_to_float(float_to_fp16(x));
    return out;
  }

  /// Numbers that a cache in 8 bits keeps as they are: the scale of each row is a power of two, the largest number 127 of it.
  std::vector<float> wholes(int64_t rows, int64_t dim, float scale) {
    std::vector<float> out;
    for (int64_t r = 0; r < rows; ++r) {
      std::vector<float> row = random_floats(random_, dim, 127.0f);
      for (float& x : row) x = std::nearbyint(x);
      row[static_cast<size_t>(random_.uniform() * static_cast<double>(dim))] = -127.0f;
      const float unit = scale * std::exp2(std::floor(-7.0f - 3.0f * static_cast<float>(random_.uniform())));
      for (float x : row) out.push_back(x * unit);
    }
    return out;
  }

  /// Stores keys and values of the rows, then attends.
  std::vector<float> step(const std::vector<Row>& rows) {
    const auto m = static_cast<int64_t>(rows.size());
    auto q = gather(queries_, rows, shape_.heads * shape_.key_dim);
    auto k = gather(keys_, rows, shape_.kv_heads * shape_.key_dim);
    auto v = gather(values_, rows, shape_.kv_heads * shape_.value_dim);
    stream_->rope_store({}, rows, matrix(q, m, shape_.heads * shape_.key_dim),
                        matrix(k, m, shape_.kv_heads * shape_.key_dim),
                        matrix(v, m, shape_.kv_heads * shape_.value_dim), *cache_, layer_);
    std::vector<float> out(static_cast<size_t>(m * shape_.heads * shape_.value_dim), 55.0f);
    stream_->attention(params(), rows, matrix(q, m, shape_.heads * shape_.key_dim), *cache_, layer_,
                       matrix(out, m, shape_.heads * shape_.value_dim));
    return out;
  }

  void expect(const std::vector<Row>& rows, const std::vector<float>& got, const std::string& what) const {
    const int64_t width = shape_.heads * shape_.value_dim;
    ASSERT_EQ(got.size(), rows.size() * static_cast<size_t>(width));
    for (size_t i = 0; i < got.size(); ++i) {
      const Row& row = rows[i / static_cast<size_t>(width)];
      const auto column = static_cast<int64_t>(i) % width;
      const double want = truth(row, column / shape_.value_dim, column % shape_.value_dim);
      ASSERT_NEAR(got[i], want, 3e-6)
          << what << ": sequence " << row.sequence << " position " << row.position << " column " << column;
    }
  }

  KvCache& cache() { return *cache_; }
  AttentionParams params() const {
    return {.heads = shape_.heads,
            .kv_heads = shape_.kv_heads,
            .key_dim = shape_.key_dim,
            .value_dim = shape_.value_dim,
            .scale = 0.21f,
            .window = shape_.window,
            .chunk = shape_.chunk,
            .softcap = shape_.softcap,
            .slopes = slopes_.get(),
            .sinks = sinks_.get(),
            .slope_kind = extras_ == Extras::rounded_slopes ? SlopeKind::rounded : SlopeKind::relative,
            .slope_factor = 0.7f};
  }

  void add(const Backend& backend, Extras extras) {
    extras_ = extras;
    std::vector<float> values;
    for (int64_t h = 0; h < shape_.heads; ++h)
      values.push_back(extras == Extras::sinks ? sink_of(h) : slope_of(h));
    (extras == Extras::sinks ? sinks_ : slopes_) = backend.prepare_vector(float_tensor(values));
  }

 private:
  static std::vector<float> gather(const std::vector<std::vector<float>>& all, const std::vector<Row>& rows,
                                   int64_t width) {
    std::vector<float> out;
    for (const Row& r : rows) {
      const float* from = all[static_cast<size_t>(r.sequence)].data() + r.position * width;
      out.insert(out.end(), from, from + width);
    }
    return out;
  }

  double truth(Row row, int64_t head, int64_t d) const {
    const auto s = static_cast<size_t>(row.sequence);
    const int64_t kv = head / (shape_.heads / shape_.kv_heads);
    int64_t first = shape_.window > 0 ? std::max<int64_t>(0, row.position - shape_.window + 1) : 0;
    if (shape_.chunk > 0) first = std::max(first, row.position - row.position % shape_.chunk);
    std::vector<double> scores;
    double most = -1e300;
    for (int64_t j = first; j <= row.position; ++j) {
      double score = 0.0;
      for (int64_t i = 0; i < shape_.key_dim; ++i) {
        score +=
            double{
                queries_[s][static_cast<size_t>((row.position * shape_.heads + head) * shape_.key_dim + i)]} *
            keys_[s][static_cast<size_t>((j * shape_.kv_heads + kv) * shape_.key_dim + i)];
      }
      scores.push_back(bent(score * double{0.21f}, head, j, row.position));
      most = std::max(most, scores.back());
    }
    double sum = extras_ == Extras::sinks ? std::exp(double{sink_of(head)} - most) : 0.0, total = 0.0;
    for (int64_t j = first; j <= row.position; ++j) {
      const double weight = std::exp(scores[static_cast<size_t>(j - first)] - most);
      sum += weight;
      total += weight * values_[s][static_cast<size_t>((j * shape_.kv_heads + kv) * shape_.value_dim + d)];
    }
    return total / sum;
  }

  double bent(double score, int64_t head, int64_t j, int64_t own) const {
    const auto rounded = [](double x) {  // to eight bits
      const double unit = std::exp2(std::floor(std::log2(std::fabs(x))) - 7);
      return x == 0 ? 0 : std::nearbyint(x / unit) * unit;
    };
    if (shape_.softcap > 0) score = shape_.softcap * std::tanh(score / shape_.softcap);
    const double slope = slope_of(head);
    if (extras_ == Extras::slopes) score += double{0.7f} * slope * static_cast<double>(j - own);
    if (extras_ == Extras::rounded_slopes)
      score += double{0.7f} * rounded(rounded(slope) * static_cast<double>(j));
    return score;
  }

  Shape shape_;
  Extras extras_ = Extras::none;
  std::unique_ptr<Vector> slopes_, sinks_;
  int64_t layer_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<KvCache> cache_;
  Random random_;
  std::vector<std::vector<float>> keys_, values_, queries_;
};

std::vector<Row> span_of(int32_t sequence, int64_t begin, int64_t end) {
  std::vector<Row> rows;
  for (int64_t p = begin; p < end; ++p) rows.push_back({sequence, static_cast<int32_t>(p)});
  return rows;
}

const Shape kShapes[] = {{4, 4, 16, 16, 0}, {4, 2, 8, 8, 0},   {6, 1, 20, 12, 0}, {3, 3, 5, 7, 0},
                         {8, 2, 33, 40, 0}, {2, 1, 64, 64, 5}, {4, 4, 16, 16, 1}, {4, 2, 8, 24, 70},
                         {1, 1, 1, 1, 0},   {60, 1, 4, 4, 0}};

struct Stores {
  Compute compute;
  KvElements elements;
  const char* name;
};
class Attentions : public testing::TestWithParam<Stores> {
 protected:
  std::shared_ptr<const Backend> backend =
      create_backend("cpu", {.threads = 2, .compute = GetParam().compute});
  World world(const Shape& shape, const std::vector<int64_t>& lengths) const {
    return World(*backend, shape, lengths, GetParam().elements);
  }
};

INSTANTIATE_TEST_SUITE_P(Compute, Attentions,
                         testing::Values(Stores{Compute::exact, KvElements::automatic, "exact"},
                                         Stores{Compute::fast, KvElements::automatic, "fast"},
                                         Stores{Compute::exact, KvElements::int8, "int8"}),
                         [](const auto& info) { return info.param.name; });

TEST_P(Attentions, WholePromptThenSingleTokens) {
  for (const Shape& shape : kShapes) {
    World world = this->world(shape, {150});
    world.expect(span_of(0, 0, 140), world.step(span_of(0, 0, 140)), "prompt");
    for (int64_t p = 140; p < 150; ++p)
      world.expect(span_of(0, p, p + 1), world.step(span_of(0, p, p + 1)), "token");
  }
}

TEST_P(Attentions, WithCapsSlopesSinksAndChunks) {
  for (const Shape& shape : {Shape{4, 2, 16, 16, 0, 0, 0.5f}, Shape{4, 4, 16, 8, 0, 32, 0},
                             Shape{6, 2, 8, 8, 20, 0, 2.0f}, Shape{2, 1, 8, 8, 0, 70, 0}}) {
    for (Extras extras : {Extras::none, Extras::slopes, Extras::rounded_slopes, Extras::sinks}) {
      World world = this->world(shape, {150});
      if (extras != Extras::none) world.add(*backend, extras);
      world.expect(span_of(0, 0, 145), world.step(span_of(0, 0, 145)), "prompt");
      for (int64_t p = 145; p < 150; ++p)
        world.expect(span_of(0, p, p + 1), world.step(span_of(0, p, p + 1)), "token");
    }
  }
}

TEST_P(Attentions, LongDecodingIsCutIntoParts) {
  for (const Shape& shape : {Shape{4, 2, 16, 24, 0}, Shape{2, 2, 8, 8, 700}, Shape{1, 1, 4, 40, 3}}) {
    World world = this->world(shape, {1300});
    world.step(span_of(0, 0, 1298));
    world.expect(span_of(0, 1298, 1299), world.step(span_of(0, 1298, 1299)), "far token");
    world.expect(span_of(0, 1299, 1300), world.step(span_of(0, 1299, 1300)), "next far token");
  }
}

TEST_P(Attentions, ChunksGiveWhatTheWholeGives) {
  for (const Shape& shape : kShapes) {
    World world = this->world(shape, {100});
    for (const auto& [begin, end] : {std::pair{0, 1}, {1, 64}, {64, 65}, {65, 97}, {97, 100}}) {
      const auto rows = span_of(0, begin, end);
      world.expect(rows, world.step(rows), "chunk");
    }
  }
}

TEST_P(Attentions, SequencesMixedInOneBatch) {
  for (const Shape& shape : kShapes) {
    World world = this->world(shape, {70, 3, 20, 130});
    auto rows = span_of(3, 0, 100);
    const auto more = span_of(0, 0, 69), short_one = span_of(1, 0, 2);
    rows.insert(rows.end(), more.begin(), more.end());
    rows.insert(rows.end(), short_one.begin(), short_one.end());
    world.expect(rows, world.step(rows), "prompts");
    const std::vector<Row> tokens{{1, 2}, {0, 69}, {3, 100}, {2, 0}, {3, 101}, {2, 1}};
    world.expect(tokens, world.step(tokens), "tokens of all");
    const std::vector<Row> backwards{{3, 104}, {3, 103}, {3, 102}, {2, 3}, {2, 2}};
    world.expect(backwards, world.step(backwards), "backwards");
  }
}

TEST(Attention, LayersAreApart) {
  const auto backend = backend_with(1);
  const Shape shape{2, 1, 8, 8, 0};
  for (KvElements elements : {KvElements::automatic, KvElements::int8}) {
    World world(*backend, shape, {80}, elements, 3, 1);
    world.expect(span_of(0, 0, 80), world.step(span_of(0, 0, 80)), "middle layer");
  }
}

TEST(Attention, RefusesPositionsWithoutRoom) {
  const auto backend = backend_with(1);
  World world(*backend, {2, 1, 8, 8, 0}, {80});
  world.step(span_of(0, 0, 80));
  EXPECT_EQ(world.cache().truncate(0, 10), 10);
  EXPECT_THROW(world.step(span_of(0, 79, 80)), Error);
}

TEST(KvCache, GrowsAndShrinksByPages) {
  const auto backend = backend_with(1);
  const auto cache = backend->create_cache(cache_of(2, {2, 8, 8}, 2));
  EXPECT_EQ(cache->bytes(), 0u);
  cache->reserve(0, 1);
  const uint64_t page = cache->bytes();
  EXPECT_GE(page, 2u * 2 * 16 * 4);
  cache->reserve(1, 300);
  const uint64_t grown = cache->bytes();
  EXPECT_GE(grown, uint64_t{301} * 2 * 2 * 16 * 4);
  cache->reserve(1, 10);
  EXPECT_EQ(cache->bytes(), grown);
  EXPECT_EQ(cache->truncate(1, 1), 1);
  EXPECT_EQ(cache->bytes(), 2 * page);
  EXPECT_EQ(cache->truncate(1, 0), 0);
  EXPECT_EQ(cache->truncate(0, 0), 0);
  EXPECT_EQ(cache->bytes(), 0u);
  EXPECT_THROW(cache->reserve(2, 1), Error);
}

TEST(KvCache, FailedReservationChangesNothing) {
  const auto backend = backend_with(1);
  const auto cache = backend->create_cache(cache_of(1 << 20, {1 << 20, 1024, 1024}, 1));
  try {
    cache->reserve(0, 1);
    FAIL() << "that much memory?";
  } catch (const Error& e) {
    EXPECT_EQ(e.status(), Status::out_of_memory);
  }
  EXPECT_EQ(cache->bytes(), 0u);
}

TEST(Rope, RotatesPairsOfBothLayouts) {
  const auto backend = backend_with(2);
  const auto stream = backend->create_stream(nullptr);
  Random random(12);
  const int64_t heads = 3, kv_heads = 1, head_dim = 10;
  const std::vector<Row> rows{{0, 0}, {0, 1}, {0, 2}, {0, 3}, {0, 4}};
  const auto m = static_cast<int64_t>(rows.size());
  for (RopeLayout layout : {RopeLayout::half, RopeLayout::pairs}) {
    for (int64_t dim : {0, 2, 6, 10}) {
      const auto cache = backend->create_cache(cache_of(1, {kv_heads, head_dim, 4}, 1));
      cache->reserve(0, m);
      const auto cosines = random_floats(random, m * dim / 2), sines = random_floats(random, m * dim / 2);
      const auto q0 = random_floats(random, m * heads * head_dim),
                 k0 = random_floats(random, m * kv_heads * head_dim);
      auto q = q0, k = k0, v = random_floats(random, m * kv_heads * 4);
      stream->rope_store({cosines.data(), sines.data(), dim, layout}, rows, matrix(q, m, heads * head_dim),
                         matrix(k, m, kv_heads * head_dim), matrix(v, m, kv_heads * 4), *cache, 0);
      const auto check = [&](const std::vector<float>& before, const std::vector<float>& after,
                             int64_t count) {
        for (int64_t i = 0; i < m * count * head_dim; ++i) {
          const int64_t d = i % head_dim, base = i - d, row = i / (count * head_dim), half = dim / 2;
          double want = before[static_cast<size_t>(i)];
          if (d < dim) {
            const bool first = layout == RopeLayout::half ? d < half : d % 2 == 0;
            const int64_t pair = layout == RopeLayout::half ? d % half : d / 2;
            const int64_t other =
                layout == RopeLayout::half ? (first ? d + half : d - half) : (first ? d + 1 : d - 1);
            const auto angle = static_cast<size_t>(row * half + pair);
            want = want * cosines[angle] +
                   (first ? -1.0 : 1.0) * before[static_cast<size_t>(base + other)] * sines[angle];
          }
          ASSERT_NEAR(after[static_cast<size_t>(i)], want, 3e-7) << "dim " << dim << " element " << d;
        }
      };
      check(q0, q, heads);
      check(k0, k, kv_heads);
    }
  }
}

}  // namespace
}  // namespace gptq::test
