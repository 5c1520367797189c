// Products of rows in parts, each with weights of its own, against those of one part after the other.
#include <algorithm>
#include <iterator>
#include <memory>

#include "base/error.h"
#include "cuda_support.h"
#include "weights_support.h"

namespace gptq::cuda {
namespace {

/// begin [parts + 1] of so many rows each.
std::vector<int32_t> begin_of(const std::vector<int64_t>& rows) {
  std::vector<int32_t> begin{0};
  for (const int64_t n : rows) begin.push_back(begin.back() + static_cast<int32_t>(n));
  return begin;
}

class PartsTest : public testing::TestWithParam<Element> {
 protected:
  /// One launch to lay out the line, and one for the products, which give the same bits each time, in whatever order blocks
  /// take their turns. `processors` are more than there may be stages for.
  void multiply_twice(const LinearParts& line, const std::vector<int32_t>& begin, int64_t most,
                      Activations& x, int processors, Activations& y) {
    Queue queue = kQueue;
    queue.processors = processors;
    std::vector<std::byte> scratch(scratch_of_product(queue));
    const RowsOfParts rows{begin.back(), most};
    std::vector<float> first;
    for (uint64_t seed = 1; seed <= 2; ++seed) {
      shim::behave({.seed = seed});
      std::fill_n(y.data(), y.floats().size(), uint16_t{0x7FFF});  // not a number, of either element
      std::vector<PartRows> part_rows(line.parts.size() + 1, PartRows{-7, -7, -7});
      shim::reset_counts();
      plan_parts(queue, line, line.parts.data(), rows, begin.data(), part_rows.data());
      multiply_parts(queue, GetParam(), line, rows, line.parts.data(), part_rows.data(), x.data(),
                     scratch.data());
      expect_launches(begin.back() > 0 ? 2u : 0u);
      if (seed == 1) first = y.floats();
      EXPECT_EQ(y.floats(), first);
      for (size_t i = 0; i < kFlagBytes; ++i) ASSERT_EQ(scratch[i], std::byte{0});
    }
  }

  /// Experts of that shape, of which number i has rows[i] rows.
  void expect_parts(const WeightShape& shape, const std::vector<int64_t>& rows, int processors = 3) {
    const Element element = GetParam();
    Random random(17);
    const std::vector<int32_t> begin = begin_of(rows);
    const int64_t count = begin.back();
    std::vector<PackedWeights> packed;
    std::vector<std::vector<float>> biases;
    for (size_t i = 0; i < rows.size(); ++i) {
      packed.push_back(pack(random_weights(random, shape)));
      biases.push_back(random_floats(random, shape.rows));
    }
    Activations wanted(element, count * shape.rows), y(element, count * shape.rows);
    std::vector<LinearPart> parts;
    for (size_t i = 0; i < rows.size(); ++i)
      parts.push_back({.w = view_of(packed[i], biases[i]), .y = y.data(), .expert = static_cast<int>(i)});
    const int64_t inputs = parts[0].w.inputs();
    Activations x(element, random_floats(random, count * inputs));
    std::vector<std::byte> scratch(scratch_of_product(kQueue));
    for (size_t i = 0; i < rows.size(); ++i) {
      multiply(kQueue, element, parts[i].w, x.data() + begin[i] * inputs, rows[i],
               wanted.data() + begin[i] * shape.rows, scratch.data());
    }
    for (const int64_t most : {*std::max_element(rows.begin(), rows.end()), count}) {
      SCOPED_TRACE(std::to_string(shape.bits) + " bits, " + std::to_string(count) + " rows");
      multiply_twice(join_parts(parts), begin, most, x, processors, y);
      // sums in another order, each rounded once
      expect_near(y.floats(), wanted.floats(), 2 * rounding(element), 0.02f, "parts");
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
           {1}, {0, 0}, {0, 5, 0}, {70, 1, 33}, {40, 40, 40}, {0, 0, 17}, std::vector<int64_t>(20, 1)})
    expect_parts(shape, rows);
}

/// More experts than the kernel that lays out the line has threads, and than there are rows.
TEST_P(PartsTest, ManyExperts) {
  for (const size_t experts : {160u, 300u}) {
    std::vector<int64_t> rows(experts);
    for (const size_t i : {size_t{3}, size_t{4}, size_t{129}, experts - 9})
      rows[i] = 1 + static_cast<int64_t>(i % 3);
    expect_parts({.rows = 16, .cols = 64}, rows, 7);
  }
}

/// What is said of the line before it is known, and what the line is then.
TEST_P(PartsTest, LinesOfEveryRouting) {
  Random random(8);
  for (int times = 0; times < 200; ++times) {
    const auto experts = static_cast<size_t>(2 + random.below(159));
    const auto batch = static_cast<int64_t>(times % 20 == 0 ? 300 : 1 + random.below(17)),
               chosen = std::min(static_cast<int64_t>(1 + random.below(8)), static_cast<int64_t>(experts));
    std::vector<int64_t> rows(experts);
    const bool all_to_the_first = times % 7 == 0;
    for (int64_t row = 0; row < batch; ++row) {
      for (int64_t i = 0; i < chosen; ++i)
        ++rows[all_to_the_first ? static_cast<size_t>(i)
                                : static_cast<size_t>(random.below(experts / static_cast<size_t>(chosen))) *
                                          static_cast<size_t>(chosen) +
                                      static_cast<size_t>(i)];
    }
    const std::vector<int32_t> begin = begin_of(rows);
    std::vector<LinearPart> parts;
    for (size_t e = 0; e < experts; ++e) {
      for (const int64_t outputs : {130, 64}) {
        LinearPart& part = parts.emplace_back();
        part.w.shape.bits = 4;
        part.w.shape.rows = outputs;
        part.w.shape.cols = part.w.shape.packed_inputs = 512;
        part.expert = static_cast<int>(e);
      }
    }
    const LinearParts line = join_parts(parts);
    EXPECT_EQ(line.experts, static_cast<int64_t>(experts));
    std::vector<PartRows> got(parts.size() + 1);
    plan_parts(kQueue, line, line.parts.data(), {begin.back(), batch}, begin.data(), got.data());
    int32_t stage = 0;
    const bool few = batch <= 16 || batch * chosen <= 16 * static_cast<int64_t>(experts);
    for (size_t i = 0; i < parts.size(); ++i) {
      EXPECT_EQ(got[i].first_row, begin[i / 2]);
      EXPECT_EQ(got[i].rows, rows[i / 2]);
      EXPECT_EQ(got[i].first_stage, stage);
      stage +=
          static_cast<int32_t>((rows[i / 2] + (few ? 15 : 31)) / (few ? 16 : 32)) * (i % 2 == 0 ? 2 : 1) * 4;
    }
    EXPECT_EQ(got.back().first_stage, stage);
  }
}

TEST_P(PartsTest, RefusesMoreThanThereAreNumbersFor) {
  LinearPart part;
  part.w.shape.bits = 4;
  part.w.shape.rows = 1280;
  part.w.shape.cols = part.w.shape.packed_inputs = 4096;
  const LinearParts line = join_parts({&part, 1});
  const int32_t begin[] = {0, 1};
  PartRows rows[2];
  EXPECT_THROW(plan_parts(kQueue, line, &part, {int64_t{1} << 31, int64_t{1} << 31}, begin, rows), Error);
  EXPECT_THROW(plan_parts(kQueue, line, &part, {int64_t{1} << 30, int64_t{1} << 30}, begin, rows), Error);
  EXPECT_THROW(static_cast<void>(plan_parts_of_all(line, int64_t{1} << 30)), Error);
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
  const std::vector<LinearPart> parts{{.w = view_of(packed[0]), .y = y.data(), .expert = 0},
                                      {.w = view_of(packed[1]), .y = y.data(), .expert = 1}};
  std::vector<std::byte> scratch(scratch_of_product(kQueue));
  multiply(kQueue, element, parts[0].w, x.data(), 4, wanted.data(), scratch.data());
  multiply(kQueue, element, parts[1].w, x.data() + 4 * 64, 5, wanted.data() + 4 * 20, scratch.data());
  multiply_twice(join_parts(parts), {0, 4, 9}, 5, x, 3, y);
  expect_near(y.floats(), wanted.floats(), 2 * rounding(element), 0.02f, "dense");
  for (auto order : {WeightShape::Order::sequential, WeightShape::Order::shuffled})
    expect_parts({.rows = 17, .cols = 256, .scales = WeightShape::Scales::f32, .order = order}, {6, 7});
}

/// Weights of several numbers of outputs that read the same rows: those of one expert, or all there are, as the host knows.
TEST_P(PartsTest, ManyOfTheSameRows) {
  const Element element = GetParam();
  const int64_t outputs[] = {260, 16, 0, 33};
  for (const int64_t rows : {9, 21}) {
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
        for (auto* of : {&got, &wanted})
          of->push_back(std::make_unique<Activations>(element, rows * outputs[i]));
        parts.push_back({.w = view_of(packed[i]), .y = got[i]->data()});
        multiply(kQueue, element, parts[i].w, x.data(), rows, wanted[i]->data(), scratch.data());
      }
      const LinearParts line = join_parts(parts);
      EXPECT_EQ(line.parts.size(), 3u);
      const std::vector<PartRows> part_rows = plan_parts_of_all(line, rows);
      shim::reset_counts();
      multiply_parts(kQueue, element, line, {rows, rows}, line.parts.data(), part_rows.data(), x.data(),
                     scratch.data());
      expect_launches(1);
      std::vector<std::vector<float>> by_host;
      for (const auto& y : got) by_host.push_back(y->floats());
      multiply_twice(line, {0, static_cast<int32_t>(rows)}, rows, x, kQueue.processors, *got[0]);
      for (size_t i = 0; i < std::size(outputs); ++i) {
        expect_near(by_host[i], wanted[i]->floats(), 2 * rounding(element), 0.02f, std::to_string(bits));
        EXPECT_EQ(got[i]->floats(), by_host[i]);
      }
    }
  }
}

/// Rows in the order that their expert has, also where some experts have no rows or no part.
TEST_P(PartsTest, GathersColumns) {
  Random random(3);
  const std::vector<int32_t> begin{0, 0, 3, 4, 4, 7, 7, 7};
  const int64_t cols = 10, columns = 64, rows = begin.back();
  Activations x(GetParam(), random_floats(random, rows * cols));
  std::vector<std::vector<int32_t>> orders;
  std::vector<LinearPart> parts;
  for (int e = 0; e < 7; ++e) {
    std::vector<int32_t>& order = orders.emplace_back(static_cast<size_t>(columns), -1);
    for (size_t i = 0; i < order.size(); i += 3) order[i] = static_cast<int32_t>(random.below(10));
  }
  for (int e = 0; e < 7; ++e) {
    if (e == 2) continue;
    for (int times = 0; times < 2; ++times) {
      LinearPart& part = parts.emplace_back();
      part.w.shape.rows = 16;
      part.w.shape.packed_inputs = columns;
      part.w.order = orders[static_cast<size_t>(e)].data();
      part.expert = e;
    }
  }
  const LinearParts line = join_parts(parts);
  std::vector<PartRows> part_rows(parts.size() + 1);
  plan_parts(kQueue, line, line.parts.data(), {rows, 4}, begin.data(), part_rows.data());
  Activations out(GetParam(), std::vector<float>(static_cast<size_t>(rows * columns), 7.0f));
  gather_columns_of_parts(kQueue, GetParam(), x.data(), cols, line.parts.data(), part_rows.data(),
                          static_cast<int64_t>(parts.size()), columns, rows, out.data());
  const std::vector<float> from = x.floats(), got = out.floats();
  for (size_t e = 0; e < 7; ++e) {
    for (int32_t row = begin[e]; row < begin[e + 1]; ++row) {
      for (size_t c = 0; c < static_cast<size_t>(columns); ++c) {
        const int32_t k = orders[e][c];
        const float wanted = e == 2 ? 7.0f : k < 0 ? 0.0f : from[static_cast<size_t>(row * cols + k)];
        EXPECT_EQ(got[static_cast<size_t>(row * columns) + c], wanted) << row << " " << c;
      }
    }
  }
}

TEST_P(PartsTest, RefusesWeightsThatDiffer) {
  Random random(3);
  const PackedWeights packed[] = {pack(random_weights(random, {.bits = 4})),
                                  pack(random_weights(random, {.bits = 8})),
                                  pack(random_weights(random, {.bits = 4, .cols = 128}))};
  for (int other : {1, 2}) {
    const std::vector<LinearPart> parts{{.w = view_of(packed[0])},
                                        {.w = view_of(packed[other]), .expert = 1}};
    EXPECT_THROW(static_cast<void>(join_parts(parts)), Error);
  }
}

TEST_P(PartsTest, HasNoBankConflicts) {
  expect_parts({.rows = 128, .cols = 256}, {16, 9});
  expect_no_conflicts(100);
}

INSTANTIATE_TEST_SUITE_P(Cuda, PartsTest, testing::ValuesIn(kElements));

}  // namespace
}  // namespace gptq::cuda
