// The router's choice against the CPU backend's.
#include <algorithm>

#include "cuda_support.h"

namespace gptq::cuda {
namespace {

struct Case {
  int64_t rows, experts;
  RouterParams params;
  bool with_bias = false;
  std::vector<float> bias{};  // [experts]; empty: any
};

class RouteTest : public testing::TestWithParam<Element> {
 protected:
  void expect_route(const Case& c, const std::vector<float>& given) {
    Reference reference;
    Random random(11);
    Activations scores(GetParam(), given);
    const std::vector<float> bias = c.bias.empty() ? random_floats(random, c.experts, 0.5f) : c.bias;
    const auto bias_vector = reference.backend().prepare_vector(float_tensor(bias));
    RouterParams params = c.params;
    if (c.with_bias) params.choice_bias = bias_vector.get();
    Routing wanted;
    std::vector<float> x = scores.floats();
    reference->route(params, matrix_of(x, c.rows, c.experts), wanted);

    const auto entries = static_cast<size_t>(c.rows * params.chosen);
    std::vector<int32_t> experts(entries), rows(entries), begin(static_cast<size_t>(c.experts) + 1);
    std::vector<float> expert_weights(entries), weights(entries);
    route(kQueue, GetParam(),
          {.score = params.score,
           .chosen = params.chosen,
           .renormalize = params.renormalize,
           .choice_bias = c.with_bias ? bias.data() : nullptr,
           .groups = params.groups,
           .groups_chosen = params.groups_chosen,
           .group_score = params.group_score,
           .factor = params.factor,
           .jitter = params.jitter},
          scores.data(), c.rows, c.experts,
          {experts.data(), expert_weights.data(), begin.data(), rows.data(), weights.data()});
    EXPECT_EQ(std::vector<int64_t>(begin.begin(), begin.end()), wanted.begin);
    EXPECT_EQ(rows, wanted.rows);
    expect_near(weights, wanted.weights, 1e-5f, 1e-3f, "weights");
  }
};

TEST_P(RouteTest, ChoosesAsTheCpuDoes) {
  using S = RouterScore;
  for (const Case& c : std::vector<Case>{
           {5, 8, {.score = S::softmax, .chosen = 2, .renormalize = Renormalize::yes}},
           {7, 4, {.score = S::softmax_chosen, .chosen = 4}},
           {3, 100, {.score = S::sigmoid, .chosen = 6, .renormalize = Renormalize::yes, .factor = 2.5f}},
           {9,
            64,
            {.score = S::sigmoid,
            .chosen = 8,
            .groups = 8,
            .groups_chosen = 3,
            .group_score = GroupScore::two_best},
            true},
           {9, 60, {.score = S::softmax, .chosen = 5, .groups = 5, .groups_chosen = 2}},
           {6, 16, {.score = S::softmax_near, .chosen = 2, .jitter = 0.3f}},
           {33, 1, {.score = S::softmax, .chosen = 1}},
           {0, 8, {.score = S::softmax, .chosen = 2}},
           {40, 257, {.score = S::softmax, .chosen = 3}, true}}) {
    Random random(static_cast<uint64_t>(c.experts));
    expect_route(c, random_floats(random, c.rows * c.experts, 4));
  }
}

TEST_P(RouteTest, TiesAndNaNAndInfinity) {
  const Case c{3, 8, {.score = RouterScore::sigmoid, .chosen = 3}};
  std::vector<float> given(24, 1.0f);
  given[8] = given[9] = NAN;
  given[20] = INFINITY;
  given[21] = -INFINITY;
  expect_route(c, given);
  // groups whose two best are infinities that have no sum
  Case groups{5,
              56,
              {.score = RouterScore::sigmoid,
               .chosen = 2,
               .groups = 14,
               .groups_chosen = 4,
               .group_score = GroupScore::two_best},
              true,
              std::vector<float>(56, -INFINITY)};
  for (size_t e = 0; e < 56; e += 4) groups.bias[e] = INFINITY;
  Random random(4);
  for (const size_t finite : {56, 8, 0}) {
    for (size_t e = finite; e < 56; ++e) groups.bias[e] = e % 4 == 0 ? 1.0f : 0.25f;
    expect_route(groups, random_floats(random, 5 * 56, 4));
  }
}

INSTANTIATE_TEST_SUITE_P(Cuda, RouteTest, testing::ValuesIn(kElements));

}  // namespace
}  // namespace gptq::cuda
