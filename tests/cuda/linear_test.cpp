// Products with packed weights against sums in double.
#include <memory>
#include <utility>

#include "base/error.h"
#include "cuda_support.h"
#include "weights_support.h"

namespace gptq::cuda {
namespace {

/// y = x W^T + b, and the sum of |x w| of each, which errors are measured by.
struct Sums {
  std::vector<double> values, sizes;
  Sums(const std::vector<float>& x, const std::vector<float>& w, const std::vector<float>& bias, int64_t rows,
       int64_t cols) {
    const auto outputs = static_cast<int64_t>(bias.size());
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t n = 0; n < outputs; ++n) {
        double sum = bias[static_cast<size_t>(n)], size = std::abs(sum);
        for (int64_t k = 0; k < cols; ++k) {
          const double term =
              double{x[static_cast<size_t>(i * cols + k)]} * double{w[static_cast<size_t>(n * cols + k)]};
          sum += term;
          size += std::abs(term);
        }
        values.push_back(sum);
        sizes.push_back(size);
      }
    }
  }
  void expect(Element element, const std::vector<float>& got, const std::string& what) const {
    ASSERT_EQ(got.size(), values.size());
    for (size_t i = 0; i < got.size(); ++i) {
      ASSERT_LE(std::abs(got[i] - values[i]),
                1.01 * rounding(element) * std::abs(values[i]) + 1e-6 * sizes[i])
          << what << ": element " << i << " is " << got[i] << ", wanted " << values[i];
    }
  }
};

/// x as the product wants it.
Activations gathered(Element element, Activations& x, const Weights& w, int64_t rows) {
  Activations out(element, rows * w.inputs());
  if (w.order != nullptr) {
    gather_columns(kQueue, element, x.data(), w.shape.cols, w.order, w.inputs(), rows, out.data());
  } else {
    std::copy_n(x.data(), rows * w.inputs(), out.data());
  }
  return out;
}

class LinearTest : public testing::TestWithParam<Element> {
 protected:
  void expect_product(const WeightShape& shape, int64_t rows, int processors = 3) {
    Random random(static_cast<uint64_t>(shape.rows * 7 + rows));
    const QTensor q = random_weights(random, shape);
    expect_product(pack(q), dequantized(q), rows, processors,
                   std::to_string(shape.bits) + " bits, " + std::to_string(shape.rows) + " x " +
                       std::to_string(shape.cols) + ", groups of " + std::to_string(shape.group_size));
  }
  void expect_dense(int64_t outputs, int64_t cols, int64_t rows) {
    Random random(static_cast<uint64_t>(outputs));
    Activations numbers(GetParam(), random_floats(random, outputs * cols));
    expect_product(pack_halves(numbers.data(), outputs, cols), numbers.floats(), rows, 3, "dense");
  }

  void expect_product(const PackedWeights& packed, const std::vector<float>& values, int64_t rows,
                      int processors, const std::string& of) {
    const std::string what = of + ", " + std::to_string(rows) + " rows";
    Random random(static_cast<uint64_t>(rows));
    const std::vector<float> bias = random_floats(random, packed.shape.rows);
    const Weights w = view_of(packed, bias);
    Activations x(GetParam(), random_floats(random, rows * packed.shape.cols));
    Activations in = gathered(GetParam(), x, w, rows);
    const Sums wanted(x.floats(), values, bias, rows, packed.shape.cols);
    if (rows <= 8) {
      Activations y(GetParam(), rows * packed.shape.rows);
      const Product product{w, y.data()};
      multiply_few(kQueue, GetParam(), {&product, 1}, in.data(), rows);
      wanted.expect(GetParam(), y.floats(), "multiply_few, " + what);
    }
    Queue queue = kQueue;
    queue.processors = processors;
    std::vector<std::byte> scratch(scratch_of_product(queue));
    std::vector<float> first;
    for (uint64_t seed = 1; seed <= 2; ++seed) {
      shim::behave({.seed = seed});
      Activations y(GetParam(), rows * packed.shape.rows);
      multiply(queue, GetParam(), w, in.data(), rows, y.data(), scratch.data());
      wanted.expect(GetParam(), y.floats(), "multiply, " + what);
      if (seed == 1) first = y.floats();
      EXPECT_EQ(y.floats(), first) << what;  // the same bits each time
      for (size_t i = 0; i < kFlagBytes; ++i) ASSERT_EQ(scratch[i], std::byte{0});
    }
  }
};

TEST_P(LinearTest, EveryWidth) {
  for (int bits : {2, 3, 4, 8}) {
    for (auto zeros : {WeightShape::Zeros::middle, WeightShape::Zeros::own}) {
      expect_product({.bits = bits, .rows = 40, .cols = 320, .group_size = 128, .zeros = zeros}, 3);
      expect_product({.bits = bits, .rows = 130, .cols = 256, .group_size = 64, .zeros = zeros}, 12);
    }
  }
  expect_dense(40, 320, 3);
  expect_dense(130, 200, 12);
}

TEST_P(LinearTest, EveryGroup) {
  for (int bits : {3, 4, 8}) {
    for (int64_t group : {16, 32, 48, 192, 10000}) {
      for (int64_t rows : {2, 11})
        expect_product(
            {.bits = bits, .rows = 20, .cols = 440, .group_size = group, .zeros = WeightShape::Zeros::own},
            rows);
    }
  }
}

TEST_P(LinearTest, EveryNumberOfRows) {
  for (int64_t rows : {0, 1, 4, 5, 8, 9, 16, 17, 31, 33, 64, 65, 150})
    expect_product({.rows = 33, .cols = 192, .group_size = 64}, rows);
  expect_dense(33, 192, 70);
}

TEST_P(LinearTest, InputsInAnyOrderAndScalesOfAnyKind) {
  for (auto order : {WeightShape::Order::sequential, WeightShape::Order::shuffled}) {
    for (int64_t cols : {256, 250, 61, 1}) {
      expect_product({.bits = 4,
                      .rows = 17,
                      .cols = cols,
                      .group_size = 64,
                      .zeros = WeightShape::Zeros::own,
                      .scales = WeightShape::Scales::f32,
                      .order = order},
                     6);
    }
  }
  expect_dense(17, 61, 6);
}

/// Tiles that one block begins and some others finish, blocks with several tiles, blocks without work.
TEST_P(LinearTest, EveryCutOfTheLine) {
  for (int processors : {1, 2, 5, 7, 16})
    expect_product({.rows = 260, .cols = 640, .group_size = 128}, 10, processors);
  expect_product({.rows = 16, .cols = 1920, .group_size = 128}, 10, 11);
  expect_product({.rows = 300, .cols = 128, .group_size = 128}, 70, 4);
}

/// Several weights that read the same rows: one launch, and the bits of each alone.
TEST_P(LinearTest, ManyOfTheSameInput) {
  constexpr int64_t kCols = 200;
  const int64_t outputs[] = {256, 16, 16, 1, 40, 0, 33, 5};
  for (int bits : {2, 3, 4, 8, 16}) {
    for (const auto& [count, rows] : {std::pair<size_t, int64_t>{2, 1}, {3, 8}, {8, 3}}) {
      Random random(static_cast<uint64_t>(bits));
      Activations x(GetParam(), random_floats(random, rows * kCols));
      std::vector<PackedWeights> packed;
      std::vector<std::vector<float>> biases;
      std::vector<std::unique_ptr<Activations>> alone, together;
      for (size_t i = 0; i < count; ++i) {
        if (bits == 16) {
          Activations numbers(GetParam(), random_floats(random, outputs[i] * kCols));
          packed.push_back(pack_halves(numbers.data(), outputs[i], kCols));
        } else {
          packed.push_back(pack(random_weights(random, {.bits = bits,
                                                        .rows = outputs[i],
                                                        .cols = kCols,
                                                        .group_size = i % 2 == 0 ? 64 : 32,
                                                        .zeros = WeightShape::Zeros::own})));
        }
        biases.push_back(random_floats(random, i == 1 ? 0 : outputs[i]));
        for (auto* of : {&alone, &together})
          of->push_back(std::make_unique<Activations>(GetParam(), rows * outputs[i]));
      }
      std::vector<Product> products;
      for (size_t i = 0; i < count; ++i) {
        const Product product{view_of(packed[i], biases[i]), alone[i]->data()};
        multiply_few(kQueue, GetParam(), {&product, 1}, x.data(), rows);
        products.push_back({product.w, together[i]->data()});
      }
      shim::reset_counts();
      multiply_few(kQueue, GetParam(), products, x.data(), rows);
      expect_launches(1);
      for (size_t i = 0; i < count; ++i)
        EXPECT_EQ(together[i]->floats(), alone[i]->floats())
            << bits << " bits, " << rows << " rows, number " << i;
    }
  }
}

TEST_P(LinearTest, RefusesWeightsThatDiffer) {
  Random random(3);
  const PackedWeights packed[] = {pack(random_weights(random, {.bits = 4})),
                                  pack(random_weights(random, {.bits = 8})),
                                  pack(random_weights(random, {.bits = 4, .cols = 128}))};
  Activations x(GetParam(), 9 * 128), y(GetParam(), 9 * 16);
  const auto refuses = [&](const std::vector<Product>& products, int64_t rows) {
    EXPECT_THROW(multiply_few(kQueue, GetParam(), products, x.data(), rows), Error);
  };
  const Product first{view_of(packed[0]), y.data()};
  for (int other : {1, 2}) refuses({first, {view_of(packed[other]), y.data()}}, 1);
  refuses({first}, 9);
  refuses(std::vector<Product>(kMostProducts + 1, first), 1);
}

/// Fragments come from shared memory without a conflict.
TEST_P(LinearTest, HasNoBankConflicts) {
  for (int bits : {2, 3, 4, 8}) {
    for (int64_t rows : {16, 64}) {
      shim::reset_counts();
      expect_product({.bits = bits, .rows = 128, .cols = 256}, rows);
      expect_no_conflicts(100, std::to_string(bits) + " bits");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cuda, LinearTest, testing::ValuesIn(kElements));

}  // namespace
}  // namespace gptq::cuda
