#include "quant/module_report.h"

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace gptq {
namespace {

std::array<double, 5> spread(std::vector<float> values) {
  std::array<double, 5> result{};
  if (values.empty()) return result;
  std::sort(values.begin(), values.end());
  constexpr std::array kPlaces{0.0, 0.1, 0.5, 0.9, 1.0};
  for (size_t i = 0; i < kPlaces.size(); ++i) {
    result[i] = double{values[static_cast<size_t>(kPlaces[i] * static_cast<double>(values.size() - 1))]};
  }
  return result;
}

uint64_t most_memory() {
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace

ModuleReport describe(const SolveResult& result, double energy) {
  const QTensor& q = result.q;
  const bool known = energy > 0 && std::isfinite(energy) && std::isfinite(result.loss);
  return {
      .name = {},
      .bits = q.bits,
      .weights = q.rows * q.cols,
      .bits_per_weight = q.bits + static_cast<double>((16 + q.bits) * q.groups) / static_cast<double>(q.cols),
      .method = result.method,
      .loss = result.loss,
      .damp = result.damp,
      .relative_error = known ? result.loss / energy : -1,
      .scales = spread(q.scales),
      .memory = most_memory(),
      .note = result.note};
}

double output_energy(Stream& stream, const Hessian& hessian, const std::vector<float>& part,
                     const SampledRows& sampled) {
  const int64_t cols = hessian.size(), tokens = hessian.rows_seen();
  if (tokens == 0) return 0;
  // W H W^T / 2 is the loss of a matrix of zeros
  std::vector<int32_t> order(static_cast<size_t>(cols)), group_of(order.size());
  std::iota(order.begin(), order.end(), 0);
  std::vector<uint8_t> codes(part.size());
  std::vector<float> scales(static_cast<size_t>(sampled.count), 1.0f), nothing(order.size());
  std::vector<uint16_t> zeros(scales.size());
  std::vector<double> row_loss(scales.size());
  RefineProblem problem{.rows = sampled.count,
                        .cols = cols,
                        .target = part.data(),
                        .group_of = group_of.data(),
                        .codes = codes.data(),
                        .scales = scales.data(),
                        .zeros = zeros.data(),
                        .row_loss = row_loss.data()};
  stream.refine(hessian, order, nothing, {}, problem);
  return 2 * std::accumulate(row_loss.begin(), row_loss.end(), 0.0) * static_cast<double>(sampled.rows) /
         static_cast<double>(sampled.count * tokens);
}

}  // namespace gptq
