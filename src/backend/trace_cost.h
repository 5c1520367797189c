// What ops read and write and compute, counted from their operands alone: each operand once, as if caches held everything
// within an op and nothing between two.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>

#include "backend/backend.h"

namespace gptq {

struct OpCost {
  int64_t rows = 0;
  uint64_t bytes = 0;
  /// Multiplications and additions of products, attention and solvers; 0 for what goes element by element.
  uint64_t flops = 0;
  int64_t outputs = 0, inputs = 0;  // of a matrix of weights or a system, where there is one
};

class CostModel {
 public:
  /// Of activations of so many bytes an element.
  explicit CostModel(size_t element_bytes) : element_bytes_(element_bytes) {}

  OpCost elementwise(std::initializer_list<Matrix> operands) const;
  OpCost copy(Matrix x) const;  // from or to floats of the host
  OpCost embed(const Linear& table, Matrix out) const;
  OpCost linears(Matrix x, std::span<const Projection> projections) const;
  /// Of the Linears those that have rows; where the host does not know which, as many as there are entries, of the mean size.
  OpCost linear_parts(Matrix x, const Routing& routing, std::span<const PartsProjection> projections) const;
  /// Of the cache what any row of a sequence sees, once.
  OpCost attention(const AttentionParams& params, std::span<const Row> rows, Matrix q,
                   uint64_t position_bytes, Matrix out) const;
  OpCost delta_rule(const DeltaParams& params, std::span<const Row> rows,
                    std::initializer_list<Matrix> operands) const;

  OpCost hessian_add(Matrix x) const;
  OpCost drift_add(Matrix a0, Matrix a, Matrix x) const;
  OpCost factor(int64_t size) const;
  OpCost retarget(const Drifts& drifts, int64_t rows, int64_t size) const;
  OpCost spread_drift(int64_t size) const;
  OpCost solve(bool feedback, int64_t rows, int64_t cols) const;
  OpCost refine(int sweeps, int64_t rows, int64_t cols) const;

 private:
  uint64_t bytes_of(Matrix x) const;

  size_t element_bytes_;
};

}  // namespace gptq
