// Tiles, packing and products of every instruction set against double arithmetic, at sizes around vector widths.
#include <cmath>

#include "base/half.h"
#include "ops_support.h"

namespace gptq::test {
namespace {

using cpu::kPanel;
using cpu::kTileCols;
using cpu::kUnit;

class MatrixKernels : public testing::TestWithParam<const cpu::Kernels*> {
 protected:
  const cpu::Kernels& k = *GetParam();
  Random random{11};
};

TEST_P(MatrixKernels, TileTouchesItsRowsAndColumnsOnly) {
  ASSERT_LE(k.tile_rows, cpu::kMaxTileRows);
  for (int64_t depth : {0, 1, 2, 5, 33}) {
    const auto a = random_floats(random, depth * k.tile_rows);
    const int64_t ldb = 99, ldc = 73;
    const auto b = random_floats(random, (depth + 1) * ldb);
    for (int64_t rows = 1; rows <= k.tile_rows; ++rows) {
      for (int64_t cols : {1, 7, 8, 9, 15, 16, 17, 24, 25, 31, 32, 33, 49, 64, 70}) {
        for (float sign : {1.0f, -1.0f}) {
          for (bool accumulate : {false, true}) {
            const auto before = random_floats(random, k.tile_rows * ldc);
            auto c = before;
            k.tile(depth, a.data(), b.data(), ldb, c.data(), ldc, rows, cols, sign, accumulate);
            for (int64_t r = 0; r < k.tile_rows; ++r) {
              for (int64_t j = 0; j < ldc; ++j) {
                const auto at = static_cast<size_t>(r * ldc + j);
                if (r >= rows || j >= cols) {
                  ASSERT_EQ(c[at], before[at]) << rows << "x" << cols;
                  continue;
                }
                double want = 0.0;
                for (int64_t i = 0; i < depth; ++i) {
                  want += double{a[static_cast<size_t>(i * k.tile_rows + r)]} *
                          b[static_cast<size_t>(i * ldb + j)];
                }
                want = want * sign + (accumulate ? before[at] : 0.0f);
                ASSERT_NEAR(c[at], want, 4e-6) << rows << "x" << cols << " k " << depth;
              }
            }
          }
        }
      }
    }
  }
}

/// Left rows [rows][k] and right [k][cols] by way of packed tiles and panels of at most `step` inputs.
void multiply(const cpu::Gemm& gemm, const std::vector<float>& left, const std::vector<float>& right,
              int64_t rows, int64_t k, int64_t cols, int64_t step, bool by_columns, std::vector<float>& c,
              int64_t ldc) {
  for (int64_t at = 0; at < k; at += step) {
    const int64_t depth = std::min(step, k - at), tile = gemm.left_floats(depth);
    const int64_t tiles = (rows + gemm.rows - 1) / gemm.rows;
    std::vector<float> packed(static_cast<size_t>(tiles * tile), NAN);
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t first = t * gemm.rows, height = std::min(gemm.rows, rows - first);
      if (!by_columns) {
        gemm.left(left.data() + first * k + at, k, height, depth, packed.data() + t * tile);
        continue;
      }
      std::vector<float> columns(static_cast<size_t>(depth * height));
      for (int64_t i = 0; i < depth; ++i) {
        for (int64_t r = 0; r < height; ++r)
          columns[static_cast<size_t>(i * height + r)] = left[static_cast<size_t>((first + r) * k + at + i)];
      }
      gemm.left_columns(columns.data(), height, height, depth, packed.data() + t * tile);
    }
    std::vector<float> panel(static_cast<size_t>(depth * kTileCols), 7.0f);
    for (int64_t i = 0; i < depth; ++i) {
      for (int64_t j = 0; j < cols; ++j)
        panel[static_cast<size_t>(i * kTileCols + j)] = right[static_cast<size_t>((at + i) * cols + j)];
    }
    std::vector<float> packed_panel(static_cast<size_t>(gemm.right_floats(depth)), NAN);
    if (gemm.right != nullptr) gemm.right(panel.data(), depth, packed_panel.data());
    gemm.multiply(depth, packed.data(), tile, gemm.right != nullptr ? packed_panel.data() : panel.data(),
                  c.data(), ldc, rows, cols, at > 0);
  }
}

TEST_P(MatrixKernels, GemmMultipliesItsRowsAndColumnsOnly) {
  struct Kind {
    const cpu::Gemm& gemm;
    double tolerance;  // of the sum of magnitudes
    bool right_is_bf16 = false;
  };
  for (const Kind& kind : {Kind{k.gemm, 1e-6}, Kind{k.fast.usual, 0x1p-15}, Kind{k.fast.bf16, 0x1p-15, true},
                           Kind{k.fast.rounded, 0x1p-7}}) {
    ASSERT_LE(kind.gemm.rows, cpu::kMaxTileRows);
    for (int64_t depth : {1, 2, 31, 32, 33, 63, 100, 300}) {
      for (int64_t rows : {int64_t{1}, kind.gemm.rows, kind.gemm.rows + 1, int64_t{50}}) {
        for (int64_t cols : {1, 15, 16, 17, 32}) {
          for (bool by_columns : {false, true}) {
            const auto left = random_floats(random, rows * depth);
            auto right = random_floats(random, depth * cols);
            if (kind.right_is_bf16) {
              for (float& value : right) value = bf16_to_float(float_to_bf16(value));
            }
            const int64_t ldc = 35;
            const auto before = random_floats(random, rows * ldc);
            auto c = before;
            multiply(kind.gemm, left, right, rows, depth, cols, 128, by_columns, c, ldc);
            for (int64_t r = 0; r < rows; ++r) {
              for (int64_t j = 0; j < ldc; ++j) {
                const auto at = static_cast<size_t>(r * ldc + j);
                if (j >= cols) {
                  ASSERT_EQ(c[at], before[at]) << rows << "x" << cols;
                  continue;
                }
                double want = 0.0, magnitude = 0.0;
                for (int64_t i = 0; i < depth; ++i) {
                  const double term = double{left[static_cast<size_t>(r * depth + i)]} *
                                      right[static_cast<size_t>(i * cols + j)];
                  want += term;
                  magnitude += std::abs(term);
                }
                ASSERT_NEAR(c[at], want, kind.tolerance * magnitude) << rows << "x" << cols << " k " << depth;
              }
            }
          }
        }
      }
    }
  }
}

/// By elements of a cache, of which some are `values`: the exact product, and of each row the same bits whatever the others.
template <class Element>
void expect_page_product(Random& random, int64_t tile_rows, void (*by)(const cpu::PageProduct&),
                         const std::vector<Element>& elements, const std::vector<float>& values, int64_t ldb,
                         int64_t depth) {
  const int64_t most = 2 * tile_rows + 1, lda = depth + 3, ldc = 73;
  const auto a = random_floats(random, most * lda);
  for (int64_t rows = 1; rows <= most; ++rows) {
    for (int64_t cols : {1, 8, 15, 17, 32, 50, 64}) {
      const auto before = random_floats(random, most * ldc);
      for (bool accumulate : {false, true}) {
        auto got = before, alone = before;
        const auto multiply = [&](int64_t first, int64_t count, float* c) {
          by({.k = depth,
              .rows = count,
              .cols = cols,
              .a = a.data() + first * lda,
              .lda = lda,
              .b = elements.data(),
              .ldb = ldb,
              .c = c + first * ldc,
              .ldc = ldc,
              .accumulate = accumulate,
              .ahead = 2 * ldb});
        };
        multiply(0, rows, got.data());
        for (int64_t r = 0; r < rows; ++r) multiply(r, 1, alone.data());
        ASSERT_EQ(got, alone) << rows << "x" << cols << " k " << depth;
        for (int64_t i = 0; i < most * ldc; ++i) {
          const int64_t r = i / ldc, c = i % ldc;
          const float old = before[static_cast<size_t>(i)], value = got[static_cast<size_t>(i)];
          if (r >= rows || c >= cols) {
            ASSERT_EQ(value, old);
            continue;
          }
          double want = accumulate ? double{old} : 0.0, size = std::abs(want);
          for (int64_t d = 0; d < depth; ++d) {
            const double term =
                double{a[static_cast<size_t>(r * lda + d)]} * values[static_cast<size_t>(d * ldb + c)];
            want += term;
            size += std::abs(term);
          }
          ASSERT_NEAR(value, want, 2e-6 * size) << rows << "x" << cols << " k " << depth;
        }
      }
    }
  }
}

TEST_P(MatrixKernels, ProductsWithPagesOfACache) {
  constexpr int64_t kStride = 99;
  for (int64_t depth : {0, 1, 5, 33}) {
    const auto floats = random_floats(random, (depth + 1) * kStride);
    expect_page_product(random, k.tile_rows, k.by_f32, floats, floats, kStride, depth);
    std::vector<uint16_t> halves;
    std::vector<float> values;
    for (float x : floats) {
      halves.push_back(float_to_fp16(x));
      values.push_back(fp16_to_float(halves.back()));
    }
    expect_page_product(random, k.tile_rows, k.by_f16, halves, values, kStride, depth);
    std::vector<int8_t> whole;
    for (float x : random_floats(random, (depth + 1) * kStride, 127.5f))
      whole.push_back(static_cast<int8_t>(std::lrint(x)));
    whole[0] = 127;
    whole[1] = -128;
    values.assign(whole.begin(), whole.end());
    expect_page_product(random, k.tile_rows, k.by_i8, whole, values, kStride, depth);
  }
}

TEST_P(MatrixKernels, RowsAreRoundedToTheNearestOfTheirScale) {
  for (int64_t n : {1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 127, 130}) {
    for (float magnitude : {1e-29f, 1.0f, 77.7f, 3e38f}) {
      const auto in = random_floats(random, n, magnitude);
      std::vector<int8_t> out(in.size() + 1, 99), plain(in.size());
      const float scale = k.round_row(in.data(), n, out.data());
      float most = 0.0f;
      for (float x : in) most = std::max(most, std::fabs(x));
      ASSERT_EQ(scale, most / 127.0f) << n;
      ASSERT_EQ(out.back(), 99) << n;
      for (size_t i = 0; i < in.size(); ++i) {
        ASSERT_GE(out[i], -127);
        // half a step, and what the quotient itself is rounded by
        ASSERT_LE(std::fabs(double{in[i]} - double{scale} * out[i]), double{scale} * (0.5 + 127 * 4e-7)) << n;
      }
      ASSERT_EQ(cpu::kernels_ref().round_row(in.data(), n, plain.data()), scale);
      for (size_t i = 0; i < in.size(); ++i) ASSERT_EQ(out[i], plain[i]) << n;
    }
  }
}

TEST_P(MatrixKernels, RowsOfNothingAndOfWhatIsNotFinite) {
  for (int64_t n : {0, 1, 7, 16, 37}) {
    for (float nothing : {0.0f, -0.0f, 1e-31f, -1e-45f}) {
      const std::vector<float> in(static_cast<size_t>(n), nothing);
      std::vector<int8_t> out(in.size(), 99);
      EXPECT_EQ(k.round_row(in.data(), n, out.data()), 0.0f);
      for (int8_t q : out) EXPECT_EQ(q, 0);
    }
    for (float wild : {NAN, INFINITY, -INFINITY}) {
      for (int64_t at = 0; at < n; at += 6) {
        auto in = random_floats(random, n);
        in[static_cast<size_t>(at)] = wild;
        std::vector<int8_t> out(in.size(), 99);
        EXPECT_TRUE(std::isnan(k.round_row(in.data(), n, out.data()))) << n << " " << wild;
        for (int8_t q : out) EXPECT_EQ(q, 0);
      }
    }
  }
}

TEST_P(MatrixKernels, HalvesAreTheNearestAndNeverInfinite) {
  auto in = random_floats(random, 133, 300.0f);
  in.insert(in.end(), {65504.0f, 65519.0f, 70000.0f, -1e30f, INFINITY, -INFINITY, 1e-7f, -0.0f});
  for (int64_t n :
       {int64_t{0}, int64_t{1}, int64_t{7}, int64_t{16}, int64_t{31}, static_cast<int64_t>(in.size())}) {
    const auto first = static_cast<int64_t>(in.size()) - n;
    std::vector<uint16_t> out(in.size() + 1, 0x1234);
    k.halve(in.data() + first, n, out.data());
    for (int64_t i = 0; i < n; ++i) {
      const float x = std::max(-65504.0f, std::min(65504.0f, in[static_cast<size_t>(first + i)]));
      ASSERT_EQ(out[static_cast<size_t>(i)], float_to_fp16(x)) << x;
    }
    ASSERT_EQ(out[static_cast<size_t>(n)], 0x1234);
  }
  uint16_t none = 0;
  k.halve(&in.emplace_back(NAN), 1, &none);
  EXPECT_TRUE(std::isnan(fp16_to_float(none)));
}

TEST_P(MatrixKernels, WeightsOfBf16GiveTheSameBitsAsOthers) {
  constexpr int64_t kRows = 40, kDepth = 300, kCols = 32;
  const auto left = random_floats(random, kRows * kDepth);
  auto right = random_floats(random, kDepth * kCols);
  for (float& value : right) value = bf16_to_float(float_to_bf16(value));
  std::vector<float> usual(static_cast<size_t>(kRows * kCols)), bf16(usual.size());
  multiply(k.fast.usual, left, right, kRows, kDepth, kCols, 128, false, usual, kCols);
  multiply(k.fast.bf16, left, right, kRows, kDepth, kCols, 128, false, bf16, kCols);
  EXPECT_EQ(usual, bf16);
}

TEST_P(MatrixKernels, PackTransposesAndPads) {
  for (DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    const auto type = dtype == DType::f32   ? cpu::Dense::f32
                      : dtype == DType::f16 ? cpu::Dense::f16
                                            : cpu::Dense::bf16;
    for (int64_t width : {k.tile_rows, kTileCols, int64_t{1}}) {
      for (int64_t rows : {int64_t{0}, int64_t{1}, int64_t{5}, width - 1, width}) {
        for (int64_t depth : {0, 1, 7, 8, 15, 16, 17, 35}) {
          if (rows > width) continue;
          const int64_t stride = depth + 3;
          const DenseWeights in = random_dense(random, dtype, std::max<int64_t>(rows, 1), stride, Place::odd);
          Guarded out(depth * width, 9.0f);
          k.pack(type, in.tensor.data, stride, rows, depth, out.data(), width);
          ASSERT_TRUE(out.intact());
          for (int64_t i = 0; i < depth * width; ++i) {
            const int64_t r = i % width;
            ASSERT_EQ(out[i], r < rows ? in.values[static_cast<size_t>(r * stride + i / width)] : 0.0f)
                << rows << " of " << width << ", depth " << depth;
          }
        }
      }
    }
  }
}

TEST_P(MatrixKernels, DotAndWiden) {
  for (DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    const auto type = dtype == DType::f32   ? cpu::Dense::f32
                      : dtype == DType::f16 ? cpu::Dense::f16
                                            : cpu::Dense::bf16;
    for (int64_t rows : {1, 3, 4, 5, 9}) {
      const int64_t x_rows = rows == 9 ? 1 : 11 - rows;
      for (int64_t n : {0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 65, 260}) {
        const DenseWeights w = random_dense(random, dtype, rows, n, Place::odd);
        const auto x = random_floats(random, x_rows * n);
        Guarded out(x_rows * rows), wide(rows * n);
        k.dot(type, w.tensor.data, rows, n, x.data(), x_rows, out.data(), rows);
        k.widen(type, w.tensor.data, rows * n, wide.data());
        ASSERT_TRUE(out.intact() && wide.intact());
        for (int64_t i = 0; i < rows * n; ++i) ASSERT_EQ(wide[i], w.values[static_cast<size_t>(i)]);
        const Product want = product_of(x, w.values, {}, x_rows, n, rows);
        expect_close({out.data(), out.data() + x_rows * rows}, want, 1e-6, "dot");
      }
    }
  }
}

/// Packed panels, and the weights [inputs][panels * kPanel] they stand for.
struct Panels {
  std::vector<uint32_t> words;
  StoredValues scales, zeros;
  std::vector<float> weights;
  std::vector<int32_t> group_ends;
  cpu::QPanel first{};
  int64_t count = 0;
};

Panels random_panels(Random& random, int bits, int64_t count, std::vector<int32_t> group_ends,
                     bool with_zeros) {
  Panels p;
  p.count = count;
  p.group_ends = std::move(group_ends);
  for (int32_t& end : p.group_ends) end *= static_cast<int32_t>(cpu::run_units(bits));
  const int64_t units = p.group_ends.back(), groups = static_cast<int64_t>(p.group_ends.size());
  const int64_t words = cpu::panel_words(units, bits), inputs = units * kUnit;
  p.words.resize(static_cast<size_t>(count * words) + 4096);  // what prefetches may look at
  std::vector<float> scales = random_floats(random, count * groups * kPanel), zeros;
  for (int64_t i = 0; i < count * groups * kPanel && with_zeros; ++i) {
    zeros.push_back(static_cast<float>(static_cast<int>(random.below(1u << bits)) - (1 << (bits - 1))));
  }
  p.scales = StoredValues(random, scales);
  if (with_zeros) p.zeros = StoredValues(random, zeros);
  p.weights.resize(static_cast<size_t>(inputs * count * kPanel));
  for (int64_t n = 0; n < count * kPanel; ++n) {
    int64_t g = 0;
    for (int64_t i = 0; i < inputs; ++i) {
      while (p.group_ends[static_cast<size_t>(g)] <= i / kUnit) ++g;
      const auto field = static_cast<uint32_t>(random.below(1u << bits));
      put_field(p.words.data() + n / kPanel * words + n % kPanel, kPanel, bits, i, field);
      const int value = static_cast<int>(field) - (1 << (bits - 1));
      const auto at = static_cast<size_t>((n / kPanel * groups + g) * kPanel + n % kPanel);
      const float zero = with_zeros ? zeros[at] : 0.0f;
      p.weights[static_cast<size_t>(i * count * kPanel + n)] =
          scales[at] * (static_cast<float>(value) - zero);
    }
  }
  p.first = {p.words.data(), p.scales.values(), p.zeros.values(), p.group_ends.data(), groups, units, bits};
  return p;
}

const std::vector<std::vector<int32_t>> kGroups{{1}, {2}, {1, 2, 3}, {2, 2, 5}, {8, 16, 17}, {0, 3}};

TEST_P(MatrixKernels, UnpackIsExact) {
  for (int bits : {2, 3, 4, 8}) {
    for (const auto& ends : kGroups) {
      for (bool with_zeros : {false, true}) {
        const Panels p = random_panels(random, bits, 1, ends, with_zeros);
        for (int64_t begin = 0; begin < p.first.units; begin += cpu::run_units(bits)) {
          const int64_t count = (p.first.units - begin) * kUnit, ldo = 19;
          Guarded out((count - 1) * ldo + kPanel, 5.0f);
          k.unpack(p.first, begin * kUnit, count, out.data(), ldo);
          ASSERT_TRUE(out.intact());
          for (int64_t i = 0; i < count; ++i) {
            for (int64_t c = 0; c < kPanel; ++c) {
              ASSERT_EQ(out[i * ldo + c], p.weights[static_cast<size_t>((begin * kUnit + i) * kPanel + c)])
                  << bits << " bits, input " << i;
            }
          }
        }
      }
    }
  }
}

void expect_product(const cpu::Kernels& k, const Panels& p, const std::vector<float>& x, int64_t rows) {
  const int64_t inputs = p.first.units * kUnit, ldx = inputs + 3, cols = p.count * kPanel;
  std::vector<float> sums;
  for (int64_t r = 0; r < rows; ++r) {
    for (size_t g = 0; g < p.group_ends.size(); ++g) {
      double sum = 0.0;
      for (int64_t i = (g == 0 ? 0 : p.group_ends[g - 1]) * kUnit; i < p.group_ends[g] * kUnit; ++i) {
        sum += x[static_cast<size_t>(r * ldx + i)];
      }
      sums.push_back(static_cast<float>(sum));
    }
  }
  Guarded y((rows - 1) * (cols + 2) + cols);
  k.qdot(p.first, p.count, {rows, x.data(), ldx, sums.data(), y.data(), cols + 2});
  ASSERT_TRUE(y.intact());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t n = 0; n < cols; ++n) {
      double want = 0.0;
      for (int64_t i = 0; i < inputs; ++i) {
        want += double{x[static_cast<size_t>(r * ldx + i)]} * p.weights[static_cast<size_t>(i * cols + n)];
      }
      ASSERT_NEAR(y[r * (cols + 2) + n], want, 1e-6 * static_cast<double>(inputs << (p.first.bits - 1)))
          << "row " << r;
    }
  }
}

TEST_P(MatrixKernels, ProductWithPackedWeights) {
  for (int bits : {2, 3, 4, 8}) {
    for (const auto& ends : kGroups) {
      for (int64_t panels : {1, 2, 3, 4, 5, 7}) {
        for (int64_t rows : {1, 2, 3, 4, 7}) {
          const Panels p = random_panels(random, bits, panels, ends, (panels + rows) % 2 == 0);
          expect_product(k, p, random_floats(random, rows * (p.first.units * kUnit + 3)), rows);
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sets, MatrixKernels, testing::ValuesIn(kernel_sets()),
                         [](const auto& info) { return std::string(info.param->name); });

}  // namespace
}  // namespace gptq::test
