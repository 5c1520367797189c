// States in the device's memory: the gated delta rule through the backend, back to marks and on again, against the CPU
// backend on the same rows.
#include <algorithm>

#include "backend_support.h"
#include "base/error.h"

namespace gptq::cuda {
namespace {

struct Part {
  int32_t sequence, begin, end;
};

class StateTest : public BackendTest {
 protected:
  static constexpr int64_t kHeads = 4, kKeyHeads = 2, kKeyDim = 8, kValueDim = 6, kKernel = 4;
  static constexpr int64_t kKeys = kKeyHeads * kKeyDim, kValues = kHeads * kValueDim;

  struct Side {
    std::unique_ptr<Vector> conv, a_log, dt_bias;
    std::unique_ptr<KvCache> cache;
    DeltaParams params;
  };

  StateTest() {
    const std::vector<float> conv = random_floats(random_, (2 * kKeys + kValues) * kKernel),
                             a_log = random_floats(random_, kHeads), dt_bias = random_floats(random_, kHeads);
    const auto make_side = [&](const Backend& backend, Side& side) {
      side.conv = backend.prepare_vector(float_tensor(conv));
      side.a_log = backend.prepare_vector(float_tensor(a_log));
      side.dt_bias = backend.prepare_vector(float_tensor(dt_bias));
      side.params = {kHeads,  kKeyHeads,       kKeyDim,          kValueDim,
                     kKernel, side.conv.get(), side.a_log.get(), side.dt_bias.get()};
      const CacheLayer layer{.state = side.params.state()};
      side.cache = backend.create_cache({.layers = {layer, {1, 8, 8}, layer}, .sequences = 3});
      for (int32_t s = 0; s < 3; ++s) side.cache->reserve(s, 300);
    };
    make_side(*cpu_, cpu_side_);
    make_side(*backend_, gpu_side_);
  }

  static std::vector<Row> rows_of(const std::vector<Part>& parts) {
    std::vector<Row> rows;
    for (const Part& p : parts) {
      for (int32_t i = p.begin; i < p.end; ++i) rows.push_back({p.sequence, i});
    }
    return rows;
  }

  struct Given {
    Pair q, k, v, beta, decay, out;
  };
  Given given(int64_t rows) {
    return {make(rows, kKeys),  make(rows, kKeys),  make(rows, kValues),
            make(rows, kHeads), make(rows, kHeads), make(rows, kValues)};
  }
  /// Other values where they are; the op leaves others there, too.
  void renew(Given& g) {
    for (Pair* pair : {&g.q, &g.k, &g.v, &g.beta, &g.decay}) {
      const std::vector<float> values = random_halves(random_, pair->gpu.rows * pair->gpu.cols);
      std::copy(values.begin(), values.end(), pair->cpu_values.begin());
      stream_->upload(values.data(), pair->gpu);
    }
  }
  void take_on_cpu(Given& g, const std::vector<Row>& rows, int64_t layer) {
    reference_->delta_rule(cpu_side_.params, rows, g.q.cpu, g.k.cpu, g.v.cpu, g.beta.cpu, g.decay.cpu,
                           *cpu_side_.cache, layer, g.out.cpu);
  }
  void take(Given& g, const std::vector<Row>& rows, int64_t layer) {
    stream_->delta_rule(gpu_side_.params, rows, g.q.gpu, g.k.gpu, g.v.gpu, g.beta.gpu, g.decay.gpu,
                        *gpu_side_.cache, layer, g.out.gpu);
  }
  void expect_same_out(const Given& g) {
    float most = 0;
    for (float x : g.out.cpu_values) most = std::max(most, std::abs(x));
    expect_same(g.out, "delta rule", 1.01f * kRounding, 1e-3f * most);
  }
  /// One layer takes the rows.
  void expect_layer(const std::vector<Part>& parts, int64_t layer) {
    const std::vector<Row> rows = rows_of(parts);
    Given g = given(static_cast<int64_t>(rows.size()));
    take_on_cpu(g, rows, layer);
    take(g, rows, layer);
    expect_same_out(g);
  }
  void expect(const std::vector<Part>& parts) {
    for (int64_t layer : {0, 2}) expect_layer(parts, layer);
  }
  void mark(int32_t sequence) {
    cpu_side_.cache->mark(sequence);
    gpu_side_.cache->mark(sequence);
  }
  void expect_left(int32_t sequence, int64_t length, int64_t left) {
    EXPECT_EQ(cpu_side_.cache->truncate(sequence, length), left);
    EXPECT_EQ(gpu_side_.cache->truncate(sequence, length), left);
    for (const Side* side : {&cpu_side_, &gpu_side_}) side->cache->reserve(sequence, 300);
  }
  /// On the device alone.
  void delta(const std::vector<Part>& parts, int64_t layer) {
    const std::vector<Row> rows = rows_of(parts);
    const auto n = static_cast<int64_t>(rows.size());
    const Pair q = make(n, kKeys), v = make(n, kValues), beta = make(n, kHeads);
    stream_->delta_rule(gpu_side_.params, rows, q.gpu, q.gpu, v.gpu, beta.gpu, beta.gpu, *gpu_side_.cache,
                        layer, v.gpu);
  }

  Side cpu_side_, gpu_side_;
};

TEST_F(StateTest, GoesBackToAMarkOrToTheBeginning) {
  mark(0);  // of nothing
  expect({{0, 0, 50}, {1, 0, 30}});
  mark(0);
  expect({{0, 50, 120}});
  expect_left(0, 120, 120);
  expect_left(0, 119, 50);
  expect({{0, 50, 90}});
  expect_left(0, 50, 50);
  mark(0);  // where it has one
  expect({{0, 50, 51}});
  expect({{0, 51, 130}, {2, 0, 3}});
  mark(0);
  mark(1);
  expect({{1, 30, 31}});
  expect_left(1, 30, 30);
  expect_left(1, 30, 30);
  expect({{0, 130, 200}, {1, 30, 40}});
  expect_left(0, 199, 130);
  expect({{0, 130, 150}});
  expect_left(0, 129, 0);
  expect({{0, 0, 200}});
  expect_left(1, 29, 0);
  expect({{1, 0, 30}, {2, 3, 9}});
  expect_left(2, 9, 9);
}

TEST_F(StateTest, GivesMemoryBack) {
  const uint64_t states = 3 * 2 * gpu_side_.params.state() * sizeof(float);
  const uint64_t before = gpu_side_.cache->bytes();
  EXPECT_GT(before, states);
  expect({{0, 0, 5}});
  mark(0);
  EXPECT_EQ(gpu_side_.cache->bytes(), before + states / 3);
  const size_t used = state_.used;
  EXPECT_EQ(gpu_side_.cache->truncate(0, 0), 0);
  EXPECT_LT(gpu_side_.cache->bytes(), before - states / 3);
  EXPECT_LT(state_.used, used - states / 3);
}

TEST_F(StateTest, RefusesRowsThatAreNotTheNext) {
  expect({{0, 0, 10}});
  for (const Part& part : {Part{0, 9, 12}, Part{0, 11, 12}, Part{1, 1, 2}, Part{3, 0, 1}, Part{-1, 0, 1}})
    EXPECT_THROW(delta({part}, 0), Error);
  EXPECT_THROW(delta({{0, 10, 11}, {1, 0, 1}, {0, 11, 12}}, 0), Error);
  expect({{0, 10, 40}});
  EXPECT_EQ(gpu_side_.cache->truncate(2, 0), 0);
  EXPECT_THROW(delta({{2, 0, 1}}, 0), Error);  // not reserved
}

/// Op by op, and where a step's ops are written down: what the cache says that its states are they then are as well.
TEST_F(StateTest, AStepGivenUpLeavesNoHalfState) {
  for (const int32_t sequence : {0, 1}) {
    expect({{sequence, 0, 40}});
    mark(sequence);
    const auto ops = [&] {
      delta({{sequence, 40, 50}}, 0);
      cancel_ = true;
      delta({{sequence, 40, 50}}, 2);
    };
    EXPECT_THROW(sequence == 0 ? ops() : stream_->step(10, ops), Error);
    cancel_ = false;
    EXPECT_EQ(gpu_side_.cache->truncate(sequence, 40), 40);
    gpu_side_.cache->reserve(sequence, 300);
    expect({{sequence, 40, 70}});
  }
}

/// Tokens one by one, of two sequences in turn, from marks and back: which state it is, and where, is no part of the graph.
TEST_F(StateTest, StepsAreGraphs) {
  Given layers[] = {given(1), given(1)};
  const auto step = [&](int32_t sequence, int32_t position) {
    const std::vector<Row> rows{{sequence, position}};
    for (Given& g : layers) renew(g);
    stream_->step(1, [&] {
      take(layers[0], rows, 0);
      take(layers[1], rows, 2);
    });
    take_on_cpu(layers[0], rows, 0);
    take_on_cpu(layers[1], rows, 2);
    for (const Given& g : layers) expect_same_out(g);
  };
  expect({{0, 0, 5}, {1, 0, 9}});
  for (int32_t i = 0; i < 4; ++i) {
    if (i == 2) mark(1);
    step(0, 5 + i);
    step(1, 9 + i);
  }
  expect_left(1, 12, 11);
  step(1, 11);
  expect({{1, 12, 20}, {0, 9, 10}});
  EXPECT_EQ(state_.captures, 1);
  EXPECT_EQ(state_.graph_launches, 8);
}

/// The same layer twice in a step: what the second needs to know is known when the first has begun.
TEST_F(StateTest, AStepMayGoOnFromItself) {
  Given first = given(2), second = given(3);
  for (int32_t at = 0; at < 20; at += 5) {
    const std::vector<Row> rows = rows_of({{0, at, at + 2}}), behind = rows_of({{0, at + 2, at + 5}});
    renew(first);
    renew(second);
    stream_->step(5, [&] {
      take(first, rows, 0);
      take(second, behind, 0);
    });
    take_on_cpu(first, rows, 0);
    take_on_cpu(second, behind, 0);
    expect_same_out(first);
    expect_same_out(second);
    expect_layer({{0, at, at + 5}}, 2);
  }
  expect_left(0, 20, 20);
}

TEST_F(StateTest, WithoutMemoryForAMarkGoesBackToTheBeginning) {
  expect({{0, 0, 40}});
  state_.limit = state_.used + 1;
  gpu_side_.cache->mark(0);
  state_.limit = SIZE_MAX;
  delta({{0, 40, 41}}, 0);
  delta({{0, 40, 41}}, 2);
  EXPECT_EQ(gpu_side_.cache->truncate(0, 40), 0);
}

TEST_F(StateTest, ReserveLeavesAllAsItIsWithoutMemory) {
  EXPECT_EQ(gpu_side_.cache->truncate(0, 0), 0);
  const uint64_t before = gpu_side_.cache->bytes();
  state_.limit = state_.used + 1;
  for (int64_t length : {1, 1000}) {
    try {
      gpu_side_.cache->reserve(0, length);
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::out_of_memory);
    }
    EXPECT_EQ(gpu_side_.cache->bytes(), before);
  }
  EXPECT_THROW(delta({{0, 0, 1}}, 0), Error);
  state_.limit = SIZE_MAX;
  gpu_side_.cache->reserve(0, 10);
  delta({{0, 0, 10}}, 0);
}

}  // namespace
}  // namespace gptq::cuda
