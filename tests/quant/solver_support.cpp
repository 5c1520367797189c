// Inputs with the correlations and outliers of a transformer.
#include "quant/solver_support.h"

#include <algorithm>
#include <cmath>

#include "base/random.h"

namespace gptq::test {

CpuBench::CpuBench(int threads)
    : backend(create_backend("cpu", {.threads = threads})), stream(backend->create_stream(nullptr)) {}

std::unique_ptr<Hessian> CpuBench::hessian(const std::vector<float>& inputs, int64_t cols,
                                           int64_t rows_per_call) const {
  auto result = stream->create_hessian(cols);
  const auto rows = static_cast<int64_t>(inputs.size()) / cols;
  for (int64_t row = 0; row < rows; row += rows_per_call) {
    const int64_t count = std::min(rows_per_call, rows - row);
    const auto memory = stream->allocate(static_cast<size_t>(count * cols) * stream->element_bytes());
    const Matrix x{.data = memory->data(), .rows = count, .cols = cols};
    stream->upload(inputs.data() + row * cols, x);
    stream->hessian_add(x, *result);
  }
  return result;
}

std::unique_ptr<Drift> CpuBench::drift(const std::vector<float>& originals, const std::vector<float>& now,
                                       int64_t rows, const std::vector<float>& inputs, int64_t cols,
                                       int64_t tokens_per_call) const {
  auto result = stream->create_drift(rows, cols);
  const auto tokens = static_cast<int64_t>(inputs.size()) / cols;
  for (int64_t token = 0; token < tokens; token += tokens_per_call) {
    const int64_t count = std::min(tokens_per_call, tokens - token);
    std::vector<std::unique_ptr<Memory>> memory;
    const auto upload = [&](const std::vector<float>& from, int64_t features) {
      memory.push_back(stream->allocate(static_cast<size_t>(count * features) * stream->element_bytes()));
      const Matrix m{.data = memory.back()->data(), .rows = count, .cols = features};
      stream->upload(from.data() + token * features, m);
      return m;
    };
    const Matrix a0 = upload(originals, rows), a = upload(now, rows), x = upload(inputs, cols);
    stream->drift_add(a0, a, x, *result);
  }
  return result;
}

std::vector<float> normal(int64_t count, uint64_t seed) {
  Random random(seed);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) {
    const double radius = std::sqrt(-2 * std::log(1 - random.uniform()));
    v = static_cast<float>(radius * std::cos(2 * M_PI * random.uniform()));
  }
  return values;
}

std::vector<float> correlated_inputs(int64_t tokens, int64_t cols, uint64_t seed) {
  const int64_t factors = std::max<int64_t>(1, cols / 16);
  const std::vector<float> mix = normal(factors * cols, seed), sizes = normal(cols, seed + 1);
  const std::vector<float> common = normal(tokens * factors, seed + 2);
  std::vector<float> x = normal(tokens * cols, seed + 3);
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t i = 0; i < cols; ++i) {
      float sum = 0.5f * x[t * cols + i];
      for (int64_t f = 0; f < factors; ++f) sum += common[t * factors + f] * mix[f * cols + i];
      x[t * cols + i] = sum * std::exp(0.5f * sizes[i]) * (i % 61 == 7 ? 20.0f : 1.0f);
    }
  }
  return x;
}

std::vector<float> drifted(const std::vector<float>& inputs, int64_t cols, uint64_t seed) {
  const std::vector<float> mix = normal(cols, seed);
  std::vector<float> x = inputs;
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t column = i % static_cast<size_t>(cols), other = (column * 7 + 3) % static_cast<size_t>(cols);
    x[i] += 0.1f * mix[column] * inputs[i - column + other];
  }
  return x;
}

std::vector<float> dequantized(const QTensor& q) {
  std::vector<float> w(static_cast<size_t>(q.rows * q.cols));
  for (int64_t r = 0; r < q.rows; ++r) dequantize_row(q, r, w.data() + r * q.cols);
  return w;
}

}  // namespace gptq::test
