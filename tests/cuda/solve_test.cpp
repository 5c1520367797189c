// GPTQ on the shim against the CPU backend, with the CPU's factor: every option, groups of every kind.
#include <algorithm>

#include "cpu/factor.h"
#include "cuda/solve.h"
#include "cuda_support.h"

namespace gptq::cuda {
namespace {

struct Case {
  SolveParams params = {};
  int64_t rows = 40, cols = 200, group_size = 64;
  bool factor = true, spread = false, shuffled = false;
};

class SolveTest : public testing::Test {
 protected:
  /// Sums in another order may tip a code, and that those after it in the row: few of all that a test solves.
  void TearDown() override { EXPECT_GE(part_of_equal(codes_, wanted_codes_), 0.999); }

  void expect_as_on_the_cpu(const Case& c, const std::string& what) {
    Random random(31);
    const int64_t n = c.cols, groups = (n + c.group_size - 1) / c.group_size;
    std::vector<float> weights = random_floats(random, c.rows * n),
                       inputs = random_floats(random, (n + 50) * n),
                       other = random_floats(random, (n + 50) * n);
    for (size_t i = 0; i < inputs.size(); i += 3) inputs[i] *= 3;
    std::vector<int32_t> order, group_of;
    for (int64_t i = 0; i < n; ++i) {
      order.push_back(static_cast<int32_t>(i));
      group_of.push_back(static_cast<int32_t>(i / c.group_size));
    }
    for (size_t i = group_of.size(); c.shuffled && i > 1; --i)
      std::swap(group_of[i - 1], group_of[random.below(i)]);
    std::unique_ptr<Factor> factor;
    std::vector<float> u, p;
    if (c.factor) {
      const auto hessian = reference_->create_hessian(n);
      reference_->hessian_add(matrix_of(inputs, n + 50, n), *hessian);
      factor = reference_->factor(*hessian, order, std::vector<float>(static_cast<size_t>(n), 5.0f));
      ASSERT_NE(factor, nullptr);
      if (c.spread) {
        const auto drift = reference_->create_drift(n, n);
        reference_->drift_add(matrix_of(other, n + 50, n), matrix_of(inputs, n + 50, n),
                              matrix_of(inputs, n + 50, n), *drift);
        reference_->spread_drift(*factor, *drift, order, 0.1);
      }
      const auto& on_cpu = static_cast<const cpu::CpuFactor&>(*factor);
      u.resize(static_cast<size_t>(n * n), NAN);  // what is below the diagonal is not read
      p.resize(c.spread ? u.size() : 0, NAN);
      for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = i; j < n; ++j) {
          u[static_cast<size_t>(i * n + j)] = on_cpu.u().at(i, j);
          if (c.spread) p[static_cast<size_t>(i * n + j)] = on_cpu.spread()->at(i, j);
        }
      }
    }
    std::vector<float> wanted_weights = weights, wanted_scales(static_cast<size_t>(groups * c.rows)),
                       scales(wanted_scales.size(), NAN);
    std::vector<uint16_t> wanted_zeros(wanted_scales.size()), zeros(wanted_scales.size());
    std::vector<uint8_t> wanted_codes(weights.size()), codes(weights.size());
    std::vector<double> wanted_loss(static_cast<size_t>(c.rows)), loss(static_cast<size_t>(c.rows), NAN);
    SolveProblem problem{.rows = c.rows,
                         .cols = n,
                         .groups = groups,
                         .weights = wanted_weights.data(),
                         .group_of = group_of.data(),
                         .codes = wanted_codes.data(),
                         .scales = wanted_scales.data(),
                         .zeros = wanted_zeros.data(),
                         .row_loss = wanted_loss.data()};
    reference_->solve(factor.get(), c.params, problem);

    std::vector<int32_t> members(static_cast<size_t>(n)), begin{0};
    auto next = members.begin();
    for (int32_t g = 0; g < groups; ++g) {
      for (int64_t i = 0; i < n; ++i) {
        if (group_of[static_cast<size_t>(i)] == g) *next++ = static_cast<int32_t>(i);
      }
      begin.push_back(static_cast<int32_t>(next - members.begin()));
    }
    std::vector<float> errors(static_cast<size_t>(c.rows * kMostSolvedColumns), NAN), turns = errors;
    solve(kQueue,
          {.params = c.params,
           .rows = c.rows,
           .cols = n,
           .groups = groups,
           .weights = weights.data(),
           .group_of = group_of.data(),
           .u = c.factor ? u.data() : nullptr,
           .p = c.spread ? p.data() : nullptr,
           .codes = codes.data(),
           .scales = scales.data(),
           .zeros = zeros.data(),
           .row_loss = loss.data(),
           .errors = errors.data(),
           .turns = turns.data(),
           .members = members.data(),
           .begin = begin.data()},
          group_of, [] {});
    EXPECT_GE(part_of_equal(codes, wanted_codes), 0.98) << what;
    codes_.insert(codes_.end(), codes.begin(), codes.end());
    wanted_codes_.insert(wanted_codes_.end(), wanted_codes.begin(), wanted_codes.end());
    double total = 0, wanted_total = 0;
    for (size_t r = 0; r < loss.size(); ++r) {
      total += loss[r];
      wanted_total += wanted_loss[r];
    }
    EXPECT_NEAR(total, wanted_total, 0.01 * wanted_total) << what;
    for (int64_t r = 0; r < c.rows; ++r) {
      for (int64_t j = 0; j < n; ++j) {
        const auto at = static_cast<size_t>(r * n + j),
                   parameter = static_cast<size_t>(group_of[static_cast<size_t>(j)] * c.rows + r);
        ASSERT_EQ(weights[at],
                  scales[parameter] * (static_cast<float>(codes[at]) - static_cast<float>(zeros[parameter])))
            << what;
      }
    }
  }

  Reference reference_;
  std::vector<uint8_t> codes_, wanted_codes_;  // of all cases
};

TEST_F(SolveTest, EveryWidthAndSymmetry) {
  for (int bits : {2, 3, 4, 8}) {
    for (Symmetric symmetric : {Symmetric::no, Symmetric::yes}) {
      for (bool factor : {true, false})
        expect_as_on_the_cpu({.params = {.bits = bits, .symmetric = symmetric}, .factor = factor},
                             std::to_string(bits) + " bits");
    }
  }
  expect_as_on_the_cpu(
      {.params = {.symmetric = Symmetric::no, .scale_type = ScaleType::f32, .least_zero = 1}}, "least zero");
}

TEST_F(SolveTest, EveryRangeSearch) {
  for (RangeSearch range : {RangeSearch::mse, RangeSearch::hessian}) {
    for (Symmetric symmetric : {Symmetric::no, Symmetric::yes}) {
      for (StaticGroups fixed : {StaticGroups::no, StaticGroups::yes}) {
        expect_as_on_the_cpu(
            {.params = {.bits = 3, .symmetric = symmetric, .static_groups = fixed, .range = range},
             .rows = 20,
             .cols = 150},
            "search " + std::to_string(static_cast<int>(range)));
      }
    }
  }
}

TEST_F(SolveTest, EveryKindOfGroup) {
  for (int64_t size : {16, 48, 128, 150, 1000}) {
    expect_as_on_the_cpu({.cols = 300, .group_size = size}, "groups of " + std::to_string(size));
    expect_as_on_the_cpu({.params = {.compat = Compat::gptqmodel}, .cols = 300, .group_size = size}, "stale");
  }
  expect_as_on_the_cpu({.params = {.static_groups = StaticGroups::yes}, .shuffled = true}, "any order");
  expect_as_on_the_cpu({.rows = 37, .cols = 70, .group_size = 16}, "rows of several blocks");
}

TEST_F(SolveTest, SpreadsDrift) { expect_as_on_the_cpu({.rows = 100, .cols = 300, .spread = true}, "GPTAQ"); }

}  // namespace
}  // namespace gptq::cuda
