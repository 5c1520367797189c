// The router's choice, and rows on their way to experts and back, against plain double arithmetic.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "backend/routing.h"
#include "ops_support.h"

namespace gptq::test {
namespace {

struct Chosen {
  std::vector<int64_t> experts;
  std::vector<double> weights;
};

double sum_of(const std::vector<double>& x) { return std::accumulate(x.begin(), x.end(), 0.0); }

/// By sorting, where the backend takes the best again and again.
Chosen chosen_of(const RouterParams& params, const float* given, int64_t experts,
                 const std::vector<float>& bias) {
  const auto n = static_cast<size_t>(experts);
  std::vector<double> score(given, given + n);
  if (params.score == RouterScore::softmax) {
    for (double& s : score) s = std::exp(s);
    const double sum = sum_of(score);
    for (double& s : score) s /= sum;
  }
  if (params.score == RouterScore::sigmoid) {
    for (double& s : score) s = 1 / (1 + std::exp(-s));
  }
  std::vector<double> choice = score;
  for (size_t e = 0; e < bias.size(); ++e) choice[e] += static_cast<double>(bias[e]);
  const size_t size = n / static_cast<size_t>(params.groups);
  std::vector<std::pair<double, size_t>> groups;
  for (size_t g = 0; g < static_cast<size_t>(params.groups); ++g) {
    std::vector<double> own(choice.begin() + static_cast<ptrdiff_t>(g * size),
                            choice.begin() + static_cast<ptrdiff_t>((g + 1) * size));
    std::sort(own.rbegin(), own.rend());
    groups.emplace_back(own[0] + (params.group_score == GroupScore::two_best && size > 1 ? own[1] : 0), g);
  }
  std::sort(groups.rbegin(), groups.rend());
  std::set<size_t> kept;
  for (int64_t g = 0; g < params.groups_chosen; ++g) kept.insert(groups[static_cast<size_t>(g)].second);
  std::vector<size_t> order;
  for (size_t e = 0; e < n; ++e) {
    order.push_back(e);
    if (!kept.contains(e / size)) choice[e] = -INFINITY;
  }
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return choice[a] > choice[b]; });
  Chosen result;
  for (size_t i = 0; i < static_cast<size_t>(params.chosen); ++i) {
    const size_t best = order[i];
    double weight = score[best];
    if (params.score == RouterScore::softmax_near) {
      double sum = 0;
      for (size_t j = i; j < order.size(); ++j) {
        const double s = score[order[j]];
        const double distance = (score[best] - s) / std::max(std::abs(s), score[best]);
        if (distance <= 2 * static_cast<double>(params.jitter)) sum += std::exp(s - score[best]);
      }
      weight = 1 / sum;
    }
    if (params.score == RouterScore::softmax_chosen) weight = std::exp(weight);
    result.experts.push_back(static_cast<int64_t>(best));
    result.weights.push_back(weight);
  }
  const bool shares = params.renormalize == Renormalize::yes || params.score == RouterScore::softmax_chosen;
  const double divisor = shares ? sum_of(result.weights) : 1.0;
  for (double& w : result.weights) w *= static_cast<double>(params.factor) / divisor;
  return result;
}

void expect_routing(RouterParams params, int64_t experts, int64_t rows, bool biased, int threads) {
  Random random(static_cast<uint64_t>(31 + experts + rows));
  const auto backend = backend_with(threads);
  const auto stream = backend->create_stream(nullptr);
  auto scores = random_floats(random, rows * experts, 2.0f);
  const std::vector<float> bias = biased ? random_floats(random, experts) : std::vector<float>();
  const auto bias_vector = biased ? backend->prepare_vector(float_tensor(bias)) : nullptr;
  params.choice_bias = bias_vector.get();
  Routing routing;
  stream->route(params, matrix(scores, rows, experts), routing);
  EXPECT_EQ(routing.experts, experts);
  EXPECT_EQ(routing.entries, rows * params.chosen);
  EXPECT_EQ(routing.most, rows);
  ASSERT_EQ(routing.begin.size(), static_cast<size_t>(experts) + 1);
  ASSERT_EQ(routing.rows.size(), static_cast<size_t>(rows * params.chosen));
  for (int64_t row = 0; row < rows; ++row) {
    const Chosen wanted = chosen_of(params, scores.data() + row * experts, experts, bias);
    for (size_t i = 0; i < wanted.experts.size(); ++i) {
      const int64_t e = wanted.experts[i];
      const auto begin = routing.rows.begin() + routing.first(e), end = begin + routing.count(e);
      EXPECT_TRUE(std::is_sorted(begin, end));
      const auto found = std::find(begin, end, static_cast<int32_t>(row));
      ASSERT_NE(found, end) << "row " << row << " expert " << e;
      EXPECT_EQ(std::count(begin, end, static_cast<int32_t>(row)), 1);
      const double weight = double{routing.weights[static_cast<size_t>(found - routing.rows.begin())]};
      EXPECT_NEAR(weight, wanted.weights[i], 1e-5) << "row " << row << " expert " << e;
    }
  }
}

TEST(Experts, RouterOfEveryKind) {
  for (RouterScore score :
       {RouterScore::softmax, RouterScore::softmax_chosen, RouterScore::sigmoid, RouterScore::softmax_near}) {
    for (Renormalize renormalize : {Renormalize::no, Renormalize::yes}) {
      for (int64_t chosen : {1, 2, 5}) {
        for (int64_t rows : {0, 1, 700})
          expect_routing({.score = score, .chosen = chosen, .renormalize = renormalize, .jitter = 0.1f}, 11,
                         rows, false, 3);
      }
    }
  }
}

TEST(Experts, BiasDecidesAndDoesNotWeigh) {
  expect_routing({.score = RouterScore::sigmoid, .chosen = 3, .factor = 2.5f}, 7, 50, true, 2);
}

TEST(Experts, OnlyBestGroups) {
  for (GroupScore by : {GroupScore::best, GroupScore::two_best}) {
    for (int64_t groups : {2, 4, 8}) {
      expect_routing({.score = RouterScore::sigmoid,
                      .chosen = 2,
                      .renormalize = Renormalize::yes,
                      .groups = groups,
                      .groups_chosen = groups / 2,
                      .group_score = by},
                     16, 60, by == GroupScore::two_best, 2);
    }
  }
}

TEST(Experts, ExpertsThatNobodyChooses) {
  const auto stream = backend_with(2)->create_stream(nullptr);
  std::vector<float> scores{0, 9, 0, 8, 0, 0, 7, 0, 1, 0};  // [2, 5]
  Routing routing;
  stream->route({.score = RouterScore::sigmoid, .chosen = 1}, matrix(scores, 2, 5), routing);
  EXPECT_EQ(routing.begin, (std::vector<int64_t>{0, 0, 2, 2, 2, 2}));
  EXPECT_EQ(routing.rows, (std::vector<int32_t>{0, 1}));
}

TEST(Experts, SigmoidsThatAreAllOneAreToldApart) {
  const auto stream = backend_with(1)->create_stream(nullptr);
  std::vector<float> scores{20, 30, 25, 40, 0};
  Routing routing;
  stream->route({.score = RouterScore::sigmoid, .chosen = 2}, matrix(scores, 1, 5), routing);
  EXPECT_EQ(routing.begin, (std::vector<int64_t>{0, 0, 1, 1, 2, 2}));
}

TEST(Experts, WhatIsNoNumberIsChosenLast) {
  const auto stream = backend_with(1)->create_stream(nullptr);
  const float nan = std::nanf("");
  for (RouterScore score : {RouterScore::softmax_chosen, RouterScore::sigmoid}) {
    std::vector<float> scores{nan, 1, nan, 2, nan, nan, nan, nan};  // [2, 4]
    Routing routing;
    stream->route({.score = score, .chosen = 2}, matrix(scores, 2, 4), routing);
    EXPECT_EQ(routing.rows.size(), 4u);
    EXPECT_EQ(routing.begin.back(), 4);
    for (int64_t e : {1, 3}) {
      const auto begin = routing.rows.begin() + routing.first(e);
      EXPECT_EQ(std::count(begin, begin + routing.count(e), 0), 1) << e;
    }
  }
}

/// The same bits as one expert after the other, in both levels of precision: rows that are none, few and many, weights of
/// several widths and orders, and those that nothing was quantized of.
TEST(Experts, LinearsOfAllAtOnce) {
  Random random(29);
  const int64_t inputs = 160, outputs = 70;
  Routing routing;
  routing.begin = {0, 0, 1, 9, 48, 51, 60, 60};
  const auto& begin = routing.begin;
  const auto parts = begin.size() - 1;
  routing.experts = static_cast<int64_t>(parts);
  routing.entries = begin.back();
  const auto rows = begin.back() + 1;  // the last one belongs to nobody
  for (Compute compute : {Compute::exact, Compute::fast}) {
    const auto backend = create_backend("cpu", {.threads = 3, .compute = compute});
    const auto stream = backend->create_stream(nullptr);
    const std::vector<float> bias = random_floats(random, outputs);
    const Tensor bias_tensor = float_tensor(bias);
    std::vector<std::unique_ptr<Linear>> linears;
    std::vector<DenseWeights> dense;
    dense.reserve(2 * parts);
    for (size_t i = 0; i < 2 * parts; ++i) {
      if (i % 5 == 4) {
        dense.push_back(random_dense(random, DType::bf16, outputs, inputs));
        linears.push_back(backend->prepare(dense.back().tensor, nullptr));
      } else {
        const auto order = i % 3 == 0 ? QuantShape::Order::shuffled : QuantShape::Order::sequential;
        const QTensor q = random_quantized(random, {.bits = i % 4 == 3 ? 8 : 4,
                                                    .rows = outputs,
                                                    .cols = inputs,
                                                    .group_size = 32,
                                                    .order = order,
                                                    .zeros = QuantShape::Zeros::any});
        linears.push_back(backend->prepare(q, i % 2 == 0 ? &bias_tensor : nullptr));
      }
    }
    std::vector<const Linear*> gates, ups;
    for (size_t i = 0; i < parts; ++i) {
      gates.push_back(linears[2 * i].get());
      ups.push_back(linears[2 * i + 1].get());
    }
    auto x = random_floats(random, rows * inputs);
    std::vector<float> gate(static_cast<size_t>(rows * outputs), 7.0f), up = gate, want_gate = gate,
                                                                        want_up = gate;
    const PartsProjection both[] = {{gates, matrix(gate, rows, outputs)}, {ups, matrix(up, rows, outputs)}};
    stream->linear_parts(matrix(x, rows, inputs), routing, both);
    for (size_t i = 0; i < parts; ++i) {
      const auto part = [&](std::vector<float>& values, int64_t cols) {
        return Matrix{reinterpret_cast<std::byte*>(values.data() + begin[i] * cols), begin[i + 1] - begin[i],
                      cols};
      };
      stream->linear(*gates[i], part(x, inputs), part(want_gate, outputs));
      stream->linear(*ups[i], part(x, inputs), part(want_up, outputs));
    }
    EXPECT_EQ(gate, want_gate);
    EXPECT_EQ(up, want_up);
    EXPECT_EQ(gate.back(), 7.0f);
    EXPECT_NE(gate[0], 7.0f);
  }
}

TEST(Experts, ClearLeavesNothing) {
  std::vector<float> x(20'000, std::nanf(""));
  backend_with(3)->create_stream(nullptr)->clear(matrix(x, 100, 199));
  EXPECT_EQ(std::count(x.begin(), x.end(), 0.0f), 19'900);
  EXPECT_TRUE(std::isnan(x[19'900]));
}

TEST(Experts, RowsThereAndBack) {
  Random random(5);
  for (int threads : {1, 4}) {
    for (int64_t cols : {1, 63, 64, 200}) {
      const int64_t rows = 9;
      const std::vector<int32_t> places{3, 0, 8, 3, 3, 7, 0, 1, 2, 5, 4};
      const auto count = static_cast<int64_t>(places.size());
      const auto stream = backend_with(threads)->create_stream(nullptr);
      auto x = random_floats(random, rows * cols);
      const auto before = x;
      Routing routing;
      routing.entries = count;
      routing.rows = places;
      routing.weights = random_floats(random, count);
      std::vector<float> out(static_cast<size_t>(count * cols));
      stream->gather(matrix(x, rows, cols), places, matrix(out, count, cols));
      for (int64_t i = 0; i < count; ++i) {
        for (int64_t c = 0; c < cols; ++c)
          ASSERT_EQ(out[static_cast<size_t>(i * cols + c)],
                    before[static_cast<size_t>(places[static_cast<size_t>(i)] * cols + c)]);
      }
      std::vector<float> again(out.size()), weighed = out;
      stream->gather(matrix(x, rows, cols), routing, matrix(again, count, cols));
      EXPECT_EQ(again, out);
      stream->weigh(matrix(weighed, count, cols), routing);
      for (size_t i = 0; i < out.size(); ++i)
        ASSERT_EQ(weighed[i], out[i] * routing.weights[i / static_cast<size_t>(cols)]);
      auto added = x;
      stream->scatter_add(matrix(x, rows, cols), routing, Weigh::yes, matrix(out, count, cols));
      stream->scatter_add(matrix(added, rows, cols), routing, Weigh::no, matrix(weighed, count, cols));
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < cols; ++c) {
          const auto at = static_cast<size_t>(r * cols + c);
          double wanted = double{before[at]};
          for (size_t i = 0; i < places.size(); ++i) {
            if (places[i] == r)
              wanted += double{weighed[i * static_cast<size_t>(cols) + static_cast<size_t>(c)]};
          }
          ASSERT_NEAR(double{x[at]}, wanted, 1e-5) << r << " " << c;
          ASSERT_NEAR(double{added[at]}, wanted, 1e-5) << r << " " << c;
        }
      }
    }
  }
}

}  // namespace
}  // namespace gptq::test
