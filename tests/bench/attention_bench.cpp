// Speed of attention of single tokens on the CPU, keys and values in fp16 and in 8 bits in turn: a layer after the other,
// as in decoding, so that each finds its part of the cache in memory.
// usage: attention_bench THREADS HEADS KV_HEADS DIM CONTEXT LAYERS [ROUNDS]
// With one thread the clock counts the CPU time of that thread, so that a busy machine disturbs less.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <vector>

#include "backend/backend.h"
#include "base/random.h"
#include "bench/clock.h"

namespace {

using namespace gptq;

std::vector<float> random_floats(Random& random, int64_t n) {
  std::vector<float> out(static_cast<size_t>(n));
  for (float& x : out) x = static_cast<float>(2 * random.uniform() - 1);
  return out;
}

Matrix matrix(std::vector<float>& values, int64_t rows) {
  return {.data = reinterpret_cast<std::byte*>(values.data()),
          .rows = rows,
          .cols = static_cast<int64_t>(values.size()) / rows};
}

struct Shape {
  int64_t heads, kv_heads, dim, context, layers;
};

class Side {
 public:
  Side(const Backend& backend, const Shape& shape, KvElements elements)
      : shape_(shape), stream_(backend.create_stream(nullptr)) {
    const CacheLayer layer{.kv_heads = shape.kv_heads, .key_dim = shape.dim, .value_dim = shape.dim};
    cache_ = backend.create_cache(
        {.layers = std::vector(static_cast<size_t>(shape.layers), layer), .elements = elements});
    cache_->reserve(0, shape.context);
    Random random(1);
    const int64_t wide = shape.kv_heads * shape.dim;
    q_ = random_floats(random, shape.heads * shape.dim);
    out_ = q_;
    std::vector<Row> rows;
    for (int64_t p = 0; p < shape.context; ++p) rows.push_back({0, static_cast<int32_t>(p)});
    for (int64_t l = 0; l < shape.layers; ++l) {
      auto k = random_floats(random, shape.context * wide), v = random_floats(random, shape.context * wide);
      stream_->rope_store({}, rows, matrix(k, shape.context), matrix(k, shape.context),
                          matrix(v, shape.context), *cache_, l);
    }
  }

  uint64_t bytes() const {
    return static_cast<uint64_t>(shape_.context * shape_.layers) * cache_->position_bytes(0);
  }

  /// Seconds of a token.
  double once(int threads) {
    const AttentionParams params{.heads = shape_.heads,
                                 .kv_heads = shape_.kv_heads,
                                 .key_dim = shape_.dim,
                                 .value_dim = shape_.dim,
                                 .scale = 0.1f};
    const std::vector<Row> rows{{0, static_cast<int32_t>(shape_.context - 1)}};
    const bench::Clock watch(threads);
    for (int64_t l = 0; l < shape_.layers; ++l)
      stream_->attention(params, rows, matrix(q_, 1), *cache_, l, matrix(out_, 1));
    return watch.seconds();
  }

 private:
  Shape shape_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<KvCache> cache_;
  std::vector<float> q_, out_;
};

void run(int threads, const Shape& shape, int rounds) {
  const auto backend = create_backend("cpu", {.threads = threads, .compute = Compute::fast});
  Side sides[] = {Side(*backend, shape, KvElements::automatic), Side(*backend, shape, KvElements::int8)};
  const char* const names[] = {"fp16", "int8"};
  std::vector<double> seconds[2];
  for (int i = 0; i < rounds; ++i)
    for (int s = 0; s < 2; ++s) seconds[s].push_back(sides[s].once(backend->threads()));
  std::printf("%s, %d threads, %lld heads of %lld, %lld of keys and values, %lld positions, %lld layers\n",
              backend->description().c_str(), backend->threads(), static_cast<long long>(shape.heads),
              static_cast<long long>(shape.dim), static_cast<long long>(shape.kv_heads),
              static_cast<long long>(shape.context), static_cast<long long>(shape.layers));
  for (int s = 0; s < 2; ++s) {
    std::sort(seconds[s].begin(), seconds[s].end());
    const double median = seconds[s][seconds[s].size() / 2];
    std::printf("%s  %8.3f ms (%.3f to %.3f), %.1f MB, %.1f GB/s\n", names[s], 1e3 * median,
                1e3 * seconds[s].front(), 1e3 * seconds[s].back(),
                1e-6 * static_cast<double>(sides[s].bytes()),
                1e-9 * static_cast<double>(sides[s].bytes()) / median);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7 && argc != 8) {
    std::fprintf(stderr, "usage: attention_bench THREADS HEADS KV_HEADS DIM CONTEXT LAYERS [ROUNDS]\n");
    return 2;
  }
  for (int i = 2; i < argc; ++i) {
    if (std::atoll(argv[i]) >= 1) continue;
    std::fprintf(stderr, "attention_bench: '%s', wanted a number from 1 on\n", argv[i]);
    return 2;
  }
  try {
    run(std::atoi(argv[1]),
        {std::atoll(argv[2]), std::atoll(argv[3]), std::atoll(argv[4]), std::atoll(argv[5]),
         std::atoll(argv[6])},
        argc > 7 ? std::atoi(argv[7]) : 21);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "attention_bench: %s\n", error.what());
    return 1;
  }
  return 0;
}
