// What solver tests share: a stream, problems that look like a model's, and Hessians.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "backend/backend.h"
#include "quant/solver.h"

namespace gptq::test {

struct CpuBench {
  explicit CpuBench(int threads = 2);
  std::unique_ptr<Hessian> hessian(const std::vector<float>& inputs, int64_t cols,
                                   int64_t rows_per_call = 100) const;
  /// (A0 - A)^T X of originals and now [tokens, rows] and inputs [tokens, cols]
  std::unique_ptr<Drift> drift(const std::vector<float>& originals, const std::vector<float>& now,
                               int64_t rows, const std::vector<float>& inputs, int64_t cols,
                               int64_t tokens_per_call = 256) const;

  std::shared_ptr<const Backend> backend;
  std::unique_ptr<Stream> stream;
};

/// Standard normal, from a seed.
std::vector<float> normal(int64_t count, uint64_t seed);

/// [tokens][cols]: a few common factors, channels of very different size, some of them 20 times the rest.
std::vector<float> correlated_inputs(int64_t tokens, int64_t cols, uint64_t seed);

/// Inputs as error has moved them: each a little towards another one.
std::vector<float> drifted(const std::vector<float>& inputs, int64_t cols, uint64_t seed);

std::vector<float> dequantized(const QTensor& q);

}  // namespace gptq::test
