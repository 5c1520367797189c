// Rotation, the cache's pages and rows of a table.
#include "cuda_support.h"
#include "weights_support.h"

namespace gptq::cuda {
namespace {

class RopeTest : public testing::TestWithParam<Element> {};

struct Angles {
  std::vector<float> cos, sin;
  Angles(int64_t rows, int64_t dim) {
    for (int64_t i = 0; i < rows * dim / 2; ++i) {
      cos.push_back(static_cast<float>(std::cos(0.1 * static_cast<double>(i * i % 97))));
      sin.push_back(static_cast<float>(std::sin(0.1 * static_cast<double>(i * i % 97))));
    }
  }
};

TEST_P(RopeTest, Rotates) {
  Reference reference;
  for (RopeLayout layout : {RopeLayout::half, RopeLayout::pairs}) {
    for (const auto& [rows, heads, head_dim, dim, offset] : {std::array<int64_t, 5>{1, 1, 2, 2, 0},
                                                             {3, 5, 24, 16, 4},
                                                             {2, 9, 64, 64, 0},
                                                             {0, 2, 8, 8, 0},
                                                             {4, 3, 8, 0, 0}}) {
      Random random(5);
      const Angles angles(rows, dim);
      Activations x(GetParam(), random_floats(random, rows * heads * head_dim));
      std::vector<float> wanted = x.floats();
      rotate(kQueue, GetParam(), {angles.cos.data(), angles.sin.data(), dim, layout, offset}, x.data(), rows,
             heads, head_dim);
      reference->rotate({angles.cos.data(), angles.sin.data(), dim, layout, offset},
                        matrix_of(wanted, rows, heads * head_dim), head_dim);
      expect_near(x.floats(), wanted, 1.01f * rounding(GetParam()), 1e-4f, "rotate");
    }
  }
}

/// Two sequences whose pages lie in any order; dims that are no multiple of a vector.
TEST_P(RopeTest, StoresKeysAndValues) {
  constexpr int64_t kHeads = 4, kKvHeads = 2, kKeyDim = 12, kValueDim = 7, kCount = 5, kMostPages = 3;
  const CacheView shape{.keys_at = 16,
                        .values_at = 16 + kKvHeads * kPagePositions * cache_pitch(kKeyDim),
                        .kv_heads = kKvHeads,
                        .key_dim = kKeyDim,
                        .value_dim = kValueDim};
  const int64_t page = shape.values_at + kKvHeads * kPagePositions * cache_pitch(kValueDim);
  std::vector<Activations> pages;
  for (int i = 0; i < 6; ++i) pages.emplace_back(GetParam(), page);
  std::vector<void*> table(2 * kMostPages);
  for (size_t i = 0; i < table.size(); ++i) table[i] = pages[(i * 5 + 2) % table.size()].data();
  CacheView cache = shape;
  cache.pages = table.data();
  cache.most_pages = kMostPages;
  const std::vector<Row> rows{{1, 0}, {1, 1}, {0, 63}, {0, 64}, {1, 191}};
  Random random(5);
  const Angles angles(kCount, 8);
  Activations q(GetParam(), random_floats(random, kCount * kHeads * kKeyDim));
  Activations k(GetParam(), random_floats(random, kCount * kKvHeads * kKeyDim));
  Activations v(GetParam(), random_floats(random, kCount * kKvHeads * kValueDim));
  Activations q0(GetParam(), q.floats()), k0(GetParam(), k.floats());
  const RopeView rope{angles.cos.data(), angles.sin.data(), 8, RopeLayout::half, 2};
  rope_store(kQueue, GetParam(), rope, rows.data(), kCount, kHeads, q.data(), k.data(), v.data(), cache);
  rotate(kQueue, GetParam(), rope, q0.data(), kCount, kHeads, kKeyDim);
  rotate(kQueue, GetParam(), rope, k0.data(), kCount, kKvHeads, kKeyDim);
  EXPECT_EQ(q.floats(), q0.floats());
  EXPECT_EQ(k.floats(), k0.floats());
  const std::vector<float> keys = k.floats(), values = v.floats();
  const auto expect_stored = [&](Row at, int64_t from, const std::vector<float>& x, int64_t i, int64_t dim) {
    const auto* const stored =
        static_cast<const uint16_t*>(table[static_cast<size_t>(at.sequence * kMostPages + at.position / 64)]);
    for (int64_t h = 0; h < kKvHeads; ++h) {
      for (int64_t c = 0; c < cache_pitch(dim); ++c) {
        EXPECT_EQ(value_of(GetParam(), stored[from + (h * 64 + at.position % 64) * cache_pitch(dim) + c]),
                  c < dim ? x[static_cast<size_t>((i * kKvHeads + h) * dim + c)] : 0.0f);
      }
    }
  };
  for (int64_t i = 0; i < kCount; ++i) {
    expect_stored(rows[static_cast<size_t>(i)], shape.keys_at, keys, i, kKeyDim);
    expect_stored(rows[static_cast<size_t>(i)], shape.values_at, values, i, kValueDim);
  }
  int64_t written = 0;
  for (const Activations& p : pages) {
    for (float x : p.floats()) written += std::isnan(x) ? 0 : 1;
  }
  EXPECT_EQ(written, kCount * kKvHeads * (cache_pitch(kKeyDim) + cache_pitch(kValueDim)));
}

TEST_P(RopeTest, EmbedsFromEveryTable) {
  Random random(9);
  const std::vector<int32_t> ids{3, 0, 36, 3};
  for (int bits : {2, 3, 4, 8}) {
    for (auto order : {WeightShape::Order::sequential, WeightShape::Order::shuffled}) {
      const QTensor q = random_weights(random, {.bits = bits,
                                                .rows = 37,
                                                .cols = 200,
                                                .group_size = 32,
                                                .zeros = WeightShape::Zeros::own,
                                                .order = order});
      const PackedWeights packed = pack(q);
      const std::vector<float> w = dequantized(q);
      Activations out(GetParam(), 4 * 200);
      embed(kQueue, GetParam(), view_of(packed), ids.data(), 4, out.data());
      std::vector<float> wanted;
      for (int32_t id : ids) wanted.insert(wanted.end(), w.begin() + id * 200, w.begin() + (id + 1) * 200);
      EXPECT_EQ(out.floats(), Activations(GetParam(), wanted).floats());
    }
  }
  Activations table(GetParam(), random_floats(random, 37 * 200)), out(GetParam(), 4 * 200);
  const PackedWeights packed = pack_halves(table.data(), 37, 200);
  embed(kQueue, GetParam(), view_of(packed), ids.data(), 4, out.data());
  for (size_t i = 0; i < 4 * 200; ++i)
    EXPECT_EQ(out.data()[i], table.data()[static_cast<size_t>(ids[i / 200]) * 200 + i % 200]);
}

INSTANTIATE_TEST_SUITE_P(Cuda, RopeTest, testing::ValuesIn(kElements));

}  // namespace
}  // namespace gptq::cuda
