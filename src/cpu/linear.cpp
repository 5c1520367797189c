// y = x W^T + b and table look-up.
#include "cpu/linear.h"

namespace gptq::cpu {

void CpuStream::linear(const Linear& w, Matrix x, Matrix y) {
  if (x.rows > 0 && w.out_features() > 0) static_cast<const CpuLinear&>(w).apply(*this, x, y);
}

void CpuStream::linears(Matrix x, std::span<const Projection> projections) {
  std::vector<RoundedTask> tasks;
  for (const Projection& p : projections) {
    const auto weights = rounds_inputs() ? static_cast<const CpuLinear*>(p.w)->rounded() : std::nullopt;
    if (weights) {
      tasks.push_back({*weights, row(p.y, 0)});
    } else {
      linear(*p.w, x, p.y);
    }
  }
  if (x.rows > 0) rounded_products(*this, x, tasks);
}

void CpuStream::embed(const Linear& table, std::span<const int32_t> ids, Matrix out) {
  const auto& weights = static_cast<const CpuLinear&>(table);
  parallel_for(static_cast<int64_t>(ids.size()), 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      weights.read_row(kernels(), ids[static_cast<size_t>(i)], row(out, i));
  });
}

}  // namespace gptq::cpu
