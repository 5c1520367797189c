// Coordinate descent on the shim: its loss by definition, and its codes and scales as those of the CPU backend.
#include <algorithm>
#include <numeric>

#include "backend/range.h"
#include "cuda/solve.h"
#include "cuda_support.h"

namespace gptq::cuda {
namespace {

struct Case {
  int bits = 4;
  Symmetric symmetric = Symmetric::no;
  int64_t rows = 37, cols = 200, group_size = 64;
  int sweeps = 2, refits = 0;
};

struct Solution {
  std::vector<uint8_t> codes;
  std::vector<float> scales;
  std::vector<double> loss;
};

class RefineTest : public testing::Test {
 protected:
  /// Sums in another order may tip a code, and that those after it in the row: few of all that a test refines.
  void TearDown() override {
    if (!codes_.empty()) {
      EXPECT_GE(part_of_equal(codes_, wanted_codes_), 0.999);
    }
  }

  /// Target, codes by rounding to nearest, a Hessian with columns in another order.
  void make(const Case& c) {
    const int64_t n = c.cols, groups = (n + c.group_size - 1) / c.group_size;
    Random random(7);
    inputs_ = random_floats(random, (n + 50) * n);
    for (size_t i = 1; i < inputs_.size(); ++i)
      inputs_[i] += 0.7f * inputs_[i - 1];  // neighbours go together
    for (float& x : inputs_) x = bf16_to_float(float_to_bf16(x));
    target_ = random_floats(random, c.rows * n);
    order_.resize(static_cast<size_t>(n));
    std::iota(order_.begin(), order_.end(), 0);
    std::reverse(order_.begin(), order_.end());
    stored_ = order_;
    std::rotate(stored_.begin(), stored_.begin() + n / 3, stored_.end());
    group_of_.clear();
    diagonal_add_.assign(static_cast<size_t>(n), 2.0f);
    for (int64_t j = 0; j < n; ++j) group_of_.push_back(static_cast<int32_t>(j / c.group_size));
    start_ = {std::vector<uint8_t>(target_.size()), std::vector<float>(static_cast<size_t>(groups * c.rows)),
              std::vector<double>(static_cast<size_t>(c.rows), NAN)};
    zeros_.assign(start_.scales.size(), 0);
    for (int64_t r = 0; r < c.rows; ++r) {
      std::vector<float> low(static_cast<size_t>(groups)), high(low.size());
      for (int64_t j = 0; j < n; ++j) {
        const auto g = static_cast<size_t>(group_of_[static_cast<size_t>(j)]);
        low[g] = std::min(low[g], target_[place(c, r, j)]);
        high[g] = std::max(high[g], target_[place(c, r, j)]);
      }
      for (int64_t g = 0; g < groups; ++g) {
        const Range range = range_of(low[static_cast<size_t>(g)], high[static_cast<size_t>(g)],
                                     {.bits = c.bits, .symmetric = c.symmetric});
        start_.scales[static_cast<size_t>(g * c.rows + r)] = range.scale;
        zeros_[static_cast<size_t>(g * c.rows + r)] = range.zero;
      }
      for (int64_t j = 0; j < n; ++j) {
        const size_t at = parameter(c, r, j);
        const float steps = std::nearbyint(target_[place(c, r, j)] / start_.scales[at]) + zeros_[at];
        start_.codes[place(c, r, j)] =
            static_cast<uint8_t>(std::clamp(steps, 0.0f, static_cast<float>((1 << c.bits) - 1)));
      }
    }
  }
  size_t place(const Case& c, int64_t r, int64_t j) const {
    return static_cast<size_t>(r * c.cols + stored_[static_cast<size_t>(j)]);
  }
  size_t parameter(const Case& c, int64_t r, int64_t j) const {
    return static_cast<size_t>(group_of_[static_cast<size_t>(j)] * c.rows + r);
  }

  Solution by_cpu(const Case& c) {
    Solution s = start_;
    const auto hessian = reference_->create_hessian(c.cols);
    reference_->hessian_add(matrix_of(inputs_, c.cols + 50, c.cols), *hessian);
    RefineProblem problem{.rows = c.rows,
                          .cols = c.cols,
                          .target = target_.data(),
                          .group_of = group_of_.data(),
                          .stored = stored_.data(),
                          .codes = s.codes.data(),
                          .scales = s.scales.data(),
                          .zeros = zeros_.data(),
                          .row_loss = s.loss.data()};
    reference_->refine(*hessian, order_, diagonal_add_,
                       {.bits = c.bits, .sweeps = c.sweeps, .refits = c.refits}, problem);
    return s;
  }

  Solution by_gpu(const Case& c) {
    Solution s = start_;
    const auto n = static_cast<size_t>(c.cols), rows = static_cast<size_t>(c.rows);
    Activations x(Element::bf16, inputs_);
    std::vector<float> sums(n * n), h(n * n, NAN), target(rows * n, NAN), residual(rows * n, NAN),
        product(rows * kRefinedBlock, NAN), numbers(rows * n, NAN), numbers_product(product);
    std::vector<uint8_t> codes(rows * n);
    std::vector<double> fits(rows * 2, NAN);
    add_products(kQueue, Element::bf16, x.data(), c.cols, x.data(), c.cols, c.cols + 50, 1, Wanted::upper,
                 sums.data());
    permute_hessian(kQueue, sums.data(), c.cols, order_.data(), diagonal_add_.data(), h.data());
    take_columns(kQueue, target_.data(), c.rows, c.cols, stored_.data(), target.data());
    take_columns(kQueue, s.codes.data(), c.rows, c.cols, stored_.data(), codes.data());
    RefineView view{.params = {.bits = c.bits, .sweeps = c.sweeps, .refits = c.refits},
                    .rows = c.rows,
                    .cols = c.cols,
                    .hessian = h.data(),
                    .target = target.data(),
                    .group_of = group_of_.data(),
                    .codes = codes.data(),
                    .scales = s.scales.data(),
                    .zeros = zeros_.data(),
                    .row_loss = s.loss.data(),
                    .residual = residual.data(),
                    .product = product.data()};
    if (fits_large_groups(view.params, group_of_)) {
      view.numbers = numbers.data();
      view.numbers_product = numbers_product.data();
      view.fits = fits.data();
    }
    int calls = 0;
    refine(kQueue, view, group_of_, [&] { ++calls; });
    EXPECT_GE(calls, c.sweeps);
    put_columns(kQueue, codes.data(), c.rows, c.cols, stored_.data(), s.codes.data());
    return s;
  }

  /// (W - Q) H' (W - Q)^T / 2 of a row in double.
  double loss_of(const Case& c, const Solution& s, int64_t r) const {
    const auto n = static_cast<size_t>(c.cols);
    std::vector<double> difference(n);  // by column of H
    double sum = 0;
    for (int64_t j = 0; j < c.cols; ++j) {
      const size_t at = parameter(c, r, j);
      const double value = double{s.scales[at]} * (s.codes[place(c, r, j)] - zeros_[at]);
      const double d = target_[place(c, r, j)] - value;
      difference[static_cast<size_t>(order_[static_cast<size_t>(j)])] = d;
      sum += d * d * diagonal_add_[static_cast<size_t>(j)];
    }
    for (size_t t = 0; t < inputs_.size(); t += n) {
      double y = 0;
      for (size_t i = 0; i < n; ++i) y += difference[i] * inputs_[t + i];
      sum += y * y;
    }
    return sum / 2;
  }

  void expect_as_on_the_cpu(const Case& c, const std::string& what) {
    make(c);
    const Solution want = by_cpu(c), got = by_gpu(c);
    EXPECT_GE(part_of_equal(got.codes, want.codes), 0.99) << what;
    codes_.insert(codes_.end(), got.codes.begin(), got.codes.end());
    wanted_codes_.insert(wanted_codes_.end(), want.codes.begin(), want.codes.end());
    double total = 0, wanted = 0, before = 0;
    for (int64_t r = 0; r < c.rows; ++r) {
      const double loss = loss_of(c, got, r);
      ASSERT_NEAR(got.loss[static_cast<size_t>(r)], loss, 1e-4 * loss) << what << ": row " << r;
      total += loss;
      wanted += want.loss[static_cast<size_t>(r)];
      before += loss_of(c, start_, r);
    }
    EXPECT_NEAR(total, wanted, 5e-3 * wanted) << what;
    if (c.sweeps > 0) {
      EXPECT_LT(total, 0.8 * before) << what;
    }
    if (c.refits == 0) {
      EXPECT_EQ(got.scales, start_.scales) << what;
    } else {
      size_t moved = 0, near = 0;
      for (size_t i = 0; i < got.scales.size(); ++i) {
        moved += got.scales[i] != start_.scales[i] ? 1 : 0;
        near += std::abs(got.scales[i] - want.scales[i]) <= 2e-3f * want.scales[i] ? 1 : 0;
      }
      EXPECT_GT(moved, got.scales.size() / 2) << what;
      EXPECT_GE(near, got.scales.size() * 95 / 100) << what;
    }
  }

  std::vector<float> inputs_, target_, diagonal_add_;
  std::vector<int32_t> order_, stored_, group_of_;
  std::vector<uint16_t> zeros_;
  Solution start_;
  std::vector<uint8_t> codes_, wanted_codes_;  // of all cases
  Reference reference_;
};

TEST_F(RefineTest, EveryWidth) {
  for (int bits : {2, 3, 4, 8}) {
    for (Symmetric symmetric : {Symmetric::no, Symmetric::yes})
      expect_as_on_the_cpu({.bits = bits, .symmetric = symmetric, .rows = 60},
                           std::to_string(bits) + " bits");
  }
}

TEST_F(RefineTest, EveryKindOfGroup) {
  for (int64_t size : {16, 48, 128, 150, 1000}) {
    for (int refits : {0, 1, 2})
      expect_as_on_the_cpu({.rows = 20, .cols = 300, .group_size = size, .sweeps = 2, .refits = refits},
                           "groups of " + std::to_string(size) + ", refits " + std::to_string(refits));
  }
}

TEST_F(RefineTest, FindsTheLossAlone) { expect_as_on_the_cpu({.sweeps = 0}, "no sweep"); }

TEST_F(RefineTest, StopsWhereItIsTold) {
  const Case c{.rows = 3, .cols = 300};
  make(c);
  std::vector<float> h(300 * 300, 1.0f), residual(900), product(3 * kRefinedBlock);
  RefineView view{.params = {.sweeps = 1},
                  .rows = 3,
                  .cols = 300,
                  .hessian = h.data(),
                  .target = target_.data(),
                  .group_of = group_of_.data(),
                  .codes = start_.codes.data(),
                  .scales = start_.scales.data(),
                  .zeros = zeros_.data(),
                  .residual = residual.data(),
                  .product = product.data()};
  struct Stop {};
  EXPECT_THROW(refine(kQueue, view, group_of_, [] { throw Stop(); }), Stop);
}

}  // namespace
}  // namespace gptq::cuda
