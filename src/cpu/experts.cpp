// Mixtures of experts: the router's choice, and rows on their way to the experts and back.
#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu/stream_cpu.h"
#include "cpu/vector_cpu.h"

namespace gptq::cpu {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();
/// Elements of one chunk: some microseconds of work.
constexpr int64_t kChunk = 8192;

/// The choice of one row. `score` is what the router gave, and what becomes of it; `choice` what decides.
struct RowChoice {
  const RouterParams& params;
  std::vector<float> score, choice, group;
  std::vector<int64_t> order;  // of groups

  RowChoice(const RouterParams& router, int64_t experts)
      : params(router), score(static_cast<size_t>(experts)), choice(score) {}

  /// experts and weights [chosen]
  void choose(const float* given, int32_t* experts, float* weights) {
    std::copy_n(given, score.size(), score.begin());
    if (params.score == RouterScore::softmax) softmax(score.data(), static_cast<int64_t>(score.size()));
    if (params.score == RouterScore::sigmoid) {
      for (float& s : score) s = 1.0f / (1.0f + std::exp(-s));
    }
    choice = score;
    // where only the order counts: far out sigmoids are all 1
    if (params.score == RouterScore::sigmoid && params.choice_bias == nullptr && params.groups <= 1)
      std::copy_n(given, choice.size(), choice.begin());
    if (params.choice_bias != nullptr) {
      const float* bias = values_of(*params.choice_bias);
      for (size_t e = 0; e < choice.size(); ++e) choice[e] += bias[e];
    }
    std::replace_if(
        choice.begin(), choice.end(), [](float c) { return std::isnan(c); }, kNever);
    if (params.groups > 1) leave_groups_out();
    for (int64_t i = 0; i < params.chosen; ++i) {
      const auto best = std::max_element(choice.begin(), choice.end()) - choice.begin();
      experts[i] = static_cast<int32_t>(best);
      const float s = score[static_cast<size_t>(best)];
      weights[i] = params.score == RouterScore::softmax_near ? share_of_best(s) : s;
      choice[static_cast<size_t>(best)] = kNever;
    }
    if (params.score == RouterScore::softmax_chosen) softmax(weights, params.chosen);
    float sum = 0;
    for (int64_t i = 0; i < params.chosen; ++i) sum += weights[i];
    const float factor =
        params.renormalize == Renormalize::yes ? params.factor / (sum + 1e-20f) : params.factor;
    for (int64_t i = 0; i < params.chosen; ++i) weights[i] *= factor;
  }

  static void softmax(float* x, int64_t n) {
    const float most = *std::max_element(x, x + n);
    float sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += x[i] = std::exp(x[i] - most);
    for (int64_t i = 0; i < n; ++i) x[i] /= sum;
  }

  /// Of the softmax over those that are left and near `best`, their largest.
  float share_of_best(float best) const {
    float sum = 0;
    for (float s : choice) {
      const bool far = (best - s) / std::max(std::abs(s), best) > 2 * params.jitter;
      if (s != kNever && !far) sum += std::exp(s - best);
    }
    return 1.0f / sum;
  }

  void leave_groups_out() {
    const auto size = static_cast<int64_t>(choice.size()) / params.groups;
    group.clear();
    order.clear();
    for (int64_t g = 0; g < params.groups; ++g) {
      float best = kNever, second = kNever;
      for (int64_t i = g * size; i < (g + 1) * size; ++i) {
        const float c = choice[static_cast<size_t>(i)];
        second = std::max(second, std::min(best, c));
        best = std::max(best, c);
      }
      const float score = params.group_score == GroupScore::best || size == 1 ? best : best + second;
      group.push_back(std::isnan(score) ? kNever : score);
      order.push_back(g);
    }
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return group[static_cast<size_t>(a)] > group[static_cast<size_t>(b)];
    });
    for (auto g = order.begin() + params.groups_chosen; g != order.end(); ++g)
      std::fill_n(choice.begin() + *g * size, size, kNever);
  }
};

}  // namespace

void CpuStream::route(const RouterParams& params, Matrix scores, Routing& routing) {
  const int64_t experts = scores.cols, chosen = params.chosen;
  std::vector<int32_t> expert(static_cast<size_t>(scores.rows * chosen));
  std::vector<float> weight(expert.size());
  const int64_t grain = std::max<int64_t>(1, kChunk / std::max<int64_t>(experts * chosen, 1));
  parallel_for(scores.rows, grain, [&](int64_t begin, int64_t end) {
    RowChoice choice(params, experts);
    for (int64_t i = begin; i < end; ++i)
      choice.choose(row(scores, i), expert.data() + i * chosen, weight.data() + i * chosen);
  });
  routing.experts = experts;
  routing.entries = scores.rows * chosen;
  routing.most = scores.rows;
  routing.begin.assign(static_cast<size_t>(experts) + 1, 0);
  for (int32_t e : expert) ++routing.begin[static_cast<size_t>(e) + 1];
  for (size_t e = 0; e < static_cast<size_t>(experts); ++e) routing.begin[e + 1] += routing.begin[e];
  std::vector<int64_t> next(routing.begin.begin(), routing.begin.end() - 1);
  routing.rows.resize(expert.size());
  routing.weights.resize(expert.size());
  for (size_t i = 0; i < expert.size(); ++i) {
    const auto to = static_cast<size_t>(next[static_cast<size_t>(expert[i])]++);
    routing.rows[to] = static_cast<int32_t>(static_cast<int64_t>(i) / chosen);
    routing.weights[to] = weight[i];
  }
}

void CpuStream::gather(Matrix x, std::span<const int32_t> rows, Matrix out) {
  const int64_t grain = std::max<int64_t>(1, kChunk / std::max<int64_t>(x.cols, 1));
  parallel_for(static_cast<int64_t>(rows.size()), grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      std::copy_n(row(x, rows[static_cast<size_t>(i)]), x.cols, row(out, i));
  });
}

void CpuStream::gather(Matrix x, const Routing& routing, Matrix out) { gather(x, routing.rows, out); }

void CpuStream::weigh(Matrix x, const Routing& routing) { scale_rows(x, routing.weights); }

/// Parts of columns, so that no two threads add to one element.
void CpuStream::scatter_add(Matrix x, const Routing& routing, Weigh weigh, Matrix y) {
  constexpr int64_t kPart = 64;
  const Kernels& k = kernels();
  const int64_t parts = (x.cols + kPart - 1) / kPart;
  const int64_t count = routing.entries;
  const int64_t grain = std::max<int64_t>(1, kChunk / std::max<int64_t>(count * kPart, 1));
  parallel_for(parts, grain, [&](int64_t first, int64_t last) {
    const int64_t begin = first * kPart, width = std::min(last * kPart, x.cols) - begin;
    for (int64_t i = 0; i < count; ++i) {
      const auto at = static_cast<size_t>(i);
      k.axpy(weigh == Weigh::yes ? routing.weights[at] : 1.0f, row(y, i) + begin, width,
             row(x, routing.rows[at]) + begin);
    }
  });
}

}  // namespace gptq::cpu
