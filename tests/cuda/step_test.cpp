// Steps that are begun as graphs, beside the same steps op by op: the numbers are the same bits, and graphs are made and
// launched as often as they should be.
#include <algorithm>
#include <functional>
#include <memory>
#include <utility>

#include "backend_support.h"
#include "base/error.h"
#include "base/log.h"
#include "cuda/step_queue.h"

namespace gptq::cuda {
namespace {

constexpr int64_t kHidden = 32, kHeads = 4, kKvHeads = 2, kHeadDim = 8, kInner = 48, kLayers = 2, kVocab = 20;
constexpr int64_t kSequences = 2, kMostRows = 80;

enum class As : uint8_t { steps, ops };

/// Weights of a decoder; all layers have the same.
struct Net {
  std::unique_ptr<Linear> embed, q, k, v, o, gate, up, down;
  std::unique_ptr<Vector> norm;
};

/// A stream, its cache and its matrices.
class Walk {
 public:
  Walk(const Backend& backend, const Net& net, As as, const std::atomic<bool>* cancel = nullptr)
      : net_(net),
        as_(as),
        stream_(backend.create_stream(cancel)),
        cache_(backend.create_cache(
            {.layers = std::vector<CacheLayer>(
                 kLayers, {.kv_heads = kKvHeads, .key_dim = kHeadDim, .value_dim = kHeadDim}),
             .sequences = kSequences})) {
    move();
  }

  /// Matrices elsewhere in the device's memory; what was in them is lost.
  void move() {
    auto memory = stream_->allocate(kParts * kPartBytes);
    std::swap(memory, memory_);
  }

  /// What a row of each token at its place becomes; `between` is called between the layers.
  std::vector<float> step(const std::vector<int32_t>& tokens, const std::vector<Row>& rows,
                          const std::function<void(Stream&)>& between = {}) {
    for (const Row& row : rows) cache_->reserve(row.sequence, row.position + 1);
    const auto n = static_cast<int64_t>(rows.size());
    const auto ops = [&] { layers(tokens, rows, between); };
    if (as_ == As::steps) {
      stream_->step(n, ops);
    } else {
      ops();
    }
    std::vector<float> out(static_cast<size_t>(n * kHidden));
    stream_->download(part(0, n, kHidden), out.data());
    return out;
  }

  /// As step() for one row, with what comes behind the layers: the largest logits, which the step gives once it is done.
  std::vector<Ranked> choose(int32_t token, const Row& row, size_t count,
                             const std::function<void(Stream&, Matrix logits)>& behind = {}) {
    cache_->reserve(row.sequence, row.position + 1);
    std::vector<Ranked> found(count, Ranked{-1, 0});
    const auto ops = [&] {
      layers({token}, {row}, {});
      const Matrix logits = part(7, 1, kVocab);
      stream_->linear(*net_.embed, part(0, 1, kHidden), logits);
      stream_->largest(logits, static_cast<int64_t>(count), found);
      if (behind) behind(*stream_, logits);
    };
    if (as_ == As::steps) {
      stream_->step(1, ops);
    } else {
      ops();
    }
    return found;
  }

  /// Keys and values of positions [begin, end), which are numbers that only the positions say.
  void fill(int32_t sequence, int32_t begin, int32_t end) {
    cache_->reserve(sequence, end);
    for (int32_t p = begin; p < end; ++p) {
      std::vector<float> numbers(static_cast<size_t>(kKvHeads * kHeadDim));
      for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = std::sin(static_cast<float>(p) + 3.0f * i);
      const Matrix k = part(2, 1, kKvHeads * kHeadDim), v = part(3, 1, kKvHeads * kHeadDim);
      stream_->upload(numbers.data(), k);
      stream_->upload(numbers.data(), v);
      const Row row{sequence, p};
      for (int64_t layer = 0; layer < kLayers; ++layer)
        stream_->rope_store({}, {&row, 1}, part(1, 1, kHeads * kHeadDim), k, v, *cache_, layer);
    }
  }

 private:
  static constexpr size_t kParts = 8, kPartBytes = kMostRows * kInner * 2;

  Matrix part(size_t i, int64_t rows, int64_t cols) { return {memory_->data() + i * kPartBytes, rows, cols}; }

  void layers(const std::vector<int32_t>& tokens, const std::vector<Row>& rows,
              const std::function<void(Stream&)>& between) {
    const auto n = static_cast<int64_t>(rows.size());
    const Matrix x = part(0, n, kHidden), q = part(1, n, kHeads * kHeadDim),
                 k = part(2, n, kKvHeads * kHeadDim), v = part(3, n, kKvHeads * kHeadDim),
                 a = part(4, n, kHeads * kHeadDim), h = part(5, n, kHidden), gate = part(6, n, kInner),
                 up = part(7, n, kInner);
    std::vector<float> cos, sin;
    for (const Row& row : rows) {
      for (int i = 0; i < kHeadDim / 2; ++i) {
        cos.push_back(std::cos(static_cast<float>(row.position) / static_cast<float>(1 << i)));
        sin.push_back(std::sin(static_cast<float>(row.position) / static_cast<float>(1 << i)));
      }
    }
    stream_->embed(*net_.embed, tokens, x);
    for (int64_t layer = 0; layer < kLayers; ++layer) {
      stream_->norm(Norm::rms, x, *net_.norm, nullptr, 1e-5f, h);
      const Projection projections[] = {{net_.q.get(), q}, {net_.k.get(), k}, {net_.v.get(), v}};
      stream_->linears(h, projections);
      stream_->rope_store({cos.data(), sin.data(), kHeadDim}, rows, q, k, v, *cache_, layer);
      stream_->attention({.heads = kHeads,
                          .kv_heads = kKvHeads,
                          .key_dim = kHeadDim,
                          .value_dim = kHeadDim,
                          .scale = 0.35f,
                          .window = layer == 1 ? 300 : 0},
                         rows, q, *cache_, layer, a);
      stream_->linear(*net_.o, a, h);
      stream_->add(x, h, 1.0f);
      if (between && layer == 0) between(*stream_);
      stream_->norm(Norm::rms, x, *net_.norm, nullptr, 1e-5f, h);
      stream_->linear(*net_.gate, h, gate);
      stream_->linear(*net_.up, h, up);
      stream_->activate(Act::silu, gate, &up, gate);
      stream_->linear(*net_.down, gate, h);
      stream_->add(x, h, 1.0f);
    }
  }

  const Net& net_;
  As as_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<Memory> memory_;
};

class StepTest : public BackendTest {
 protected:
  StepTest() {
    net_.embed = linear(kVocab, kHidden);
    net_.q = linear(kHeads * kHeadDim, kHidden);
    net_.k = linear(kKvHeads * kHeadDim, kHidden);
    net_.v = linear(kKvHeads * kHeadDim, kHidden);
    net_.o = sorted_linear(kHidden, kHeads * kHeadDim);
    net_.gate = linear(kInner, kHidden);
    net_.up = linear(kInner, kHidden);
    net_.down = linear(kHidden, kInner);
    net_.norm = backend_->prepare_vector(float_tensor(ones_));
  }

  std::unique_ptr<Linear> linear(int64_t rows, int64_t cols) {
    const std::vector<float> values = random_halves(random_, rows * cols, 0.3f);
    Tensor weight = float_tensor(values);
    weight.shape = {rows, cols};
    return backend_->prepare(weight, nullptr);
  }

  /// One whose inputs have an order: they are gathered in scratch memory.
  std::unique_ptr<Linear> sorted_linear(int64_t rows, int64_t cols) {
    constexpr int64_t kGroups = 2;
    QTensor q{.bits = 4, .rows = rows, .cols = cols, .groups = kGroups};
    for (int64_t i = 0; i < rows * cols; ++i) q.codes.push_back(static_cast<uint8_t>(random_.below(16)));
    q.scales.assign(static_cast<size_t>(rows * kGroups), 0.0625f);
    q.zeros.assign(q.scales.size(), 8);
    for (int64_t k = 0; k < cols; ++k) q.group_of.push_back(static_cast<int32_t>(k % kGroups));
    return backend_->prepare(q, nullptr);
  }

  Walk walk(As as) { return Walk(*backend_, net_, as, &cancel_); }
  /// A step of both, from which the same is to come.
  std::vector<float> expect_same_step(Walk& graphs, Walk& plain, const std::vector<int32_t>& tokens,
                                      const std::vector<Row>& rows,
                                      const std::function<void(Stream&)>& between = {}) {
    std::vector<float> got = graphs.step(tokens, rows, between);
    EXPECT_EQ(got, plain.step(tokens, rows, between)) << "position " << rows[0].position;
    return got;
  }
  void expect_counts(int captures, int launches) const {
    EXPECT_EQ(state_.captures, captures);
    EXPECT_EQ(state_.graph_launches, launches);
    EXPECT_EQ(state_.turns, 0);
  }

  const std::vector<float> ones_ = std::vector<float>(static_cast<size_t>(kHidden), 1.0f);
  Net net_;
};

/// The token is the same every time, so that positions alone make a difference; a page ends on the way.
TEST_F(StepTest, AGraphForAllPositions) {
  Walk graphs = walk(As::steps), plain = walk(As::ops);
  graphs.fill(0, 0, 58);
  plain.fill(0, 0, 58);
  std::vector<float> before;
  for (int32_t p = 58; p < 70; ++p) {
    std::vector<float> now = expect_same_step(graphs, plain, {7}, {{0, p}});
    EXPECT_NE(now, before) << "nothing of position " << p << " has come";
    before = std::move(now);
  }
  expect_counts(1, 11);
}

/// More parts of what a row sees, and a window that is full: other launches, for many positions the same.
TEST_F(StepTest, LongerContexts) {
  Walk graphs = walk(As::steps), plain = walk(As::ops);
  int32_t at = 0;
  for (const int32_t length : {290, 440, 506, 700, 780}) {
    graphs.fill(0, at, length);
    plain.fill(0, at, length);
    for (at = length; at < length + 12; ++at)
      expect_same_step(graphs, plain, {at % static_cast<int32_t>(kVocab)}, {{0, at}});
  }
  EXPECT_GE(state_.captures, 2);
  EXPECT_LE(state_.captures, 5);
  EXPECT_GE(state_.graph_launches, 5 * 12 - 10);
}

TEST_F(StepTest, BatchesInTurn) {
  Walk graphs = walk(As::steps), plain = walk(As::ops);
  for (int32_t p = 0; p < 6; ++p) {
    expect_same_step(graphs, plain, {1, 2}, {{0, 2 * p}, {1, 2 * p}});
    expect_same_step(graphs, plain, {3 + p}, {{0, 2 * p + 1}});
    expect_same_step(graphs, plain, {4 + p}, {{1, 2 * p + 1}});
  }
  // those of the second and the third are one: which sequence it is is no part of a launch
  expect_counts(2, 5 + 11);
}

/// The next token is what the one before has led to: one graph, and one wait for the device, for all that it takes.
TEST_F(StepTest, TheChoiceIsPartOfTheGraph) {
  Walk graphs = walk(As::steps), plain = walk(As::ops);
  int32_t token = 7;
  for (int32_t p = 0; p < 12; ++p) {
    const int before = state_.downloads;
    const std::vector<Ranked> found = graphs.choose(token, {0, p}, 3);
    EXPECT_EQ(state_.downloads - before, 1);
    const std::vector<Ranked> wanted = plain.choose(token, {0, p}, 3);
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(found[i].column, wanted[i].column) << p;
      EXPECT_EQ(found[i].value, wanted[i].value) << p;
    }
    token = found[0].column;
  }
  expect_counts(1, 11);
}

/// What a sampler wants besides: one more copy of some bytes.
TEST_F(StepTest, SumsArePartOfTheGraph) {
  Walk graphs = walk(As::steps), plain = walk(As::ops);
  double temperature = 0, found = 0;
  const auto sum = [&](Stream& stream, Matrix logits) {
    stream.exp_sums(logits, {&temperature, 1}, {&found, 1});
  };
  for (int32_t p = 0; p < 8; ++p) {
    temperature = 0.5 + p;
    const int before = state_.downloads;
    static_cast<void>(graphs.choose(p, {0, p}, 3, sum));
    EXPECT_EQ(state_.downloads - before, 2);
    const double of_graph = std::exchange(found, 0);
    static_cast<void>(plain.choose(p, {0, p}, 3, sum));
    EXPECT_GT(found, 1);
    EXPECT_EQ(of_graph, found);
  }
  expect_counts(1, 7);
}

/// Two choices of one step, and one of a step that something ends early or that fails.
TEST_F(StepTest, ChoicesInAnyStep) {
  Walk graphs = walk(As::steps), plain = walk(As::ops);
  const auto memory = stream_->allocate(300 * 2);
  std::vector<float> numbers(300);
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(i * 7 % 256);
  const Matrix x{memory->data(), 1, 300};
  stream_->upload(numbers.data(), x);
  std::vector<float> falling = numbers;
  std::sort(falling.rbegin(), falling.rend());
  for (int32_t p = 0; p < 6; ++p) {
    std::vector<Ranked> second(150);
    const auto more = [&](Stream& stream, Matrix) {
      if (p % 2 == 0) stream.download({memory->data(), 1, 300}, numbers.data());
      stream.largest(x, 150, second);
    };
    const std::vector<Ranked> wanted = plain.choose(p, {0, p}, 2), found = graphs.choose(p, {0, p}, 2, more);
    for (size_t i = 0; i < 2; ++i) EXPECT_EQ(found[i].column, wanted[i].column) << p;
    for (size_t i = 0; i < second.size(); ++i) ASSERT_EQ(second[i].value, falling[i]) << p;
  }
  const int before = state_.downloads;
  EXPECT_THROW(graphs.choose(1, {0, 6}, 2, [](Stream&, Matrix) { throw Error(Status::internal, "a fault"); }),
               Error);
  EXPECT_EQ(state_.downloads, before);
  EXPECT_EQ(graphs.choose(1, {0, 6}, 2)[0].column, plain.choose(1, {0, 6}, 2)[0].column);
}

/// More kinds of steps than are remembered, and one of more rows than a graph is made of.
TEST_F(StepTest, ManyShapes) {
  Walk graphs = walk(As::steps), plain = walk(As::ops);
  int32_t at = 0;
  const auto rows_of = [&](int32_t n) {
    std::pair<std::vector<int32_t>, std::vector<Row>> batch;
    for (int32_t i = 0; i < n; ++i) {
      batch.first.push_back((at + i) % static_cast<int32_t>(kVocab));
      batch.second.push_back({0, at + i});
    }
    at += n;
    return batch;
  };
  for (const int32_t n : {1, 2, 3, 4, 5, 6, 7, 8, 9, 17}) {
    for (int times = 0; times < 3; ++times) {
      const auto [tokens, rows] = rows_of(n);
      expect_same_step(graphs, plain, tokens, rows);
    }
  }
  expect_counts(10, 20);
  for (int times = 0; times < 3; ++times) {
    const auto [tokens, rows] = rows_of(static_cast<int32_t>(kMostStepRows) + 1);
    expect_same_step(graphs, plain, tokens, rows);
  }
  expect_counts(10, 20);
}

TEST_F(StepTest, MemoryThatMoves) {
  Walk graphs = walk(As::steps), plain = walk(As::ops);
  for (int32_t p = 0; p < 12; ++p) {
    if (p == 5) graphs.move();
    expect_same_step(graphs, plain, {p}, {{0, p}});
  }
  expect_counts(2, 4 + 6);
}

TEST_F(StepTest, SessionsInTurn) {
  Walk first = walk(As::steps), second = walk(As::steps), plain_first = walk(As::ops),
       plain_second = walk(As::ops);
  for (int32_t p = 0; p < 5; ++p) {
    expect_same_step(first, plain_first, {p}, {{0, p}});
    expect_same_step(second, plain_second, {9 - p}, {{0, p}});
  }
  expect_counts(2, 8);
}

TEST_F(StepTest, CancelledInTheMiddle) {
  Walk graphs = walk(As::steps), plain = walk(As::ops);
  for (int32_t p = 0; p < 9; ++p) {
    if (p == 0 || p == 1 || p == 4) {
      try {
        graphs.step({p}, {{0, p}}, [&](Stream&) { cancel_ = true; });
        FAIL();
      } catch (const Error& error) {
        EXPECT_EQ(error.status(), Status::cancelled);
      }
      cancel_ = false;
      EXPECT_EQ(state_.turns, 0);
    }
    expect_same_step(graphs, plain, {p}, {{0, p}});
  }
  expect_counts(1, 8);
}

/// The fault comes from an op that has nothing written down yet, or from one that needs more memory than there is.
TEST_F(StepTest, OutOfMemoryInTheMiddle) {
  Walk graphs = walk(As::steps), plain = walk(As::ops);
  constexpr int64_t kMany = 700'000;
  const auto memory = stream_->allocate(kMany * 2);
  std::vector<float> many(static_cast<size_t>(kMany));
  for (int32_t p = 0; p < 9; ++p) {
    if (p == 0 || p == 1 || p == 4) {
      const auto fail = [&](Stream& stream) {
        state_.limit = state_.used.load();
        if (p == 4) static_cast<void>(stream.allocate(1));
        stream.upload(many.data(), {memory->data(), 1, kMany});
      };
      try {
        graphs.step({p}, {{0, p}}, fail);
        FAIL();
      } catch (const Error& error) {
        EXPECT_EQ(error.status(), Status::out_of_memory);
      }
      state_.limit = SIZE_MAX;
    }
    expect_same_step(graphs, plain, {p}, {{0, p}});
  }
  EXPECT_GE(state_.graph_launches, 5);
}

/// Of a step that is given up nothing is done later: what it would have changed may be gone.
TEST_F(StepTest, MemoryThatGoesWithAFault) {
  Walk graphs = walk(As::steps), plain = walk(As::ops);
  constexpr int64_t kMany = 700'000;
  for (int32_t p = 0; p < 4; ++p) {
    const auto fail = [&](Stream& stream) {
      const auto memory = stream.allocate(kMany * 2);
      stream.clear({memory->data(), 1, kMany});
      throw Error(Status::internal, "a fault");
    };
    EXPECT_THROW(graphs.step({p}, {{0, 2 * p}}, fail), Error);
    graphs.fill(0, 2 * p, 2 * p + 1);
    plain.fill(0, 2 * p, 2 * p + 1);
    expect_same_step(graphs, plain, {p}, {{0, 2 * p + 1}});
  }
  expect_counts(1, 3);
}

/// What the host wants to know in the middle is of what came before, and what comes behind it is as it was; so is memory that
/// grows while there are kernels that have it.
TEST_F(StepTest, OpsThatNeedTheHost) {
  Walk graphs = walk(As::steps), plain = walk(As::ops);
  constexpr int64_t kMany = 700'000;
  const auto memory = stream_->allocate(kMany * 2);
  std::vector<float> many(static_cast<size_t>(kMany)), first(3);
  stream_->upload(many.data(), {memory->data(), 1, kMany});
  for (int32_t p = 0; p < 7; ++p) {
    const auto between = [&](Stream& stream) {
      if (p == 3) stream.download({memory->data(), 1, kMany}, many.data());
      const Matrix x{memory->data(), 1, p == 5 ? kMany : 1000};
      std::fill(many.begin(), many.end(), 0.25f);
      stream.upload(many.data(), x);
      stream.scale(x, 2.0f);
      stream.download({x.data, 1, 3}, first.data());
      EXPECT_EQ(first, std::vector<float>(3, 0.5f));
      stream.clear(x);
    };
    expect_same_step(graphs, plain, {p}, {{0, p}}, between);
    stream_->download({memory->data(), 1, 3}, first.data());
    EXPECT_EQ(first, std::vector<float>(3, 0.0f));
  }
  expect_counts(0, 0);
}

TEST_F(StepTest, ADeviceWithoutGraphs) {
  std::string logged;
  set_log_sink([](void* to, int32_t, const char* text, int64_t) { *static_cast<std::string*>(to) += text; },
               &logged);
  state_.makes_no_graphs = true;
  Walk graphs = walk(As::steps), plain = walk(As::ops);
  for (int32_t p = 0; p < 12; ++p) expect_same_step(graphs, plain, {p}, {{0, p}});
  set_log_sink(nullptr, nullptr);
  expect_counts(0, 0);
  EXPECT_NE(logged.find("not begun as graphs"), std::string::npos);
  EXPECT_EQ(logged.find("not begun as graphs"), logged.rfind("not begun as graphs")) << "more than once";
}

/// As while another thread of the host has the device wait.
TEST_F(StepTest, AGraphThatCannotBeMadeNow) {
  std::string logged;
  set_log_sink([](void* to, int32_t, const char* text, int64_t) { *static_cast<std::string*>(to) += text; },
               &logged);
  Walk graphs = walk(As::steps), plain = walk(As::ops);
  for (int32_t p = 0; p < 6; ++p) {
    state_.makes_no_graphs = p < 3;
    expect_same_step(graphs, plain, {p}, {{0, p}});
  }
  set_log_sink(nullptr, nullptr);
  expect_counts(1, 3);
  EXPECT_EQ(logged, "");
}

}  // namespace
}  // namespace gptq::cuda
