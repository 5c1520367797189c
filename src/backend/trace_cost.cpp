#include "backend/trace_cost.h"

#include <algorithm>

namespace gptq {
namespace {

uint64_t product(std::initializer_list<int64_t> factors) {
  uint64_t all = 1;
  for (const int64_t factor : factors) all *= static_cast<uint64_t>(factor);
  return all;
}

/// Calls visit(rows) for each run of rows that belong to one sequence.
template <class Visit>
void for_each_sequence(std::span<const Row> rows, Visit visit) {
  for (size_t begin = 0, end; begin < rows.size(); begin = end) {
    end = begin + 1;
    while (end < rows.size() && rows[end].sequence == rows[begin].sequence) ++end;
    visit(rows.subspan(begin, end - begin));
  }
}

}  // namespace

uint64_t CostModel::bytes_of(Matrix x) const { return product({x.rows, x.cols}) * element_bytes_; }

OpCost CostModel::elementwise(std::initializer_list<Matrix> operands) const {
  OpCost cost{.rows = operands.begin()->rows};
  for (const Matrix& x : operands) cost.bytes += bytes_of(x);
  return cost;
}

OpCost CostModel::copy(Matrix x) const {
  return {.rows = x.rows, .bytes = bytes_of(x) + product({x.rows, x.cols}) * sizeof(float)};
}

OpCost CostModel::embed(const Linear& table, Matrix out) const {
  const uint64_t row_bytes = table.bytes() / static_cast<uint64_t>(table.out_features());
  return {.rows = out.rows, .bytes = product({out.rows}) * row_bytes + bytes_of(out)};
}

OpCost CostModel::linears(Matrix x, std::span<const Projection> projections) const {
  OpCost cost{.rows = x.rows, .bytes = bytes_of(x), .inputs = x.cols};
  for (const Projection& p : projections) {
    cost.outputs += p.w->out_features();
    cost.bytes += p.w->bytes() + bytes_of(p.y);
    cost.flops += 2 * product({x.rows, p.w->in_features(), p.w->out_features()});
  }
  return cost;
}

OpCost CostModel::linear_parts(Matrix x, const Routing& routing,
                               std::span<const PartsProjection> projections) const {
  OpCost cost{.rows = routing.entries, .inputs = x.cols};
  cost.bytes = bytes_of({x.data, cost.rows, x.cols});
  for (const PartsProjection& p : projections) {
    cost.outputs += p.y.cols;
    cost.bytes += bytes_of({p.y.data, cost.rows, p.y.cols});
    cost.flops += 2 * product({cost.rows, x.cols, p.y.cols});
    uint64_t read = 0, all = 0;
    for (int64_t e = 0; e < routing.experts; ++e) {
      const uint64_t bytes = p.w[static_cast<size_t>(e)]->bytes();
      all += bytes;
      if (routing.known() && routing.count(e) > 0) read += bytes;
    }
    const int64_t most = std::min(routing.entries, routing.experts);
    if (!routing.known() && most > 0)
      read = all / static_cast<uint64_t>(routing.experts) * static_cast<uint64_t>(most);
    cost.bytes += read;
  }
  return cost;
}

OpCost CostModel::attention(const AttentionParams& params, std::span<const Row> rows, Matrix q,
                            uint64_t position_bytes, Matrix out) const {
  OpCost cost{.rows = q.rows, .bytes = bytes_of(q) + bytes_of(out)};
  const int64_t dims = params.key_dim + params.value_dim;
  for_each_sequence(rows, [&](std::span<const Row> sequence) {
    int64_t first = sequence.front().position, last = 0;
    for (const Row& row : sequence) {
      const int64_t seen = params.first_seen(row.position);
      cost.flops += 2 * product({row.position + 1 - seen, params.heads, dims});
      first = std::min(first, seen);
      last = std::max<int64_t>(last, row.position);
    }
    cost.bytes += product({last + 1 - first}) * position_bytes;
  });
  return cost;
}

OpCost CostModel::delta_rule(const DeltaParams& params, std::span<const Row> rows,
                             std::initializer_list<Matrix> operands) const {
  OpCost cost = elementwise(operands);
  // of each state S: decay, k^T S, the update, q^T S
  const uint64_t row_flops = 7 * product({params.heads, params.key_dim, params.value_dim}) +
                             2 * product({params.kernel, params.channels()});
  cost.flops = product({cost.rows}) * row_flops;
  for_each_sequence(
      rows, [&](std::span<const Row>) { cost.bytes += 2 * product({params.state()}) * sizeof(float); });
  return cost;
}

OpCost CostModel::hessian_add(Matrix x) const {
  return {.rows = x.rows,
          .bytes = bytes_of(x) + 2 * product({x.cols, x.cols}) * sizeof(float),
          .flops = product({x.rows, x.cols, x.cols + 1}),  // one triangle
          .outputs = x.cols,
          .inputs = x.cols};
}

OpCost CostModel::drift_add(Matrix a0, Matrix a, Matrix x) const {
  return {.rows = x.rows,
          .bytes = bytes_of(a0) + bytes_of(a) + bytes_of(x) + 2 * product({a.cols, x.cols}) * sizeof(float),
          .flops = 2 * product({x.rows, a.cols, x.cols}),
          .outputs = a.cols,
          .inputs = x.cols};
}

OpCost CostModel::factor(int64_t size) const {
  // Cholesky of the mirrored matrix, then the inverse of a triangle: n^3 / 3 each
  return {.rows = size,
          .bytes = 2 * product({size, size}) * sizeof(float),
          .flops = 2 * product({size, size, size}) / 3,
          .outputs = size,
          .inputs = size};
}

OpCost CostModel::retarget(const Drifts& drifts, int64_t rows, int64_t size) const {
  OpCost cost{.rows = rows, .outputs = rows, .inputs = size};
  cost.bytes = (2 * product({rows, size}) + product({size, size}) / 2) * sizeof(float);
  // two products with triangles, and W D
  cost.flops = 2 * product({rows, size, size});
  if (drifts.inputs) {
    cost.bytes += product({size, size}) * sizeof(float);
    cost.flops += 2 * product({rows, size, size});
  }
  if (drifts.residual) cost.bytes += product({rows, size}) * sizeof(float);
  return cost;
}

OpCost CostModel::spread_drift(int64_t size) const {
  return {.rows = size,
          .bytes = 3 * product({size, size}) * sizeof(float),
          .flops = 2 * product({size, size, size}),
          .outputs = size,
          .inputs = size};
}

OpCost CostModel::solve(bool feedback, int64_t rows, int64_t cols) const {
  OpCost cost{
      .rows = rows, .bytes = 2 * product({rows, cols}) * sizeof(float), .outputs = rows, .inputs = cols};
  if (feedback) {
    cost.bytes += product({cols, cols}) / 2 * sizeof(float);
    cost.flops = product({rows, cols, cols});
  }
  return cost;
}

OpCost CostModel::refine(int sweeps, int64_t rows, int64_t cols) const {
  // (W - Q) H once, then of each sweep the changes times H
  const uint64_t passes = static_cast<uint64_t>(sweeps) + 1;
  return {.rows = rows,
          .bytes = passes * (product({cols, cols}) + 2 * product({rows, cols})) * sizeof(float),
          .flops = passes * 2 * product({rows, cols, cols}),
          .outputs = rows,
          .inputs = cols};
}

}  // namespace gptq
