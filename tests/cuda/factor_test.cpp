// The factor of a Hessian against its definition in double.
#include <functional>
#include <numeric>

#include "cuda_support.h"

namespace gptq::cuda {
namespace {

struct Problem {
  int64_t n;
  std::vector<float> h;  // what is below the diagonal is NaN
  std::vector<int32_t> order;
  std::vector<float> diagonal_add;

  explicit Problem(int64_t size) : n(size), h(static_cast<size_t>(n * n), NAN) {
    Random random(static_cast<uint64_t>(n));
    const std::vector<float> x = random_floats(random, (n + 5) * n);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = i; j < n; ++j) {
        double sum = 0;
        for (int64_t r = 0; r < n + 5; ++r)
          sum += double{x[static_cast<size_t>(r * n + i)]} * double{x[static_cast<size_t>(r * n + j)]};
        h[static_cast<size_t>(i * n + j)] = static_cast<float>(sum);
      }
    }
    order.resize(static_cast<size_t>(n));
    std::iota(order.begin(), order.end(), 0);
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
    for (int64_t i = 0; i < n; ++i) diagonal_add.push_back(static_cast<float>(0.5 + random.uniform()));
  }

  double at(int64_t i, int64_t j) const {
    const int32_t a = order[static_cast<size_t>(i)], b = order[static_cast<size_t>(j)];
    const double value = h[static_cast<size_t>(std::min(a, b) * n + std::max(a, b))];
    return i == j ? value + double{diagonal_add[static_cast<size_t>(i)]} : value;
  }

  /// U, and whether there is none; L by the plugin's kernels, or by `other`.
  std::vector<float> factor(uint32_t& failed, const std::function<void(float*)>& other = {}) const {
    std::vector<float> u(h.size(), NAN);
    std::vector<std::byte> scratch(scratch_of_factor(n), std::byte{0xFF});
    std::vector<uint32_t> flag{failed};
    begin_factor(kQueue, h.data(), n, order.data(), diagonal_add.data(), scratch.data());
    if (other) {
      other(reinterpret_cast<float*>(scratch.data()));
      take_factor(kQueue, n, scratch.data(), flag.data());
    } else {
      factor_blocks(kQueue, n, scratch.data(), flag.data(), [] {});
    }
    finish_factor(kQueue, n, scratch.data(), u.data(), [] {});
    failed = flag[0];
    return u;
  }

  void expect_inverse(const std::vector<float>& u) const {
    std::vector<double> uh(static_cast<size_t>(n * n));
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        if (j < i) {
          ASSERT_EQ(u[static_cast<size_t>(i * n + j)], 0.0f);
        }
        for (int64_t k = i; k < n; ++k)
          uh[static_cast<size_t>(i * n + j)] += double{u[static_cast<size_t>(i * n + k)]} * at(k, j);
      }
    }
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        double sum = 0;
        for (int64_t k = j; k < n; ++k)
          sum += uh[static_cast<size_t>(i * n + k)] * double{u[static_cast<size_t>(j * n + k)]};
        ASSERT_NEAR(sum, i == j ? 1.0 : 0.0, 2e-4) << n << ": " << i << ", " << j;
      }
    }
  }
};

/// What a library has in the place of F: L, and something else above the diagonal.
void cholesky(float* a, int64_t n) {
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t i = j; i < n; ++i) {
      double sum = a[i * n + j];
      for (int64_t k = 0; k < j; ++k) sum -= double{a[i * n + k]} * double{a[j * n + k]};
      a[i * n + j] = static_cast<float>(i == j ? std::sqrt(sum) : sum / double{a[j * n + j]});
    }
    for (int64_t k = j + 1; k < n; ++k) a[j * n + k] = NAN;
  }
}

/// U H' U^T is the identity, since H'^-1 = U^T U.
TEST(Factor, InvertsTheHessian) {
  for (int64_t n : {1, 2, 63, 64, 65, 130, 200}) {
    const Problem problem(n);
    uint32_t failed = 0;
    problem.expect_inverse(problem.factor(failed));
    EXPECT_EQ(failed, 0u);
    problem.expect_inverse(problem.factor(failed, [&](float* a) { cholesky(a, n); }));
    EXPECT_EQ(failed, 0u);
  }
}

TEST(Factor, SaysWhereThereIsNone) {
  for (int64_t at : {0, 70, 99}) {
    for (float value : {-1000.0f, 0.0f, NAN, INFINITY}) {
      Problem problem(100);
      problem.diagonal_add[static_cast<size_t>(at)] = value;
      for (int64_t i = 0; value == 0.0f && i < 100; ++i) {  // a row of zeros
        const int32_t a = problem.order[static_cast<size_t>(at)], b = problem.order[static_cast<size_t>(i)];
        problem.h[static_cast<size_t>(std::min(a, b) * 100 + std::max(a, b))] = 0;
      }
      uint32_t failed = 0;
      problem.factor(failed);
      EXPECT_EQ(failed, 1u) << value << " at " << at;
      failed = 0;
      problem.factor(failed, [&](float* a) { cholesky(a, problem.n); });  // which doesn't look
      EXPECT_EQ(failed, 1u) << value << " at " << at;
    }
  }
}

TEST(Factor, HasNoBankConflicts) {
  uint32_t failed = 0;
  shim::reset_counts();
  Problem(130).factor(failed);
  expect_no_conflicts(100);
}

}  // namespace
}  // namespace gptq::cuda
