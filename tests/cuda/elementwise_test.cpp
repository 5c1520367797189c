// Elementwise ops and ops over rows against the CPU backend, at sizes one off a vector.
#include "cuda_support.h"

namespace gptq::cuda {
namespace {

constexpr int64_t kSizes[] = {0, 1, 7, 8, 9, 2047, 2048, 4103};

class ElementwiseTest : public testing::TestWithParam<Element> {
 protected:
  /// Runs both ops over `count` operands of n random elements: (activations) and (stream, matrices).
  template <class Gpu, class Cpu>
  void compare(int count, Gpu gpu, Cpu cpu, const std::string& what) {
    for (int64_t n : kSizes) {
      Random random(static_cast<uint64_t>(n));
      std::vector<Activations> x;
      std::vector<std::vector<float>> wanted;
      for (int i = 0; i < count; ++i) {
        x.emplace_back(GetParam(), random_floats(random, n, 5));
        wanted.push_back(x.back().floats());
      }
      gpu(x, n);
      std::vector<Matrix> m;
      for (auto& w : wanted) m.push_back(matrix_of(w, 1, n));
      cpu(m);
      expect_near(x[0].floats(), wanted[0], 1.01f * rounding(GetParam()), 2e-4f, what);
    }
  }

  Reference reference;
};

TEST_P(ElementwiseTest, Sums) {
  for (float factor : {1.0f, -0.37f}) {
    compare(
        2, [&](auto& x, int64_t n) { add(kQueue, GetParam(), x[0].data(), x[1].data(), factor, n); },
        [&](auto& m) { reference->add(m[0], m[1], factor); }, "add");
  }
  compare(
      1, [&](auto& x, int64_t n) { scale(kQueue, GetParam(), x[0].data(), 1.7f, n); },
      [&](auto& m) { reference->scale(m[0], 1.7f); }, "scale");
  compare(
      1, [&](auto& x, int64_t n) { clamp(kQueue, GetParam(), x[0].data(), 2.5f, n); },
      [&](auto& m) { reference->clamp(m[0], 2.5f); }, "clamp");
  compare(
      1, [&](auto& x, int64_t n) { softcap(kQueue, GetParam(), x[0].data(), 3.0f, n); },
      [&](auto& m) { reference->softcap(m[0], 3.0f); }, "softcap");
}

TEST_P(ElementwiseTest, Activations) {
  Activation xielu(Act::xielu), clamped(Act::clamped_silu);
  xielu.a = 0.8f;
  xielu.a_negative = 1.3f;
  xielu.c = 0.5f;
  xielu.d = -1e-6f;
  clamped.a = 1.702f;
  clamped.d = 3;
  for (const Activation& act :
       {Activation(Act::silu), Activation(Act::gelu), Activation(Act::gelu_tanh), Activation(Act::relu),
        Activation(Act::relu2), Activation(Act::sigmoid), xielu, clamped}) {
    const std::string what = "activation " + std::to_string(static_cast<int>(act.act));
    compare(
        2,
        [&](auto& x, int64_t n) {
          activate(kQueue, GetParam(), act, x[0].data(), x[1].data(), x[0].data(), n);
        },
        [&](auto& m) { reference->activate(act, m[0], &m[1], m[0]); }, what);
    compare(
        1,
        [&](auto& x, int64_t n) { activate(kQueue, GetParam(), act, x[0].data(), nullptr, x[0].data(), n); },
        [&](auto& m) { reference->activate(act, m[0], nullptr, m[0]); }, what);
  }
}

/// Far out nothing becomes NaN that is a number.
TEST_P(ElementwiseTest, ActivationsFarOut) {
  const std::vector<float> far{-60000, -500, -100, -30, 30, 100, 500, 60000};
  for (Act act : {Act::silu, Act::gelu, Act::gelu_tanh, Act::relu, Act::sigmoid}) {
    gptq::cuda::Activations x(GetParam(), far);
    std::vector<float> wanted = x.floats();
    activate(kQueue, GetParam(), act, x.data(), nullptr, x.data(), 8);
    reference->activate(act, matrix_of(wanted, 1, 8), nullptr, matrix_of(wanted, 1, 8));
    expect_near(x.floats(), wanted, rounding(GetParam()), 1e-4f,
                "activation " + std::to_string(static_cast<int>(act)));
  }
}

TEST_P(ElementwiseTest, Converts) {
  for (int64_t n : kSizes) {
    Random random(1);
    const std::vector<float> values = random_floats(random, n, 100);
    gptq::cuda::Activations x(GetParam(), n);
    narrow(kQueue, GetParam(), values.data(), x.data(), n);
    EXPECT_EQ(x.floats(), gptq::cuda::Activations(GetParam(), values).floats());
    std::vector<float> back(values.size());
    widen(kQueue, GetParam(), x.data(), back.data(), n);
    EXPECT_EQ(back, x.floats());
  }
}

INSTANTIATE_TEST_SUITE_P(Cuda, ElementwiseTest, testing::ValuesIn(kElements));

constexpr std::array<int64_t, 2> kShapes[] = {{0, 8}, {1, 1}, {3, 7}, {5, 64}, {2, 2056}, {4, 4099}};

class RowsTest : public ElementwiseTest {};

TEST_P(RowsTest, Norms) {
  for (const auto& [rows, cols] : kShapes) {
    for (Norm kind : {Norm::rms, Norm::layer}) {
      for (int64_t parts : {1, 2}) {
        for (bool more : {false, true}) {  // with a bias and an addend
          Random random(7);
          const std::vector<float> weight = random_floats(random, cols * parts),
                                   bias = random_floats(random, cols * parts);
          Activations x(GetParam(), random_floats(random, rows * cols, 3)),
              y(GetParam(), random_floats(random, rows * cols, 3));
          Activations out(GetParam(), rows * cols);
          std::vector<float> sum = x.floats(), addend = y.floats(), wanted(sum.size());
          norm(kQueue, GetParam(),
               {.kind = kind,
                .rows = rows,
                .cols = cols,
                .x = x.data(),
                .addend = more ? y.data() : nullptr,
                .factor = 0.5f,
                .sum = x.data(),
                .weight = weight.data(),
                .bias = more ? bias.data() : nullptr,
                .parts = parts,
                .eps = 1e-5f,
                .out = out.data()});
          if (more) {
            reference->add(matrix_of(sum, rows, cols), matrix_of(addend, rows, cols), 0.5f);
            sum = Activations(GetParam(), sum).floats();
          }
          EXPECT_EQ(x.floats(), sum);
          const auto w = reference.backend().prepare_vector(float_tensor(weight));
          const auto b = reference.backend().prepare_vector(float_tensor(bias));
          reference->norm(kind, matrix_of(sum, rows, cols), *w, more ? b.get() : nullptr, 1e-5f,
                          matrix_of(wanted, rows, cols));
          expect_near(out.floats(), wanted, 1.1f * rounding(GetParam()), 1e-2f, "norm");
        }
      }
    }
  }
}

TEST_P(RowsTest, NormsInPlace) {
  Random random(7);
  const std::vector<float> weight = random_floats(random, 72);
  Activations x(GetParam(), random_floats(random, 3 * 72)), y(GetParam(), x.floats());
  const NormArguments apart{
      .rows = 3, .cols = 72, .x = x.data(), .weight = weight.data(), .eps = 1e-6f, .out = y.data()};
  NormArguments same = apart;
  norm(kQueue, GetParam(), apart);
  same.out = x.data();
  norm(kQueue, GetParam(), same);
  EXPECT_EQ(x.floats(), y.floats());
}

TEST_P(RowsTest, ScalesGathersAndScatters) {
  for (const auto& [rows, cols] : kShapes) {
    Random random(3);
    Activations x(GetParam(), random_floats(random, rows * cols));
    std::vector<float> wanted = x.floats();
    const std::vector<float> factors = random_floats(random, rows);
    scale_rows(kQueue, GetParam(), x.data(), factors.data(), rows, cols);
    reference->scale_rows(matrix_of(wanted, rows, cols), factors);
    expect_near(x.floats(), wanted, 1.01f * rounding(GetParam()), 1e-4f, "scale_rows");
    wanted = x.floats();
    Activations of_elements(GetParam(), factors);
    scale_rows_by_elements(kQueue, GetParam(), x.data(), of_elements.data(), rows, cols);
    std::vector<float> rounded = of_elements.floats();
    reference->scale_rows(matrix_of(wanted, rows, cols), matrix_of(rounded, rows, 1));
    expect_near(x.floats(), wanted, 1.01f * rounding(GetParam()), 1e-4f, "scale_rows_by_elements");
    if (rows == 0) continue;

    wanted = x.floats();
    std::vector<int32_t> chosen;
    for (int64_t i = 0; i < 77; ++i)
      chosen.push_back(static_cast<int32_t>(random.next() % static_cast<uint64_t>(rows)));
    std::vector<float> gathered(static_cast<size_t>(77 * cols));
    Activations out(GetParam(), 77 * cols);
    gather_rows(kQueue, GetParam(), x.data(), chosen.data(), 77, cols, out.data());
    reference->gather(matrix_of(wanted, rows, cols), chosen, matrix_of(gathered, 77, cols));
    EXPECT_EQ(out.floats(), gathered);

    Routing routing;
    routing.entries = 77;
    routing.rows = chosen;
    routing.weights = random_floats(random, 77);
    for (const Weigh weigh : {Weigh::yes, Weigh::no}) {
      wanted = x.floats();
      scatter_add(kQueue, GetParam(), x.data(), rows, cols, chosen.data(),
                  weigh == Weigh::yes ? routing.weights.data() : nullptr, out.data(), 77);
      reference->scatter_add(matrix_of(wanted, rows, cols), routing, weigh, matrix_of(gathered, 77, cols));
      expect_near(x.floats(), wanted, 1.01f * rounding(GetParam()), 1e-2f, "scatter_add");
    }
  }
}

TEST_P(RowsTest, GathersColumns) {
  Random random(3);
  Activations x(GetParam(), random_floats(random, 4 * 10)), out(GetParam(), 4 * 300);
  std::vector<int32_t> order(300, -1);
  for (size_t i = 0; i < order.size(); i += 7) order[i] = static_cast<int32_t>(random.next() % 10);
  gather_columns(kQueue, GetParam(), x.data(), 10, order.data(), 300, 4, out.data());
  const std::vector<float> from = x.floats(), got = out.floats();
  for (size_t i = 0; i < got.size(); ++i) {
    const int32_t k = order[i % 300];
    EXPECT_EQ(got[i], k < 0 ? 0.0f : from[i / 300 * 10 + static_cast<size_t>(k)]);
  }
}

TEST_P(RowsTest, JoinsHeads) {
  for (SharedTail shared : {SharedTail::no, SharedTail::yes}) {
    const int64_t rows = 3, heads = 5, m = 9, n = 4, tails = shared == SharedTail::yes ? n : heads * n;
    Random random(3);
    Activations a(GetParam(), random_floats(random, rows * heads * m)),
        b(GetParam(), random_floats(random, rows * tails));
    Activations out(GetParam(), rows * heads * (m + n));
    std::vector<float> x = a.floats(), y = b.floats(), wanted(static_cast<size_t>(rows * heads * (m + n)));
    join_heads(kQueue, GetParam(), a.data(), m, b.data(), n, shared, heads, rows, out.data());
    reference->join_heads(matrix_of(x, rows, heads * m), matrix_of(y, rows, tails), heads,
                          matrix_of(wanted, rows, heads * (m + n)));
    EXPECT_EQ(out.floats(), wanted);
  }
}

INSTANTIATE_TEST_SUITE_P(Cuda, RowsTest, testing::ValuesIn(kElements));

}  // namespace
}  // namespace gptq::cuda
