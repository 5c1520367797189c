// Products of matrices of floats, and Hessians in another order, against their definition in double.
#include <algorithm>
#include <array>
#include <numeric>

#include "cuda/solve.h"
#include "cuda_support.h"

namespace gptq::cuda {
namespace {

std::vector<int32_t> shuffled(Random& random, int64_t n) {
  std::vector<int32_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  return order;
}

/// A matrix as an operand: what its elements are, and where they lie.
struct Operand {
  std::vector<float> data;
  std::vector<int32_t> row_order, col_order;
  FloatOperand view;

  Operand(Random& random, int64_t rows, int64_t cols, Turned turned, bool ordered)
      : data(random_floats(random, rows * cols)) {
    view = {.data = data.data(), .pitch = turned == Turned::yes ? rows : cols, .turned = turned};
    if (!ordered) return;
    row_order = shuffled(random, rows);
    col_order = shuffled(random, cols);
    view.rows = row_order.data();
    view.cols = col_order.data();
  }
  float& at(int64_t i, int64_t j) {
    const int64_t r = view.rows != nullptr ? view.rows[i] : i, c = view.cols != nullptr ? view.cols[j] : j;
    return data[static_cast<size_t>(view.turned == Turned::yes ? c * view.pitch + r : r * view.pitch + c)];
  }
};

class FloatsTest : public testing::Test {
 protected:
  void expect_product(std::array<int64_t, 3> shape, Turned turned, bool ordered,
                      Triangle right_is = Triangle::all, Triangle wanted = Triangle::all,
                      Onto onto = Onto::nothing) {
    const auto [rows, cols, depth] = shape;
    Operand left(random_, rows, depth, Turned::no, ordered), right(random_, depth, cols, turned, ordered);
    for (int64_t k = 0; k < depth; ++k) {
      for (int64_t j = 0; j < cols; ++j) {
        if ((right_is == Triangle::upper && k > j) || (right_is == Triangle::lower && k < j))
          right.at(k, j) = 0;
      }
    }
    const int64_t pitch = cols + 3;
    const std::vector<float> before = random_floats(random_, rows * pitch);
    std::vector<float> out = before;
    multiply_floats(kQueue, {.rows = rows,
                             .cols = cols,
                             .depth = depth,
                             .left = left.view,
                             .right = right.view,
                             .factor = -0.5f,
                             .out = out.data(),
                             .pitch = pitch,
                             .onto = onto,
                             .right_is = right_is,
                             .wanted = wanted});
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < pitch; ++j) {
        const auto at = static_cast<size_t>(i * pitch + j);
        double sum = 0, size = 0;
        for (int64_t k = 0; j < cols && k < depth; ++k) {
          const double term = double{left.at(i, k)} * double{right.at(k, j)};
          sum += term;
          size += std::abs(term);
        }
        double want = -0.5 * sum + (onto == Onto::what_is_there ? before[at] : 0.0f);
        if (wanted == Triangle::above && j <= i) want = 0;
        if (j >= cols) want = before[at];
        ASSERT_NEAR(out[at], want, 0.5 * 0x1p-16 * size + 1e-6) << i << ", " << j;
      }
    }
  }

  Random random_{3};
};

TEST_F(FloatsTest, MultipliesEveryShape) {
  for (const auto& shape : {std::array<int64_t, 3>{1, 1, 1}, {5, 70, 3}, {64, 64, 64}, {130, 65, 200}}) {
    for (Turned turned : {Turned::no, Turned::yes}) {
      for (bool ordered : {false, true}) expect_product(shape, turned, ordered);
    }
  }
  expect_product({7, 9, 0}, Turned::no, false);
  expect_product({20, 30, 2100}, Turned::yes, false);
}

TEST_F(FloatsTest, AddsToWhatIsThere) {
  expect_product({70, 40, 20}, Turned::no, false, Triangle::all, Triangle::all, Onto::what_is_there);
}

TEST_F(FloatsTest, LeavesOutWhatIsZero) {
  for (Triangle right_is : {Triangle::upper, Triangle::lower}) {
    for (Triangle wanted : {Triangle::all, Triangle::above}) {
      expect_product({200, 200, 200}, Turned::no, false, right_is, wanted);
      expect_product({70, 150, 150}, Turned::yes, false, right_is, wanted);
    }
  }
}

TEST_F(FloatsTest, AddsRowsInAnotherOrder) {
  const std::vector<float> from = random_floats(random_, 3 * 300), before = random_floats(random_, 3 * 300);
  const std::vector<int32_t> order = shuffled(random_, 300);
  std::vector<float> out = before;
  add_rows(kQueue, from.data(), 3, 300, order.data(), 2.0f, out.data());
  for (size_t i = 0; i < out.size(); ++i)
    ASSERT_NEAR(out[i], before[i] + 2 * from[i / 300 * 300 + static_cast<size_t>(order[i % 300])], 1e-6f);
}

TEST_F(FloatsTest, PermutesHessians) {
  constexpr size_t kSize = 300;
  std::vector<float> h = random_floats(random_, kSize * kSize), out(h.size(), NAN), diagonal(kSize, NAN);
  for (size_t i = 0; i < kSize; ++i) {
    for (size_t j = 0; j < i; ++j) h[i * kSize + j] = NAN;
  }
  const std::vector<int32_t> order = shuffled(random_, kSize);
  const std::vector<float> add = random_floats(random_, kSize);
  permute_hessian(kQueue, h.data(), kSize, order.data(), add.data(), out.data());
  for (size_t i = 0; i < kSize; ++i) {
    for (size_t j = 0; j < kSize; ++j) {
      const auto a = static_cast<size_t>(std::min(order[i], order[j])),
                 b = static_cast<size_t>(std::max(order[i], order[j]));
      ASSERT_EQ(out[i * kSize + j], h[a * kSize + b] + (i == j ? add[i] : 0.0f));
    }
  }
  diagonal_of(kQueue, h.data(), kSize, diagonal.data());
  for (size_t i = 0; i < kSize; ++i) ASSERT_EQ(diagonal[i], h[i * (kSize + 1)]);
}

TEST_F(FloatsTest, HaveNoBankConflicts) {
  shim::reset_counts();
  expect_product({130, 65, 200}, Turned::yes, true);
  expect_no_conflicts(100);
}

}  // namespace
}  // namespace gptq::cuda
