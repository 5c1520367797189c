// Products with inputs rounded to 8 bits: what each instruction set rounds and multiplies, by its definition; and that a
// row's result is the same bits in every set, alone and among others.
#include <cmath>

#include "cpu/kernels.h"
#include "ops_support.h"

namespace gptq::test {
namespace {

using cpu::Blocks;
using cpu::kPanel;
using cpu::kTileCols;
using cpu::kUnit;

/// Codes, scales and zero points of some panels, [inputs][columns] and [groups][columns], and the panels.
struct Case {
  int bits;
  int64_t panels, units, groups;
  std::vector<int32_t> group_ends, block_ends, block_groups;
  std::vector<int> values;  // field less its middle
  std::vector<float> scales, zeros;
  std::vector<uint32_t> words;
  StoredValues panel_scales, panel_zeros;

  int64_t columns() const { return panels * kPanel; }
  int64_t inputs() const { return units * kUnit; }
  Blocks blocks() const {
    return {block_ends.data(), block_groups.data(), static_cast<int64_t>(block_ends.size())};
  }
  cpu::QPanel first() const {
    return {words.data(), panel_scales.values(), panel_zeros.values(), group_ends.data(), groups, units,
            bits};
  }
};

Case random_case(Random& random, int bits, int64_t panels, std::vector<int32_t> group_ends, bool with_zeros) {
  for (int32_t& end : group_ends) end *= static_cast<int32_t>(cpu::run_units(bits));
  Case c{bits,
         panels,
         group_ends.back(),
         static_cast<int64_t>(group_ends.size()),
         group_ends,
         {},
         {},
         {},
         {},
         {},
         {},
         {},
         {}};
  int32_t unit = 0;
  for (size_t g = 0; g < group_ends.size(); ++g) {
    while (unit < group_ends[g]) {
      unit = std::min(group_ends[g], unit + static_cast<int32_t>(cpu::kBlockUnits));
      c.block_ends.push_back(unit);
      c.block_groups.push_back(static_cast<int32_t>(g));
    }
  }
  const int middle = 1 << (bits - 1);
  c.words.assign(static_cast<size_t>(panels * cpu::panel_words(c.units, bits)) + 4096, 0);
  for (int64_t i = 0; i < c.inputs(); ++i) {
    for (int64_t n = 0; n < c.columns(); ++n) {
      const auto field = static_cast<uint32_t>(random.below(1u << bits));
      c.values.push_back(static_cast<int>(field) - middle);
      uint32_t* const panel = c.words.data() + n / kPanel * cpu::panel_words(c.units, bits);
      put_field(panel + n % kPanel, kPanel, bits, i, field);
    }
  }
  c.scales = random_floats(random, c.groups * c.columns());
  for (size_t i = 0; with_zeros && i < c.scales.size(); ++i)
    c.zeros.push_back(static_cast<float>(static_cast<int>(random.below(2u << bits)) - middle));
  const auto store = [&](std::vector<float>& values) {
    std::vector<float> of_panels;
    const auto all = [&](const auto& visit) {
      for (int64_t p = 0; p < panels; ++p) {
        for (int64_t g = 0; g < c.groups; ++g) {
          for (int64_t n = 0; n < kPanel; ++n) visit(static_cast<size_t>(g * c.columns() + p * kPanel + n));
        }
      }
    };
    all([&](size_t at) { of_panels.push_back(values[at]); });
    StoredValues stored(random, of_panels);
    size_t i = 0;
    all([&](size_t at) { values[at] = of_panels[i++]; });
    return stored;
  };
  c.panel_scales = store(c.scales);
  if (with_zeros) c.panel_zeros = store(c.zeros);
  return c;
}

/// Rows after rounding, [rows][inputs] in their own order, and [rows][blocks].
struct Rounded {
  std::vector<int> q;
  std::vector<float> scales;
};

Rounded rounded_by_definition(const Case& c, const std::vector<float>& x, int64_t rows) {
  Rounded out;
  for (int64_t r = 0; r < rows; ++r) {
    int64_t begin = 0;
    for (int32_t end : c.block_ends) {
      float most = 0;
      for (int64_t i = begin; i < end * kUnit; ++i)
        most = std::max(most, std::abs(x[static_cast<size_t>(r * c.inputs() + i)]));
      out.scales.push_back(most / 127.0f);
      const float factor = most > 0 ? 127.0f / most : 0.0f;
      for (int64_t i = begin; i < end * kUnit; ++i) {
        out.q.push_back(
            static_cast<int>(std::nearbyint(x[static_cast<size_t>(r * c.inputs() + i)] * factor)));
      }
      begin = end * kUnit;
    }
  }
  return out;
}

std::vector<float> product_by_definition(const Case& c, const Rounded& x, int64_t rows) {
  std::vector<float> y;
  const int64_t blocks = c.blocks().count;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t n = 0; n < c.columns(); ++n) {
      float total = 0;
      int64_t i = 0;
      for (int64_t b = 0; b < blocks; ++b) {
        const int64_t at = c.block_groups[static_cast<size_t>(b)] * c.columns() + n;
        double sum = 0;
        for (; i < c.block_ends[static_cast<size_t>(b)] * kUnit; ++i) {
          const double zero = c.zeros.empty() ? 0.0 : c.zeros[static_cast<size_t>(at)];
          sum += (c.values[static_cast<size_t>(i * c.columns() + n)] - zero) *
                 x.q[static_cast<size_t>(r * c.inputs() + i)];
        }
        const float scale = c.scales[static_cast<size_t>(at)] * x.scales[static_cast<size_t>(r * blocks + b)];
        total = std::fma(static_cast<float>(sum), scale, total);
      }
      y.push_back(total);
    }
  }
  return y;
}

/// Rows as a set rounds them.
struct Packed {
  std::vector<int8_t> q;
  std::vector<float> scales;
  std::vector<int32_t> sums;
  int64_t stride;

  Packed(const cpu::RoundedKernels& kernels, const Case& c, const std::vector<float>& x, int64_t rows)
      : q(static_cast<size_t>((rows + cpu::kMaxTileRows) * (c.inputs() + 5)), 99),
        scales(static_cast<size_t>(rows * c.blocks().count)),
        sums(scales.size()),
        stride(c.inputs() + 5) {
    for (int64_t r = 0; r < rows; ++r) {
      kernels.round(x.data() + r * c.inputs(), c.blocks(), c.bits, q.data() + r * stride,
                    scales.data() + r * c.blocks().count, sums.data() + r * c.blocks().count);
    }
  }
  cpu::RoundedRows rows(int64_t count, float* y, int64_t ldy) const {
    return {count, q.data(), stride, scales.data(), sums.data(), y, ldy};
  }
};

const std::vector<std::vector<int32_t>> kGroups{{1},         {2},      {1, 2, 3}, {2, 2, 5},
                                                {8, 16, 17}, {19, 24}, {0, 3},    {8, 16, 24, 32, 40}};

class RoundedProducts : public testing::TestWithParam<const cpu::Kernels*> {
 protected:
  const cpu::RoundedKernels& k = *GetParam()->rounded;
  Random random{21};
};

TEST_P(RoundedProducts, RoundsEachBlockByItsLargest) {
  for (int bits : {2, 3, 4, 8}) {
    const uint8_t* const order = cpu::quad_order(bits);
    for (const auto& ends : kGroups) {
      const Case c = random_case(random, bits, 1, ends, false);
      auto x = random_floats(random, 3 * c.inputs(), 7.0f);
      for (int64_t i = 0; i < c.inputs(); ++i) x[static_cast<size_t>(i)] = 0.0f;  // the first row
      const Rounded want = rounded_by_definition(c, x, 3);
      const Packed got(k, c, x, 3);
      EXPECT_EQ(got.scales, want.scales);
      size_t block = 0;
      for (int64_t r = 0; r < 3; ++r) {
        int64_t i = 0;
        for (int32_t end : c.block_ends) {
          int sum = 0;
          for (; i < end * kUnit; ++i) {
            const int64_t from = r * c.inputs() + i / kUnit * kUnit + order[i % kUnit];
            ASSERT_EQ(got.q[static_cast<size_t>(r * got.stride + i)], want.q[static_cast<size_t>(from)]);
            sum += want.q[static_cast<size_t>(from)];
          }
          ASSERT_EQ(got.sums[block++], sum);
        }
        for (; i < got.stride; ++i) ASSERT_EQ(got.q[static_cast<size_t>(r * got.stride + i)], 99);
      }
    }
  }
}

TEST_P(RoundedProducts, BlocksThatAreNotFiniteGiveNaN) {
  const Case c = random_case(random, 4, 2, {1, 3}, true);
  for (float bad : {INFINITY, -INFINITY, NAN, -NAN}) {
    auto x = random_floats(random, 2 * c.inputs());
    x[static_cast<size_t>(c.inputs() + 20)] = bad;  // second row, second block
    const Packed packed(k, c, x, 2);
    EXPECT_TRUE(std::isfinite(packed.scales[2]));
    EXPECT_TRUE(std::isnan(packed.scales[3]));
    std::vector<float> y(static_cast<size_t>(2 * c.columns()));
    k.dot(c.first(), c.blocks(), c.panels, packed.rows(2, y.data(), c.columns()));
    for (int64_t n = 0; n < c.columns(); ++n) {
      EXPECT_TRUE(std::isfinite(y[static_cast<size_t>(n)]));
      EXPECT_TRUE(std::isnan(y[static_cast<size_t>(c.columns() + n)]));
    }
  }
}

TEST_P(RoundedProducts, WhatIsNearlyNothingIsNothing) {
  const Case c = random_case(random, 2, 1, {2}, false);
  const std::vector<float> x(static_cast<size_t>(c.inputs()), 1e-42f);
  const Packed packed(k, c, x, 1);
  EXPECT_EQ(packed.scales[0], 0.0f);
  EXPECT_EQ(packed.sums[0], 0);
}

TEST_P(RoundedProducts, EqualTheirDefinitionToTheBit) {
  for (int bits : {2, 3, 4, 8}) {
    for (const auto& ends : kGroups) {
      for (int64_t panels : {1, 2, 3, 5}) {
        for (int64_t rows : {1, 2, 3, 4, 7}) {
          const Case c = random_case(random, bits, panels, ends, (panels + rows) % 2 == 0);
          const auto x = random_floats(random, rows * c.inputs(), 3.0f);
          const std::vector<float> want = product_by_definition(c, rounded_by_definition(c, x, rows), rows);
          const Packed packed(k, c, x, rows);
          const int64_t ldy = c.columns() + 3;
          Guarded y((rows - 1) * ldy + c.columns());
          k.dot(c.first(), c.blocks(), panels, packed.rows(rows, y.data(), ldy));
          ASSERT_TRUE(y.intact());
          for (int64_t i = 0; i < rows * c.columns(); ++i) {
            ASSERT_EQ(y[i / c.columns() * ldy + i % c.columns()], want[static_cast<size_t>(i)])
                << bits << " bits, row " << i / c.columns() << ", column " << i % c.columns();
          }
        }
      }
    }
  }
}

/// Steps of `blocks_at_once` blocks.
TEST_P(RoundedProducts, ManyRowsAreTheSameBits) {
  for (int bits : {2, 3, 4, 8}) {
    for (const auto& ends : kGroups) {
      for (int64_t panels : {1, 2}) {
        for (int64_t rows : {1, 3, 5, 12, 13, 33}) {
          const Case c = random_case(random, bits, panels, ends, rows % 2 == 0);
          const auto x = random_floats(random, rows * c.inputs(), 3.0f);
          const std::vector<float> want = product_by_definition(c, rounded_by_definition(c, x, rows), rows);
          const Packed packed(k, c, x, rows);
          for (int64_t blocks_at_once : {1, 2, 64}) {
            for (int64_t cols : {c.columns(), c.columns() - 1, c.columns() - 9}) {
              const int64_t ldy = c.columns() + 3;
              Guarded y((rows - 1) * ldy + cols, 0.5f);
              const Blocks blocks = c.blocks();
              for (int64_t b = 0; b < blocks.count; b += blocks_at_once) {
                const int64_t end = std::min(blocks.count, b + blocks_at_once);
                const int64_t units = blocks.ends[end - 1] - cpu::block_begin(blocks, b);
                std::vector<uint8_t> fields(static_cast<size_t>(units * kUnit * kTileCols), 255);
                k.unpack(c.first(), panels, cpu::block_begin(blocks, b), blocks.ends[end - 1], fields.data());
                k.multiply({c.first(), panels, blocks, b, end, fields.data()},
                           packed.rows(rows, y.data(), ldy), cols, b > 0);
              }
              ASSERT_TRUE(y.intact());
              for (int64_t r = 0; r < rows; ++r) {
                for (int64_t n = 0; n < ldy && r * ldy + n < (rows - 1) * ldy + cols; ++n) {
                  const float expected = n < cols ? want[static_cast<size_t>(r * c.columns() + n)] : 0.5f;
                  ASSERT_EQ(y[r * ldy + n], expected) << bits << " bits, row " << r << ", column " << n;
                }
              }
            }
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sets, RoundedProducts, testing::ValuesIn(kernel_sets()),
                         [](const auto& info) { return std::string(info.param->name); });

double relative_error(const std::vector<float>& got, const Product& want) {
  double error = 0, size = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    error += (got[i] - want.values[i]) * (got[i] - want.values[i]);
    size += want.values[i] * want.values[i];
  }
  return error == 0 ? 0 : std::sqrt(error / size);
}

/// The whole Linear in `fast`: shapes, orders and zero points; near the exact product, and the same whatever the rows.
TEST(RoundedLinear, EveryShape) {
  Random random(22);
  const auto fast = create_backend("cpu", {.threads = 2, .compute = Compute::fast});
  for (int bits : {2, 3, 4, 8}) {
    for (const auto& [n, k] : std::vector<std::pair<int64_t, int64_t>>{
             {1, 1}, {17, 48}, {33, 172}, {100, 512}, {40, 640}, {300, 1030}, {64, 96}}) {
      for (int64_t group : {int64_t{16}, int64_t{32}, int64_t{128}, int64_t{-1}, int64_t{20}}) {
        const bool shuffled = (n + group) % 2 == 0;
        const QTensor q =
            random_quantized(random, {bits, n, k, group,
                                      shuffled ? QuantShape::Order::shuffled : QuantShape::Order::sequential,
                                      bits == 3 ? QuantShape::Zeros::any : QuantShape::Zeros::middle});
        const auto bias = n % 3 == 0 ? random_floats(random, n) : std::vector<float>();
        const Tensor bias_tensor = float_tensor(bias);
        const auto linear = fast->prepare(q, bias.empty() ? nullptr : &bias_tensor);
        const int64_t most = 70;
        const auto x = random_floats(random, most * k);
        const auto all = run_linear(*fast, *linear, x, most);
        EXPECT_LT(relative_error(all, product_of(x, dequantized(q), bias, most, k, n)), 0.012)
            << bits << " bits " << n << "x" << k << " groups of " << group;
        for (int64_t m : {1, 2, 4, 9, 16, 17}) {
          const std::vector<float> some(x.begin(), x.begin() + m * k);
          ASSERT_EQ(run_linear(*fast, *linear, some, m), std::vector<float>(all.begin(), all.begin() + m * n))
              << bits << " bits " << n << "x" << k << " groups of " << group << " rows " << m;
        }
      }
    }
  }
}

TEST(RoundedLinear, ExactAndCalibrationDoNotRound) {
  Random random(23);
  const QTensor q = random_quantized(random, {.bits = 4, .rows = 40, .cols = 256});
  for (Compute compute : {Compute::exact, Compute::calibration}) {
    const auto backend = create_backend("cpu", {.threads = 1, .compute = compute});
    const auto linear = backend->prepare(q, nullptr);
    for (int64_t m : {1, 40}) {
      const auto x = random_floats(random, m * q.cols);
      expect_close(run_linear(*backend, *linear, x, m), product_of(x, dequantized(q), {}, m, q.cols, q.rows),
                   0x1p-14, "rows " + std::to_string(m));
    }
  }
}

/// Both sides are rounded to bf16 where that is faster, and not to less.
TEST(RoundedLinear, CoarseCalibrationRoundsWhereThatPays) {
  Random random(29);
  const QTensor q = random_quantized(random, {.bits = 4, .rows = 40, .cols = 256});
  const auto backend = create_backend("cpu", {.threads = 1, .compute = Compute::coarse_calibration});
  const auto linear = backend->prepare(q, nullptr);
  const auto x = random_floats(random, 40 * q.cols);
  const double error = relative_error(run_linear(*backend, *linear, x, 40),
                                      product_of(x, dequantized(q), {}, 40, q.cols, q.rows));
  EXPECT_LT(error, 0x1p-8);
  const bool rounds = cpu::best_kernels().fast.rounded.left_values == 2;
  if (rounds) {
    EXPECT_GT(error, 0x1p-13);
  } else {
    EXPECT_LT(error, 0x1p-20);
  }
}

}  // namespace
}  // namespace gptq::test
