// A small problem worked out by hand in fp64, with the reference implementation's faults.
#include <gtest/gtest.h>

#include <cmath>

#include "base/thread_pool.h"
#include "cpu/factor.h"
#include "quant/solver_support.h"

namespace gptq {
namespace {

const std::vector<float> kWeights{.9f, -.4f, .35f, .2f, -.25f, .7f, -.6f, .1f};
const std::vector<float> kInputs{1, 2, 0, 1, 2, 1, 1, 0, 0, 1, 3, 1, 1, 0, 1, 4, 2, 3, 1, 1};

struct Golden {
  const char* name;
  int bits;
  Symmetric symmetric;
  Order order;
  std::vector<uint8_t> codes;
  std::vector<float> scales;
  std::vector<uint16_t> zeros;
  std::vector<int32_t> group_of;
  double loss;
};

class SolverGolden : public testing::TestWithParam<Golden> {};

TEST_P(SolverGolden, MatchesReference) {
  const Golden& golden = GetParam();
  test::CpuBench bench;
  const auto hessian = bench.hessian(kInputs, 4);
  Solver solver(*bench.stream, *hessian, nullptr,
                {.bits = golden.bits,
                 .group_size = 2,
                 .symmetric = golden.symmetric,
                 .order = golden.order,
                 .compat = Compat::gptqmodel,
                 .scale_type = ScaleType::f32});
  const SolveResult result = solver.quantize(kWeights.data(), 2, "golden");
  EXPECT_EQ(result.q.codes, golden.codes);
  EXPECT_EQ(result.q.zeros, golden.zeros);
  EXPECT_EQ(result.q.group_of, golden.group_of);
  ASSERT_EQ(result.q.scales.size(), golden.scales.size());
  for (size_t i = 0; i < golden.scales.size(); ++i) EXPECT_NEAR(result.q.scales[i], golden.scales[i], 1e-6);
  EXPECT_NEAR(result.loss, golden.loss, 1e-6);
  EXPECT_EQ(result.method, SolveResult::Method::gptq);
  EXPECT_DOUBLE_EQ(result.damp, 0.05);
  EXPECT_EQ(result.note, "");
  EXPECT_NO_THROW(validate(result.q, "golden"));
}

const std::vector<uint16_t> kEights(4, 8);
const Golden kGoldens[] = {
    {"sym4",
     4,
     Symmetric::yes,
     Order::none,
     {15, 5, 15, 15, 5, 15, 1, 9},
     {.12f, .0933333f, .0233333f, .08f},
     kEights,
     {0, 0, 1, 1},
     .136703},
    {"sym4act",
     4,
     Symmetric::yes,
     Order::act,
     {15, 1, 14, 12, 9, 15, 2, 10},
     {.0533333f, .0466667f, .06f, .08f},
     kEights,
     {1, 0, 1, 0},
     .585207},
    {"sym4gar",
     4,
     Symmetric::yes,
     Order::gar,
     {15, 5, 15, 15, 6, 15, 1, 9},
     {.12f, .0933333f, .0233333f, .08f},
     kEights,
     {0, 0, 1, 1},
     .128179},
    {"asym4",
     4,
     Symmetric::no,
     Order::none,
     {15, 1, 14, 9, 0, 15, 0, 15},
     {.0866667f, .0633333f, .0233333f, .0466667f},
     {5, 4, 0, 13},
     {0, 0, 1, 1},
     .004402},
    {"sym3",
     3,
     Symmetric::yes,
     Order::none,
     {7, 3, 7, 7, 3, 7, 1, 4},
     {.2571429f, .2f, .05f, .1714286f},
     std::vector<uint16_t>(4, 4),
     {0, 0, 1, 1},
     .183678},
};
INSTANTIATE_TEST_SUITE_P(All, SolverGolden, testing::ValuesIn(kGoldens),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(SolverGolden, Factor) {
  const double expected[4][4] = {{.819024, -.479122, .044388, -.163124},
                                 {0, .46286, -.223488, -.050216},
                                 {0, 0, .51431, -.208857},
                                 {0, 0, 0, .356235}};
  // 2/5 X^T X + 0.05 * mean(diag)
  cpu::UpperPanels h(4);
  double trace = 0;
  for (int i = 0; i < h.padded_size(); ++i) h.at(i, i) = i < 4 ? 0.0f : 1.0f;
  for (int i = 0; i < 4; ++i) {
    for (int j = i; j < 4; ++j) {
      for (int t = 0; t < 5; ++t) h.at(i, j) += 0.4f * kInputs[t * 4 + i] * kInputs[t * 4 + j];
    }
    trace += h.at(i, i);
  }
  for (int i = 0; i < 4; ++i) h.at(i, i) += static_cast<float>(0.05 * trace / 4);

  ThreadPool pool(2);
  const cpu::Workers workers{cpu::best_kernels(), cpu::best_kernels().gemm,
                             [&](int64_t count, int64_t grain, const cpu::Workers::Body& body) {
                               pool.parallel_for(count, grain, body);
                             }};
  ASSERT_EQ(cpu::factor_inverse(workers, h), cpu::Definite::yes);
  for (int i = 0; i < 4; ++i) {
    for (int j = i; j < 4; ++j) EXPECT_NEAR(h.at(i, j), expected[i][j], 2e-6) << i << ", " << j;
  }
}

}  // namespace
}  // namespace gptq
