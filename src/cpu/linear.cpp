// y = x W^T + b and table look-up.
#include "cpu/linear.h"

namespace gptq::cpu {

void CpuStream::linear(const Linear& w, Matrix x, Matrix y) {
  if (x.rows > 0 && w.out_features() > 0) static_cast<const CpuLinear&>(w).apply(*this, x, y);
}

void CpuStream::linears(Matrix x, std::span<const Projection> projections) {
  std::vector<RoundedTask> tasks;
  for (const Projection& p : projections) add_task(tasks, *p.w, x, p.y);
  rounded_products(*this, tasks);
}

void CpuStream::linear_parts(Matrix x, const Routing& routing, std::span<const PartsProjection> projections) {
  std::vector<RoundedTask> tasks;
  for (int64_t e = 0; e < routing.experts; ++e) {
    if (routing.count(e) == 0) continue;
    const int64_t begin = routing.first(e), end = begin + routing.count(e);
    for (const PartsProjection& p : projections)
      add_task(tasks, *p.w[static_cast<size_t>(e)], rows_of(x, begin, end), rows_of(p.y, begin, end));
  }
  rounded_products(*this, tasks);
}

/// linear() now, or by rounded_products() with others.
void CpuStream::add_task(std::vector<RoundedTask>& tasks, const Linear& w, Matrix x, Matrix y) {
  const auto weights = rounds_inputs() ? static_cast<const CpuLinear&>(w).rounded() : std::nullopt;
  if (!weights) return linear(w, x, y);
  if (x.rows > 0) tasks.push_back({*weights, x, row(y, 0)});
}

void CpuStream::embed(const Linear& table, std::span<const int32_t> ids, Matrix out) {
  const auto& weights = static_cast<const CpuLinear&>(table);
  parallel_for(static_cast<int64_t>(ids.size()), 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      weights.read_row(kernels(), ids[static_cast<size_t>(i)], row(out, i));
  });
}

}  // namespace gptq::cpu
