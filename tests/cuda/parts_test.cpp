// Products of rows in parts, each with weights of its own, against those of one part after the other.
#include <iterator>
#include <memory>
#include <numeric>

#include "base/error.h"
#include "cuda_support.h"
#include "weights_support.h"

namespace gptq::cuda {
namespace {

class PartsTest : public testing::TestWithParam<Element> {
 protected:
  /// Experts of that shape, of which number i has rows[i] rows.
  void expect_parts(const WeightShape& shape, const std::vector<int64_t>& rows, int processors = 3) {
    const Element element = GetParam();
    Random random(17);
    std::vector<PackedWeights> packed;
    std::vector<std::vector<float>> biases;
    for (size_t i = 0; i < rows.size(); ++i) {
      packed.push_back(pack(random_weights(random, shape)));
      biases.push_back(random_floats(random, shape.rows));
    }
    std::vector<LinearPart> parts;
    int64_t count = 0;
    for (size_t i = 0; i < rows.size(); ++i) {
      parts.push_back({.w = view_of(packed[i], biases[i]), .first_row = count, .rows = rows[i]});
      count += rows[i];
    }
    const int64_t inputs = parts[0].w.inputs();
    Activations x(element, random_floats(random, count * inputs)), wanted(element, count * shape.rows);
    Queue queue = kQueue;
    queue.processors = processors;
    std::vector<std::byte> scratch(scratch_of_product(queue));
    for (const LinearPart& part : parts) {
      multiply(queue, element, part.w, x.data() + part.first_row * inputs, part.rows,
               wanted.data() + part.first_row * shape.rows, scratch.data());
    }
    LinearPartsPlan plan = plan_linear_parts(parts);
    std::vector<float> first;
    for (uint64_t seed = 1; seed <= 2; ++seed) {
      shim::behave({.seed = seed});
      Activations y(element, count * shape.rows);
      for (LinearPart& part : plan.parts) part.y = y.data() + part.first_row * shape.rows;
      shim::reset_counts();
      multiply_parts(queue, element, plan, plan.parts.data(), x.data(), scratch.data());
      expect_launches(count > 0 ? 1u : 0u);
      // sums in another order, each rounded once
      expect_near(y.floats(), wanted.floats(), 2 * rounding(element), 0.02f,
                  std::to_string(shape.bits) + " bits, " + std::to_string(count) + " rows");
      if (seed == 1) first = y.floats();
      EXPECT_EQ(y.floats(), first);  // the same bits each time
      for (size_t i = 0; i < kFlagBytes; ++i) ASSERT_EQ(scratch[i], std::byte{0});
    }
  }
};

TEST_P(PartsTest, EveryWidth) {
  for (int bits : {2, 3, 4, 8}) {
    expect_parts({.bits = bits, .rows = 40, .cols = 320, .group_size = 64, .zeros = WeightShape::Zeros::own},
                 {3, 0, 1, 18, 0, 0, 2});
  }
}

TEST_P(PartsTest, EverySpreadOfRows) {
  const WeightShape shape{.rows = 150, .cols = 128, .group_size = 32};
  for (const auto& rows : std::vector<std::vector<int64_t>>{
           {1}, {0, 0}, {0, 5, 0}, {70, 1, 33}, {40, 40, 40}, std::vector<int64_t>(20, 1)})
    expect_parts(shape, rows);
}

TEST_P(PartsTest, EveryCutOfTheLine) {
  for (int processors : {1, 2, 5, 16})
    expect_parts({.rows = 260, .cols = 640, .group_size = 128}, {10, 2, 0, 30}, processors);
}

TEST_P(PartsTest, DenseAndOfOtherScales) {
  const Element element = GetParam();
  Random random(5);
  Activations a(element, random_floats(random, 20 * 64)), b(element, random_floats(random, 20 * 64)),
      x(element, random_floats(random, 9 * 64)), wanted(element, 9 * 20), y(element, 9 * 20);
  const PackedWeights packed[] = {pack_halves(a.data(), 20, 64), pack_halves(b.data(), 20, 64)};
  const std::vector<LinearPart> parts{
      {.w = view_of(packed[0]), .first_row = 0, .rows = 4, .y = y.data()},
      {.w = view_of(packed[1]), .first_row = 4, .rows = 5, .y = y.data() + 4 * 20}};
  std::vector<std::byte> scratch(scratch_of_product(kQueue));
  for (const LinearPart& part : parts)
    multiply(kQueue, element, part.w, x.data() + part.first_row * 64, part.rows,
             wanted.data() + part.first_row * 20, scratch.data());
  const LinearPartsPlan plan = plan_linear_parts(parts);
  multiply_parts(kQueue, element, plan, plan.parts.data(), x.data(), scratch.data());
  expect_near(y.floats(), wanted.floats(), 2 * rounding(element), 0.02f, "dense");
  for (auto order : {WeightShape::Order::sequential, WeightShape::Order::shuffled})
    expect_parts({.rows = 17, .cols = 256, .scales = WeightShape::Scales::f32, .order = order}, {6, 7});
}

/// Weights of several numbers of outputs that read the same rows, or some of them.
TEST_P(PartsTest, ManyOfTheSameRows) {
  const Element element = GetParam();
  const int64_t outputs[] = {260, 16, 0, 33}, rows = 21;
  for (int bits : {2, 3, 4, 8}) {
    Random random(static_cast<uint64_t>(bits));
    Activations x(element, random_floats(random, rows * 320));
    std::vector<PackedWeights> packed;
    std::vector<std::unique_ptr<Activations>> got, wanted;
    std::vector<LinearPart> parts;
    std::vector<std::byte> scratch(scratch_of_product(kQueue));
    for (const int64_t n : outputs)
      packed.push_back(
          pack(random_weights(random, {.bits = bits, .rows = n, .cols = 320, .group_size = 64})));
    for (size_t i = 0; i < std::size(outputs); ++i) {
      const int64_t first = i == 3 ? 5 : 0, count = rows - first;
      for (auto* of : {&got, &wanted})
        of->push_back(std::make_unique<Activations>(element, count * outputs[i]));
      parts.push_back({.w = view_of(packed[i]), .first_row = first, .rows = count, .y = got[i]->data()});
      multiply(kQueue, element, parts[i].w, x.data() + first * 320, count, wanted[i]->data(), scratch.data());
    }
    const LinearPartsPlan plan = plan_linear_parts(parts);
    shim::reset_counts();
    multiply_parts(kQueue, element, plan, plan.parts.data(), x.data(), scratch.data());
    expect_launches(1);
    for (size_t i = 0; i < std::size(outputs); ++i)
      expect_near(got[i]->floats(), wanted[i]->floats(), 2 * rounding(element), 0.02f, std::to_string(bits));
  }
}

TEST_P(PartsTest, RefusesWeightsThatDiffer) {
  Random random(3);
  const PackedWeights packed[] = {pack(random_weights(random, {.bits = 4})),
                                  pack(random_weights(random, {.bits = 8})),
                                  pack(random_weights(random, {.bits = 4, .cols = 128}))};
  for (int other : {1, 2}) {
    const std::vector<LinearPart> parts{{.w = view_of(packed[0]), .rows = 1},
                                        {.w = view_of(packed[other]), .first_row = 1, .rows = 1}};
    EXPECT_THROW(plan_linear_parts(parts), Error);
  }
}

TEST_P(PartsTest, HasNoBankConflicts) {
  expect_parts({.rows = 128, .cols = 256}, {16, 9});
  expect_no_conflicts(100);
}

INSTANTIATE_TEST_SUITE_P(Cuda, PartsTest, testing::ValuesIn(kElements));

}  // namespace
}  // namespace gptq::cuda
