// GPTQ as a textbook has it, in fp64, one column at a time: what the solver is measured against.
#pragma once

#include <cstdint>
#include <vector>

namespace gptq::test {

enum class OracleOrder { none, act, gar };
enum class OracleRange { minmax, mse, hessian };
enum class OracleTarget { sequential, gptaq, exact };

struct OracleOptions {
  int bits = 4;
  int group_size = 128;  // -1: all columns
  bool symmetric = true;
  OracleOrder order = OracleOrder::none;
  bool static_groups = false;
  double damp = 0.05;
  bool half_scales = false;  // rounded to fp16
  OracleRange range = OracleRange::minmax;
  double norm = 2.4;  // of OracleRange::mse
  OracleTarget target = OracleTarget::sequential;
  double alpha = 0.75, residual_alpha = 0.5;
  int sweeps = 0, refits = 0;  // the last of the sweeps
};

struct OracleResult {
  std::vector<int> codes;      // [rows][cols], the weight's own order
  std::vector<int> group_of;   // [cols]
  std::vector<double> scales;  // [groups][rows]
  std::vector<int> zeros;      // [groups][rows]
  /// (W - Q) (H + damping) (W - Q)^T / tokens, summed over rows, W as `exact` moves it; for `gptaq` without sweeps the
  /// sum over columns of ((w - q) / U_jj)^2
  double loss = 0;
  std::vector<std::vector<double>> u;  // upper triangular, processing order
};

/// X^T X of inputs [tokens][cols]
std::vector<std::vector<double>> gram(const std::vector<float>& inputs, int cols);
/// (A0 - A)^T X for A0 and A [tokens][rows] and X [tokens][cols]
std::vector<std::vector<double>> drift(const std::vector<float>& originals, const std::vector<float>& now,
                                       int rows, const std::vector<float>& inputs, int cols);

/// weights [rows][cols]; `drift` is read for targets other than sequential, `residual` for OracleTarget::exact
OracleResult solve_by_the_book(const std::vector<float>& weights, std::vector<std::vector<double>> hessian,
                               int tokens, const OracleOptions& options,
                               const std::vector<std::vector<double>>& drift = {},
                               const std::vector<std::vector<double>>& residual = {});

}  // namespace gptq::test
