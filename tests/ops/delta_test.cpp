// The gated delta rule against its definition in double, in pieces, of several sequences, and after a cut.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <thread>

#include "base/error.h"
#include "ops_support.h"

namespace gptq::test {
namespace {

struct Shape {
  int64_t heads, key_heads, key_dim, value_dim, kernel;
};

/// Queries, keys, values, beta and decay of one sequence, row after row.
struct Inputs {
  std::vector<float> q, k, v, beta, decay;
};

/// A sequence of a model's layer: what is given and what is wanted.
class World {
 public:
  World(const Shape& shape, std::vector<int64_t> lengths, int threads = 2)
      : shape_(shape), backend_(backend_with(threads)), stream_(backend_->create_stream(&cancel_)) {
    Random random(static_cast<uint64_t>(7 + shape.heads + shape.kernel));
    const int64_t channels = 2 * keys() + values();
    conv_ = random_floats(random, channels * shape.kernel);
    a_log_ = random_floats(random, shape.heads);
    dt_bias_ = random_floats(random, shape.heads);
    conv_vector_ = backend_->prepare_vector(float_tensor(conv_));
    a_log_vector_ = backend_->prepare_vector(float_tensor(a_log_));
    dt_bias_vector_ = backend_->prepare_vector(float_tensor(dt_bias_));
    params_ = {.heads = shape.heads,
               .key_heads = shape.key_heads,
               .key_dim = shape.key_dim,
               .value_dim = shape.value_dim,
               .kernel = shape.kernel,
               .conv = conv_vector_.get(),
               .a_log = a_log_vector_.get(),
               .dt_bias = dt_bias_vector_.get()};
    for (int64_t length : lengths) {
      inputs_.push_back({.q = random_floats(random, length * keys(), 2.0f),
                         .k = random_floats(random, length * keys(), 2.0f),
                         .v = random_floats(random, length * values(), 2.0f),
                         .beta = random_floats(random, length * shape.heads, 2.0f),
                         .decay = random_floats(random, length * shape.heads, 2.0f)});
      wanted_.push_back(outputs(inputs_.back(), length));
    }
    // an attention layer comes first, which has no state
    cache_ = backend_->create_cache(
        {.layers = {{.kv_heads = 1, .key_dim = 4, .value_dim = 4}, {.state = params_.state()}},
         .sequences = static_cast<int64_t>(lengths.size())});
  }

  KvCache& cache() { return *cache_; }
  void cancel(bool now) { cancel_ = now; }

  /// Rows [begin, end) of each of some sequences, all in one batch.
  struct Part {
    int32_t sequence;
    int64_t begin, end;
  };
  void expect(const std::vector<Part>& parts) {
    std::vector<Row> rows;
    Inputs x;
    for (const Part& part : parts) {
      cache_->reserve(part.sequence, part.end);
      const Inputs& all = inputs_[static_cast<size_t>(part.sequence)];
      const auto take = [&](const std::vector<float>& from, int64_t cols, std::vector<float>& to) {
        to.insert(to.end(), from.begin() + part.begin * cols, from.begin() + part.end * cols);
      };
      take(all.q, keys(), x.q);
      take(all.k, keys(), x.k);
      take(all.v, values(), x.v);
      take(all.beta, shape_.heads, x.beta);
      take(all.decay, shape_.heads, x.decay);
      for (int64_t i = part.begin; i < part.end; ++i)
        rows.push_back({.sequence = part.sequence, .position = static_cast<int32_t>(i)});
    }
    const auto count = static_cast<int64_t>(rows.size());
    std::vector<float> out(static_cast<size_t>(count * values()), NAN);
    stream_->delta_rule(params_, rows, matrix(x.q, count, keys()), matrix(x.k, count, keys()),
                        matrix(x.v, count, values()), matrix(x.beta, count, shape_.heads),
                        matrix(x.decay, count, shape_.heads), *cache_, 1, matrix(out, count, values()));
    size_t at = 0;
    for (const Part& part : parts) {
      const std::vector<double>& wanted = wanted_[static_cast<size_t>(part.sequence)];
      for (int64_t i = part.begin * values(); i < part.end * values(); ++i, ++at)
        ASSERT_NEAR(double{out[at]}, wanted[static_cast<size_t>(i)], 2e-5)
            << "sequence " << part.sequence << " element " << i;
    }
  }

 private:
  int64_t keys() const { return shape_.key_heads * shape_.key_dim; }
  int64_t values() const { return shape_.heads * shape_.value_dim; }

  /// Channel `channel` of what the convolution gives for row r of x, whose column is col.
  double convolved(const std::vector<float>& x, int64_t cols, int64_t r, int64_t col, int64_t channel) const {
    double sum = 0;
    for (int64_t i = 0; i < shape_.kernel; ++i) {
      const int64_t from = r - shape_.kernel + 1 + i;
      if (from >= 0)
        sum += double{conv_[static_cast<size_t>(channel * shape_.kernel + i)]} *
               double{x[static_cast<size_t>(from * cols + col)]};
    }
    return sum / (1 + std::exp(-sum));
  }

  std::vector<double> outputs(const Inputs& x, int64_t length) const {
    const int64_t dk = shape_.key_dim, dv = shape_.value_dim, share = shape_.heads / shape_.key_heads;
    std::vector<double> all(static_cast<size_t>(length * values()));
    for (int64_t h = 0; h < shape_.heads; ++h) {
      std::vector<double> state(static_cast<size_t>(dk * dv));
      for (int64_t r = 0; r < length; ++r) {
        const auto head_of = [&](const std::vector<float>& from, int64_t first) {
          std::vector<double> head;
          double squares = 1e-6;
          for (int64_t i = 0; i < dk; ++i) {
            head.push_back(convolved(from, keys(), r, h / share * dk + i, first + h / share * dk + i));
            squares += head.back() * head.back();
          }
          for (double& one : head) one /= std::sqrt(squares);
          return head;
        };
        const std::vector<double> q = head_of(x.q, 0), k = head_of(x.k, keys());
        const auto at = static_cast<size_t>(r * shape_.heads + h), head = static_cast<size_t>(h);
        const double kept = std::exp(-std::exp(double{a_log_[head]}) *
                                     std::log1p(std::exp(double{x.decay[at]} + double{dt_bias_[head]})));
        const double beta = 1 / (1 + std::exp(-double{x.beta[at]}));
        for (int64_t j = 0; j < dv; ++j) {
          double known = 0, result = 0;
          const auto s = [&](int64_t i) -> double& { return state[static_cast<size_t>(i * dv + j)]; };
          for (int64_t i = 0; i < dk; ++i) known += (s(i) *= kept) * k[static_cast<size_t>(i)];
          const double value = convolved(x.v, values(), r, h * dv + j, 2 * keys() + h * dv + j);
          for (int64_t i = 0; i < dk; ++i) {
            s(i) += k[static_cast<size_t>(i)] * beta * (value - known);
            result += q[static_cast<size_t>(i)] * s(i);
          }
          all[static_cast<size_t>(r * values() + h * dv + j)] = result / std::sqrt(static_cast<double>(dk));
        }
      }
    }
    return all;
  }

  Shape shape_;
  std::atomic<bool> cancel_{false};
  std::shared_ptr<const Backend> backend_;
  std::unique_ptr<Stream> stream_;
  std::vector<float> conv_, a_log_, dt_bias_;
  std::unique_ptr<Vector> conv_vector_, a_log_vector_, dt_bias_vector_;
  DeltaParams params_;
  std::vector<Inputs> inputs_;
  std::vector<std::vector<double>> wanted_;
  std::unique_ptr<KvCache> cache_;
};

TEST(Delta, EqualsItsDefinition) {
  for (const Shape& shape : {Shape{1, 1, 1, 1, 1}, Shape{2, 2, 3, 5, 4}, Shape{6, 2, 16, 8, 2},
                             Shape{4, 1, 33, 70, 4}, Shape{3, 3, 128, 128, 5}}) {
    World(shape, {37}).expect({{0, 0, 37}});
  }
}

TEST(Delta, PiecesGiveTheSame) {
  for (int64_t piece : {1, 3, 16, 100}) {
    World world({4, 2, 8, 6, 4}, {150});
    for (int64_t at = 0; at < 150; at += piece) world.expect({{0, at, std::min<int64_t>(at + piece, 150)}});
  }
}

TEST(Delta, SequencesKnowNothingOfEachOther) {
  World world({4, 2, 8, 6, 4}, {20, 3, 70}, 3);
  world.expect({{2, 0, 9}, {0, 0, 20}, {1, 0, 1}});
  world.expect({{1, 1, 3}, {2, 9, 70}});
}

TEST(Delta, GoesBackToAMarkOrToTheBeginning) {
  World world({4, 2, 8, 6, 4}, {200, 30});
  KvCache& cache = world.cache();
  cache.mark(0);  // of nothing
  world.expect({{0, 0, 50}, {1, 0, 30}});
  cache.mark(0);
  world.expect({{0, 50, 120}});
  EXPECT_EQ(cache.truncate(0, 120), 120);
  EXPECT_EQ(cache.truncate(0, 119), 50);
  world.expect({{0, 50, 90}});
  EXPECT_EQ(cache.truncate(0, 50), 50);
  world.expect({{0, 50, 51}});
  world.expect({{0, 51, 130}});
  cache.mark(0);
  world.expect({{0, 130, 200}});
  EXPECT_EQ(cache.truncate(0, 199), 130);
  world.expect({{0, 130, 150}});
  EXPECT_EQ(cache.truncate(0, 129), 0);
  world.expect({{0, 0, 200}});
  EXPECT_EQ(cache.truncate(1, 29), 0);
  world.expect({{1, 0, 30}});
  EXPECT_EQ(cache.truncate(0, 0), 0);
  EXPECT_EQ(cache.truncate(1, 0), 0);
  EXPECT_EQ(cache.bytes(), 0u);
}

TEST(Delta, RefusesRowsThatAreNotTheNext) {
  World world({2, 1, 4, 4, 4}, {40});
  world.expect({{0, 0, 10}});
  EXPECT_THROW(world.expect({{0, 9, 12}}), Error);
  EXPECT_THROW(world.expect({{0, 11, 12}}), Error);
  world.expect({{0, 10, 40}});
}

/// Wherever it ends, what is left belongs to the position that truncate() names.
TEST(Delta, ACancelledStepLeavesNoHalfState) {
  for (int attempt = 0; attempt < 20; ++attempt) {
    World world({8, 2, 32, 32, 4}, {400});
    world.expect({{0, 0, 40}});
    world.cache().mark(0);
    std::thread other([&] {
      std::this_thread::sleep_for(std::chrono::microseconds(100 * attempt));
      world.cancel(true);
    });
    bool cancelled = false;
    try {
      world.expect({{0, 40, 400}});
    } catch (const Error&) {
      cancelled = true;
    }
    other.join();
    world.cancel(false);
    if (!cancelled) continue;
    const int64_t left = world.cache().truncate(0, 40);
    EXPECT_EQ(left, 40);
    world.expect({{0, left, 400}});
  }
}

}  // namespace
}  // namespace gptq::test
