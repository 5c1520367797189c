// Norms, activations and sums of every instruction set against double arithmetic, at sizes around vector widths.
#include <cmath>
#include <limits>

#include "ops_support.h"

namespace gptq::test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
const std::vector<int64_t> kSizes{0,  1,  2,  3,  5,  7,  8,  9,  15, 16, 17,  23,  24, 25,
                                  31, 32, 33, 47, 48, 49, 63, 64, 65, 66, 127, 129, 515};

class ElementwiseKernels : public testing::TestWithParam<const cpu::Kernels*> {
 protected:
  const cpu::Kernels& k = *GetParam();
  Random random{7};
};

using Activation = void (*)(const float*, const float*, int64_t, float*);

double silu(double x) { return x < -700 ? 0.0 : x / (1.0 + std::exp(-x)); }
double gelu(double x) { return 0.5 * x * std::erfc(-x * M_SQRT1_2); }
double gelu_tanh(double x) {
  return 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
}
double relu(double x) { return x > 0 ? x : 0.0; }

struct ActivationCase {
  const char* name;
  Activation cpu::Kernels::*kernel;
  double (*truth)(double);
};
const ActivationCase kActivations[] = {{"silu", &cpu::Kernels::silu, silu},
                                       {"gelu", &cpu::Kernels::gelu, gelu},
                                       {"gelu_tanh", &cpu::Kernels::gelu_tanh, gelu_tanh},
                                       {"relu", &cpu::Kernels::relu, relu}};

TEST_P(ElementwiseKernels, ActivationsOverTheirWholeRange) {
  std::vector<float> x;
  for (float v = -30.0f; v < 30.0f; v += 0.00137f) x.push_back(v);
  std::vector<float> y(x.size());
  for (const ActivationCase& c : kActivations) {
    (k.*c.kernel)(x.data(), nullptr, static_cast<int64_t>(x.size()), y.data());
    for (size_t i = 0; i < x.size(); ++i) {
      const double want = c.truth(x[i]);
      ASSERT_NEAR(y[i], want, 3e-7 * std::max(1.0, std::abs(want))) << c.name << " of " << x[i];
    }
  }
}

TEST_P(ElementwiseKernels, ActivationsOfExtremesAreNumbers) {
  const std::vector<float> x{-100.0f, -1e4f, -1e20f, -3e38f,    -kInfinity,
                             100.0f,  1e20f, 3e38f,  kInfinity, 0.0f};
  std::vector<float> y(x.size());
  for (const ActivationCase& c : kActivations) {
    (k.*c.kernel)(x.data(), nullptr, static_cast<int64_t>(x.size()), y.data());
    for (size_t i = 0; i < x.size(); ++i) {
      if (x[i] > 0) {
        EXPECT_EQ(y[i], x[i]) << c.name;
      } else {
        EXPECT_LE(std::abs(y[i]), 1e-30f) << c.name << " of " << x[i];
      }
    }
    const float nan = std::numeric_limits<float>::quiet_NaN();
    float out = 0.0f;
    (k.*c.kernel)(&nan, nullptr, 1, &out);
    EXPECT_TRUE(std::isnan(out) || c.truth == relu) << c.name;
  }
}

TEST_P(ElementwiseKernels, ActivationsTimesUpInPlaceAndAtEverySize) {
  for (int64_t n : kSizes) {
    const auto gate = random_floats(random, n, 4.0f), up = random_floats(random, n, 2.0f);
    for (const ActivationCase& c : kActivations) {
      Guarded out(gate);
      (k.*c.kernel)(out.data(), up.data(), n, out.data());
      EXPECT_TRUE(out.intact()) << c.name << " " << n;
      for (int64_t i = 0; i < n; ++i) {
        const auto at = static_cast<size_t>(i);
        ASSERT_NEAR(out[i], c.truth(gate[at]) * up[at], 2e-6) << c.name << " " << n;
      }
    }
  }
}

TEST_P(ElementwiseKernels, ExponentialIsWithinTwoUlp) {
  std::vector<float> x, y;
  for (float v = -87.0f; v <= 0.0f; v += 0.0031f) x.push_back(v);
  y = x;
  const float total = k.exp_shift(y.data(), static_cast<int64_t>(y.size()), 0.0f);
  double sum = 0.0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double want = std::exp(double{x[i]});
    ASSERT_NEAR(y[i] / want, 1.0, 2.4e-7) << x[i];
    sum += want;
  }
  EXPECT_NEAR(total / sum, 1.0, 1e-5);
  float far[3] = {-kInfinity, -1e30f, 2.0f};
  EXPECT_EQ(k.exp_shift(far, 3, 2.0f), 1.0f);
  EXPECT_EQ(far[0], 0.0f);
  EXPECT_EQ(far[1], 0.0f);
}

TEST_P(ElementwiseKernels, ExponentialsSumsAndMaximaAtEverySize) {
  for (int64_t n : kSizes) {
    const auto x = random_floats(random, n, 3.0f);
    double sum = 0.0, exponentials = 0.0;
    float most = -kInfinity;
    for (float v : x) {
      sum += v;
      most = std::max(most, v);
      exponentials += std::exp(v - 3.0);
    }
    EXPECT_NEAR(k.sum(x.data(), n), sum, 3e-7 * static_cast<double>(n + 1)) << n;
    EXPECT_EQ(k.max(x.data(), n), most) << n;
    Guarded shifted(x);
    EXPECT_NEAR(k.exp_shift(shifted.data(), n, 3.0f), exponentials, 1e-6 * (1.0 + exponentials)) << n;
    EXPECT_TRUE(shifted.intact());
    for (int64_t i = 0; i < n; ++i) ASSERT_NEAR(shifted[i], std::exp(x[static_cast<size_t>(i)] - 3.0), 3e-7);
  }
}

TEST_P(ElementwiseKernels, MaximumWhereverItIs) {
  for (int64_t n : {1, 8, 16, 17, 40}) {
    for (int64_t at = 0; at < n; ++at) {
      std::vector<float> x(static_cast<size_t>(n), -5.0f);
      x[static_cast<size_t>(at)] = -4.0f;
      EXPECT_EQ(k.max(x.data(), n), -4.0f) << at << " of " << n;
    }
  }
}

TEST_P(ElementwiseKernels, Norms) {
  for (int64_t n : kSizes) {
    if (n == 0) continue;
    auto x = random_floats(random, n, 2.0f);
    for (float& v : x) v += 3.0f;
    const auto weight = random_floats(random, n), bias = random_floats(random, n);
    double total = 0.0, squares = 0.0, variance = 0.0;
    for (float v : x) total += v;
    const double mean = total / static_cast<double>(n);
    for (float v : x) {
      squares += double{v} * v;
      variance += (v - mean) * (v - mean);
    }
    const double rms = std::sqrt(squares / static_cast<double>(n) + 1e-5);
    const double deviation = std::sqrt(variance / static_cast<double>(n) + 1e-5);
    Guarded by_rms(x), by_layer(n), without_bias(n);
    k.rms_norm(by_rms.data(), weight.data(), 1e-5f, n, by_rms.data());
    k.layer_norm(x.data(), weight.data(), bias.data(), 1e-5f, n, by_layer.data());
    k.layer_norm(x.data(), weight.data(), nullptr, 1e-5f, n, without_bias.data());
    EXPECT_TRUE(by_rms.intact() && by_layer.intact() && without_bias.intact());
    for (int64_t i = 0; i < n; ++i) {
      const auto at = static_cast<size_t>(i);
      const double plain = (x[at] - mean) / deviation * weight[at];
      ASSERT_NEAR(by_rms[i], x[at] / rms * weight[at], 2e-6) << n;
      ASSERT_NEAR(without_bias[i], plain, n == 1 ? 1e-3 : 2e-5) << n;
      ASSERT_NEAR(by_layer[i], plain + bias[at], n == 1 ? 1e-3 : 2e-5) << n;
    }
  }
}

TEST_P(ElementwiseKernels, SumsOfVectors) {
  for (int64_t n : kSizes) {
    const auto x = random_floats(random, n), y = random_floats(random, n);
    Guarded added(x), scaled(x), combined(y);
    k.add(added.data(), y.data(), n);
    k.scale(-1.5f, n, scaled.data());
    k.axpy(0.75f, x.data(), n, combined.data());
    EXPECT_TRUE(added.intact() && scaled.intact() && combined.intact()) << n;
    for (int64_t i = 0; i < n; ++i) {
      const auto at = static_cast<size_t>(i);
      ASSERT_EQ(added[i], x[at] + y[at]);
      ASSERT_EQ(scaled[i], x[at] * -1.5f);
      ASSERT_NEAR(combined[i], double{y[at]} + 0.75 * x[at], 2e-7);
    }
  }
}

TEST_P(ElementwiseKernels, ColumnsTimesFactors) {
  for (int64_t n : kSizes) {
    for (int64_t rows : {0, 1, 3}) {
      const int64_t stride = n + 5;
      const auto factors = random_floats(random, n), before = random_floats(random, rows * stride);
      auto x = before;
      k.scale_columns(factors.data(), n, rows, stride, x.data());
      for (int64_t i = 0; i < rows * stride; ++i) {
        const auto at = static_cast<size_t>(i), column = static_cast<size_t>(i % stride);
        ASSERT_EQ(x[at], column < factors.size() ? before[at] * factors[column] : before[at]) << n;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sets, ElementwiseKernels, testing::ValuesIn(kernel_sets()),
                         [](const auto& info) { return std::string(info.param->name); });

TEST_P(ElementwiseKernels, SubtractOuter) {
  for (int64_t n : {0, 1, 7, 128}) {
    for (int64_t count : {0, 1, 3, 8, 21}) {
      const int64_t stride = n + 3;
      const auto x = random_floats(random, count * stride), y = random_floats(random, count * cpu::kLanes);
      const auto before = random_floats(random, (n + 1) * cpu::kLanes);
      auto c = before;
      k.subtract_outer(x.data(), stride, y.data(), count, n, c.data());
      for (int64_t i = 0; i <= n; ++i) {
        for (int64_t l = 0; l < cpu::kLanes; ++l) {
          double wanted = before[i * cpu::kLanes + l];
          for (int64_t q = 0; i < n && q < count; ++q)
            wanted -= double{x[q * stride + i]} * y[q * cpu::kLanes + l];
          ASSERT_NEAR(c[i * cpu::kLanes + l], wanted, 1e-5) << i << ", " << l << ", " << count;
        }
      }
    }
  }
}

TEST_P(ElementwiseKernels, DeltaStep) {
  for (int64_t keys : {1, 5, 128}) {
    for (int64_t values : {1, 7, 16, 33, 64, 100, 131}) {
      const auto q = random_floats(random, keys), key = random_floats(random, keys),
                 v = random_floats(random, values), before = random_floats(random, keys * values);
      Guarded s(before), out(values, NAN);
      k.delta_step({keys, values, q.data(), key.data(), v.data(), 0.75f, 0.3f}, s.data(), out.data());
      EXPECT_TRUE(s.intact() && out.intact());
      for (int64_t j = 0; j < values; ++j) {
        double known = 0, result = 0;
        const auto old = [&](int64_t i) { return 0.75 * before[static_cast<size_t>(i * values + j)]; };
        for (int64_t i = 0; i < keys; ++i) known += old(i) * key[static_cast<size_t>(i)];
        for (int64_t i = 0; i < keys; ++i) {
          const double now =
              old(i) + key[static_cast<size_t>(i)] * double{0.3f} * (v[static_cast<size_t>(j)] - known);
          ASSERT_NEAR(s[i * values + j], now, 2e-5) << keys << ", " << values << ": " << i << ", " << j;
          result += q[static_cast<size_t>(i)] * now;
        }
        ASSERT_NEAR(out[j], result, 5e-4) << keys << ", " << values << ": " << j;
      }
    }
  }
}

}  // namespace
}  // namespace gptq::test
