// Stream::quantize_rows() by the ops that it consists of, each of which takes rows from the host's memory and gives them back.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>
#include <optional>
#include <vector>

#include "backend/backend.h"
#include "base/parallel.h"

namespace gptq {

/// For each i the place, in order, of the column that is refined as i-th.
inline std::vector<int32_t> places_of_refined(const RowsProblem& p) {
  std::vector<int32_t> place(p.order.size()), places(p.order.size());
  for (size_t i = 0; i < place.size(); ++i) place[static_cast<size_t>(p.order[i])] = static_cast<int32_t>(i);
  for (size_t i = 0; i < places.size(); ++i) places[i] = place[static_cast<size_t>(p.refine_order[i])];
  return places;
}

/// What quantize_rows() returns.
inline std::optional<int64_t> first_not_finite(const RowsProblem& p) {
  std::vector<float> row(static_cast<size_t>(p.cols));
  for (int64_t r = 0; r < p.rows; ++r) {
    to_float(p.weights, r * p.cols, p.cols, row.data());
    for (const int32_t column : p.order) {
      if (!std::isfinite(row[static_cast<size_t>(column)])) return r * p.cols + column;
    }
  }
  return std::nullopt;
}

/// Weights in the order of processing; whether all are numbers.
inline bool gather_rows(const ParallelFor& parallel_for, const RowsProblem& p, float* out) {
  std::atomic<bool> finite = true;
  parallel_for(p.rows, 16, [&](int64_t begin, int64_t end) {
    std::vector<float> row(static_cast<size_t>(p.cols));
    for (int64_t r = begin; r < end; ++r) {
      to_float(p.weights, r * p.cols, p.cols, row.data());
      float* to = out + r * p.cols;
      bool all = true;
      for (const int32_t column : p.order) {
        const auto c = static_cast<size_t>(column);
        all = all && std::isfinite(row[c]);
        *to++ = !p.dropped.empty() && p.dropped[c] != 0 ? 0.0f : row[c];
      }
      if (!all) finite = false;
    }
  });
  return finite;
}

/// Codes from the order of processing into that of the matrix.
inline void scatter_codes(const ParallelFor& parallel_for, const RowsProblem& p) {
  parallel_for(p.rows, 16, [&](int64_t begin, int64_t end) {
    std::vector<uint8_t> row(static_cast<size_t>(p.cols));
    for (int64_t r = begin; r < end; ++r) {
      uint8_t* const codes = p.codes + r * p.cols;
      std::copy_n(codes, p.cols, row.begin());
      for (size_t i = 0; i < row.size(); ++i) codes[p.order[i]] = row[i];
    }
  });
}

inline std::optional<int64_t> rows_by_ops(Stream& stream, const ParallelFor& parallel_for,
                                          const Hessian& hessian, const Factor* factor,
                                          const RowsProblem& p) {
  std::vector<float> weights(static_cast<size_t>(p.rows * p.cols)), target;
  if (!gather_rows(parallel_for, p, weights.data())) return first_not_finite(p);
  if (p.drifts != nullptr)
    stream.retarget(*factor, *p.drifts, p.parts, p.order, p.first_row, p.rows, weights.data());
  p.moved();
  const bool refines = p.refine.sweeps > 0;
  if (refines) target = weights;
  SolveProblem solving{.rows = p.rows,
                       .cols = p.cols,
                       .groups = p.groups,
                       .weights = weights.data(),
                       .group_of = p.group_of.data(),
                       .codes = p.codes,
                       .scales = p.scales,
                       .zeros = p.zeros,
                       .row_loss = p.row_loss};
  stream.solve(factor, p.solve, solving);
  weights = {};
  p.solved();
  if (refines && std::isfinite(std::accumulate(p.row_loss, p.row_loss + p.rows, 0.0))) {
    const std::vector<int32_t> places = places_of_refined(p);
    RefineProblem refining{.rows = p.rows,
                           .cols = p.cols,
                           .target = target.data(),
                           .group_of = p.refine_group_of.data(),
                           .stored = places.data(),
                           .codes = p.codes,
                           .scales = p.scales,
                           .zeros = p.zeros,
                           .row_loss = p.row_loss};
    stream.refine(hessian, p.refine_order, p.refine_diagonal_add, p.refine, refining);
  }
  scatter_codes(parallel_for, p);
  return std::nullopt;
}

}  // namespace gptq
