// Inputs of hardly any tokens, as a seldom used expert or a tiny calibration has: what comes out is a matrix near the
// weights, never zeros and never NaN.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "quant/solver_support.h"

namespace gptq {
namespace {

constexpr int64_t kCols = 96, kRows = 24;

double square(double v) { return v * v; }

/// |W - Q|^2 / |W|^2
double weight_error(const std::vector<float>& w, const QTensor& q) {
  const std::vector<float> back = test::dequantized(q);
  double error = 0, all = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    error += square(double{w[i]} - back[i]);
    all += square(w[i]);
  }
  return error / all;
}

/// |X (W - Q)^T|^2
double output_error(const std::vector<float>& x, const std::vector<float>& w, const QTensor& q) {
  const std::vector<float> back = test::dequantized(q);
  double total = 0;
  for (size_t t = 0; t < x.size(); t += kCols) {
    for (size_t r = 0; r < w.size(); r += kCols) {
      double y = 0;
      for (size_t i = 0; i < kCols; ++i) y += double{x[t + i]} * (double{w[r + i]} - back[r + i]);
      total += square(y);
    }
  }
  return total;
}

struct Setting {
  const char* name;
  SolverOptions options;
};

std::vector<Setting> settings() {
  SolverOptions plain{.bits = 4, .group_size = 32};
  std::vector<Setting> all;
  const auto add = [&](const char* name, auto change) {
    all.push_back({name, plain});
    change(all.back().options);
  };
  add("plain", [](SolverOptions&) {});
  add("none", [](SolverOptions& o) { o.order = Order::none; });
  add("act", [](SolverOptions& o) { o.order = Order::act; });
  add("static", [](SolverOptions& o) { o.static_groups = StaticGroups::yes; });
  add("asym", [](SolverOptions& o) { o.symmetric = Symmetric::no; });
  add("hessian", [](SolverOptions& o) { o.range = RangeSearch::hessian; });
  add("mse", [](SolverOptions& o) { o.range = RangeSearch::mse; });
  add("gptaq", [](SolverOptions& o) { o.target = Target::gptaq; });
  add("default", [](SolverOptions& o) {
    o.range = RangeSearch::hessian;
    o.target = Target::exact;
    o.sweeps = 4;
    o.refits = 2;
  });
  return all;
}

/// Of `tokens` tokens; the same one again and again where `constant`.
enum class Tokens { different, constant };
std::vector<float> inputs(int64_t tokens, Tokens kind) {
  std::vector<float> x = test::correlated_inputs(kind == Tokens::constant ? 1 : tokens, kCols, 7);
  const std::vector<float> one = x;
  while (static_cast<int64_t>(x.size()) < tokens * kCols) x.insert(x.end(), one.begin(), one.end());
  return x;
}

void expect_sound(int64_t tokens, Tokens kind) {
  const test::CpuBench bench;
  const std::vector<float> w = test::normal(kRows * kCols, 2), x = inputs(tokens, kind);
  const std::vector<float> original = test::drifted(x, kCols, 5);
  const auto nothing = bench.stream->create_hessian(kCols);
  for (const Setting& setting : settings()) {
    SCOPED_TRACE(setting.name);
    const auto hessian = bench.hessian(x, kCols);
    const Drifts drifts{.inputs = bench.drift(original, x, kCols, x, kCols), .residual = nullptr};
    const SolveResult result =
        Solver(*bench.stream, *hessian, &drifts, setting.options).quantize(w.data(), kRows, "w");
    SolverOptions round = setting.options;
    round.range = RangeSearch::minmax;
    const SolveResult rounded =
        Solver(*bench.stream, *nothing, nullptr, round).quantize(w.data(), kRows, "w");
    ASSERT_NO_THROW(validate(result.q, "w"));
    EXPECT_TRUE(std::isfinite(result.loss));
    EXPECT_GE(result.loss, 0);
    for (float v : test::dequantized(result.q)) ASSERT_TRUE(std::isfinite(v));
    EXPECT_EQ(result.method, tokens == 0 ? SolveResult::Method::rounded : SolveResult::Method::gptq);
    EXPECT_EQ(result.note.empty(), tokens != 0) << result.note;
    // few tokens must not be paid for with the weights, which all other tokens see; a target moves them on purpose
    const double most = setting.options.target == Target::sequential ? 4 : 8;
    EXPECT_LT(weight_error(w, result.q), most * weight_error(w, rounded.q));
    if (tokens > 0 && setting.options.target == Target::sequential) {
      EXPECT_LT(output_error(x, w, result.q), output_error(x, w, rounded.q));
    }
  }
}

TEST(SolverSparse, NoToken) { expect_sound(0, Tokens::different); }
TEST(SolverSparse, OneToken) { expect_sound(1, Tokens::different); }
TEST(SolverSparse, TwoTokens) { expect_sound(2, Tokens::different); }
TEST(SolverSparse, FewerTokensThanInputs) { expect_sound(kCols / 2, Tokens::different); }
TEST(SolverSparse, OneTokenAgainAndAgain) { expect_sound(500, Tokens::constant); }

}  // namespace
}  // namespace gptq
