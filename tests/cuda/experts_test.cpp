// Mixtures of experts by the backend beside those of the CPU: ops whose rows are known to the device alone.
#include <algorithm>
#include <utility>

#include "backend_support.h"
#include "base/error.h"

namespace gptq::cuda {
namespace {

class ExpertsTest : public BackendTest {
 protected:
  struct Routings {
    Routing cpu, gpu;
  };

  /// Rows of a batch go to `chosen` experts each, so that expert e has rows[e] of them.
  Routings route(const std::vector<int64_t>& rows, int64_t chosen = 1) {
    const auto experts = static_cast<int64_t>(rows.size());
    int64_t entries = 0;
    for (const int64_t n : rows) entries += n;
    Pair scores = make(entries / chosen, experts);
    std::fill(scores.cpu_values.begin(), scores.cpu_values.end(), -2.0f);
    int64_t row = 0;
    for (int64_t e = 0; e < experts; ++e) {
      for (int64_t i = 0; i < rows[static_cast<size_t>(e)]; ++i, row = (row + 1) % scores.cpu.rows)
        scores.cpu_values[static_cast<size_t>(row * experts + e)] =
            0.25f * static_cast<float>(1 + (i + e) % 5);
    }
    stream_->upload(scores.cpu_values.data(), scores.gpu);
    const RouterParams params{.score = RouterScore::sigmoid, .chosen = chosen};
    Routings both;
    reference_->route(params, scores.cpu, both.cpu);
    stream_->route(params, scores.gpu, both.gpu);
    for (int64_t e = 0; e < experts; ++e) EXPECT_EQ(both.cpu.count(e), rows[static_cast<size_t>(e)]);
    return both;
  }

  /// Linears of experts, on both.
  struct Linears {
    std::vector<std::unique_ptr<Linear>> all;
    std::vector<const Linear*> cpu, gpu;
  };
  Linears linears(const std::vector<int>& bits, int64_t outputs, const std::vector<bool>& sorted,
                  int64_t inputs = 192) {
    Linears linears;
    for (size_t e = 0; e < bits.size(); ++e) {
      const QTensor q = random_weights(random_, bits[e], outputs, inputs, 3, sorted[e]);
      linears.cpu.push_back(linears.all.emplace_back(cpu_->prepare(q, nullptr)).get());
      linears.gpu.push_back(linears.all.emplace_back(backend_->prepare(q, nullptr)).get());
    }
    return linears;
  }
};

TEST_F(ExpertsTest, Routes) {
  Pair scores = make(9, 12);
  RouterParams params{.chosen = 3, .renormalize = Renormalize::yes};
  Routing want, got;
  reference_->route(params, scores.cpu, want);
  const int before = state_.downloads;
  stream_->route(params, scores.gpu, got);
  EXPECT_EQ(state_.downloads, before);
  EXPECT_EQ(got.experts, 12);
  EXPECT_EQ(got.entries, 27);
  EXPECT_EQ(got.most, 9);
  EXPECT_TRUE(got.begin.empty());
  for (int times = 0; times < 2; ++times) {
    stream_->fetch(got);
    EXPECT_EQ(state_.downloads, before + 3);
    EXPECT_EQ(got.begin, want.begin);
    EXPECT_EQ(got.rows, want.rows);
    ASSERT_EQ(got.weights.size(), want.weights.size());
    for (size_t i = 0; i < got.weights.size(); ++i) EXPECT_NEAR(got.weights[i], want.weights[i], 1e-5f);
  }
  // another routing does not touch it, and the same one again is of other rows
  Routing other;
  stream_->route(params, {scores.gpu.data + 12 * 2 * 4, 5, 12}, other);
  got.begin.clear();
  stream_->fetch(got);
  EXPECT_EQ(got.rows, want.rows);
  stream_->route(params, {scores.gpu.data + 12 * 2 * 4, 5, 12}, got);
  stream_->fetch(got);
  stream_->fetch(other);
  EXPECT_EQ(got.rows, other.rows);
  EXPECT_EQ(got.entries, 15);
  // of none
  stream_->route(params, {scores.gpu.data, 0, 12}, got);
  stream_->fetch(got);
  EXPECT_EQ(got.begin, std::vector<int64_t>(13, 0));
  // of more than there was room for
  Pair many = make(700, 12);
  reference_->route(params, many.cpu, want);
  stream_->route(params, many.gpu, got);
  stream_->fetch(got);
  EXPECT_EQ(got.rows, want.rows);
  EXPECT_THROW(stream_->route(params, {scores.gpu.data, 1, kMostExperts + 1}, got), Error);
}

TEST_F(ExpertsTest, RowsThereAndBack) {
  const Routings routings = route({3, 0, 5, 4, 0}, 2);
  Pair x = make(6, 20), out = make(12, 20), y = make(12, 20);
  reference_->gather(x.cpu, routings.cpu, out.cpu);
  stream_->gather(x.gpu, routings.gpu, out.gpu);
  expect_same(out, "gather", 0);
  reference_->weigh(out.cpu, routings.cpu);
  stream_->weigh(out.gpu, routings.gpu);
  expect_same(out, "weigh");
  for (const Weigh weigh : {Weigh::yes, Weigh::no}) {
    reference_->scatter_add(x.cpu, routings.cpu, weigh, y.cpu);
    stream_->scatter_add(x.gpu, routings.gpu, weigh, y.gpu);
    expect_same(x, "scatter_add", 3 * kRounding, 0.1f);
  }
}

/// For all experts of a kind one launch that lays out the line and one for products, and one more for those whose inputs
/// have an order.
TEST_F(ExpertsTest, LinearsOfKinds) {
  const bool o = true, s = false;  // in order, or sorted by groups
  struct Case {
    std::vector<int> bits;
    std::vector<bool> sorted;
    uint64_t launches;
  };
  for (const Case& c : {Case{{4, 4, 4, 4, 4}, {o, o, o, o, o}, 2}, Case{{4, 4, 4, 4, 4}, {s, s, s, s, s}, 3},
                        Case{{4, 4, 8, 4, 8}, {o, o, o, o, o}, 4}, Case{{2, 2, 3, 8, 4}, {s, s, s, s, s}, 12},
                        Case{{4, 4, 4, 3, 4}, {s, o, s, o, o}, 7}}) {
    for (const auto& rows : std::vector<std::vector<int64_t>>{
             {3, 0, 1, 18, 2}, {0, 0, 24, 0, 0}, {0, 1, 0, 0, 0}, {7, 9, 2, 0, 0}, {1, 1, 1, 1, 1}}) {
      const Routings routings = route(rows);
      const int64_t entries = routings.cpu.entries;
      // two that have the same orders, and so the same launches; the second is of fewer outputs
      const Linears wide = linears(c.bits, 36, c.sorted), narrow = linears(c.bits, 20, c.sorted);
      Pair x = make(entries, 192), y = make(entries, 36), z = make(entries, 20);
      for (const size_t count : {1u, 2u}) {
        const PartsProjection on_cpu[] = {{wide.cpu, y.cpu}, {narrow.cpu, z.cpu}},
                              on_gpu[] = {{wide.gpu, y.gpu}, {narrow.gpu, z.gpu}};
        reference_->linear_parts(x.cpu, routings.cpu, {on_cpu, count});
        const int before = state_.downloads;
        shim::reset_counts();
        stream_->linear_parts(x.gpu, routings.gpu, {on_gpu, count});
        expect_launches(c.launches);
        EXPECT_EQ(state_.downloads, before);
        expect_same(y, "linear_parts, the first", 4 * kRounding, 0.5f);
        if (count == 2) expect_same(z, "linear_parts, the second", 4 * kRounding, 0.5f);
      }
    }
  }
}

/// Projections of different orders, and of different widths, do not share their launches.
TEST_F(ExpertsTest, LinearsOfProjectionsThatDiffer) {
  const Routings routings = route({2, 0, 9, 1});
  const std::vector<bool> sorted(4, false), in_order(4, true);
  const Linears a = linears({4, 4, 4, 4}, 36, in_order), b = linears({4, 4, 4, 4}, 36, sorted),
                c = linears({8, 4, 8, 4}, 20, in_order);
  Pair x = make(12, 192), y = make(12, 36), z = make(12, 36), w = make(12, 20);
  const PartsProjection on_cpu[] = {{a.cpu, y.cpu}, {b.cpu, z.cpu}, {c.cpu, w.cpu}},
                        on_gpu[] = {{a.gpu, y.gpu}, {b.gpu, z.gpu}, {c.gpu, w.gpu}};
  reference_->linear_parts(x.cpu, routings.cpu, on_cpu);
  stream_->linear_parts(x.gpu, routings.gpu, on_gpu);
  expect_same(y, "the first", 4 * kRounding, 0.5f);
  expect_same(z, "in another order", 4 * kRounding, 0.5f);
  expect_same(w, "of other widths", 4 * kRounding, 0.5f);
}

/// More experts than rows, batches of every size that a step has.
TEST_F(ExpertsTest, LinearsOfManyExperts) {
  for (const auto& [experts, chosen] : {std::pair<int64_t, int64_t>{2, 1}, {3, 3}, {160, 8}}) {
    const auto n = static_cast<size_t>(experts);
    const Linears all = linears(std::vector<int>(n, 4), 16, std::vector<bool>(n, experts == 3), 96);
    for (const int64_t batch : {1, 2, 8, 9, 16, 17, 150}) {
      Pair scores = make(batch, experts), x = make(batch * chosen, 96), y = make(batch * chosen, 16);
      Routings routings;
      reference_->route({.chosen = chosen}, scores.cpu, routings.cpu);
      stream_->route({.chosen = chosen}, scores.gpu, routings.gpu);
      const PartsProjection on_cpu{all.cpu, y.cpu}, on_gpu{all.gpu, y.gpu};
      reference_->linear_parts(x.cpu, routings.cpu, {&on_cpu, 1});
      stream_->linear_parts(x.gpu, routings.gpu, {&on_gpu, 1});
      expect_same(y, std::to_string(experts) + " experts, " + std::to_string(batch) + " rows", 4 * kRounding,
                  0.5f);
    }
  }
}

/// What is kept of Linears that are gone is not taken for what is in their place.
TEST_F(ExpertsTest, LinearsThatAreReplaced) {
  const Routings routings = route({2, 0, 5});
  Pair x = make(7, 192), y = make(7, 36);
  for (int times = 0; times < 6; ++times) {
    const Linears all = linears({4, 4, 4}, 36, {true, true, true});
    for (int again = 0; again < 2; ++again) {
      const PartsProjection on_cpu{all.cpu, y.cpu}, on_gpu{all.gpu, y.gpu};
      reference_->linear_parts(x.cpu, routings.cpu, {&on_cpu, 1});
      const int allocated = state_.allocations;
      stream_->linear_parts(x.gpu, routings.gpu, {&on_gpu, 1});
      if (again == 1) {
        EXPECT_EQ(state_.allocations, allocated);
      }
      expect_same(y, "linear_parts", 4 * kRounding, 0.5f);
    }
  }
}

TEST_F(ExpertsTest, NoRowsAtAll) {
  const Routings routings = route({1});
  Routing none;
  Pair x = make(1, 192), y = make(1, 36);
  const Linears all = linears({4}, 36, {true});
  stream_->route({}, {x.gpu.data, 0, 1}, none);
  const PartsProjection projection{all.gpu, y.gpu};
  stream_->linear_parts(x.gpu, none, {&projection, 1});
  stream_->linear_parts(x.gpu, routings.gpu, {});
  stream_->gather(x.gpu, none, y.gpu);
  expect_same(y, "nothing", 0);
}

}  // namespace
}  // namespace gptq::cuda
