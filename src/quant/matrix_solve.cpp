#include "quant/matrix_solve.h"

#include <algorithm>
#include <utility>

#include "quant/module_report.h"

namespace gptq {
namespace {

/// Fewer rows would not pay for what is done once for all of them.
constexpr int64_t kFewestRows = 1024;

/// Rows [first, first + part.rows) of the whole.
void put_rows(const QTensor& part, int64_t first, QTensor& whole) {
  std::copy(part.codes.begin(), part.codes.end(), whole.codes.begin() + first * whole.cols);
  for (int64_t g = 0; g < whole.groups; ++g) {
    std::copy_n(part.scales.begin() + g * part.rows, part.rows,
                whole.scales.begin() + g * whole.rows + first);
    std::copy_n(part.zeros.begin() + g * part.rows, part.rows, whole.zeros.begin() + g * whole.rows + first);
  }
}

void put_rows(SolveResult part, int64_t first, int64_t rows, SolveResult& whole) {
  if (part.q.rows == rows) {
    whole = std::move(part);
    return;
  }
  QTensor& q = whole.q;
  if (first == 0) {
    q = {.bits = part.q.bits, .rows = rows, .cols = part.q.cols, .groups = part.q.groups};
    q.codes.resize(static_cast<size_t>(rows * q.cols));
    q.scales.resize(static_cast<size_t>(rows * q.groups));
    q.zeros.resize(q.scales.size());
    q.group_of = part.q.group_of;
  }
  put_rows(part.q, first, q);
  whole.loss += part.loss;
  whole.damp = std::max(whole.damp, part.damp);
  if (part.method == SolveResult::Method::rounded) whole.method = part.method;
  if (!part.note.empty()) whole.note = std::move(part.note);
}

}  // namespace

int64_t rows_together(int64_t inputs, int64_t weights_together) {
  return std::max(kFewestRows, weights_together / std::max<int64_t>(inputs, 1));
}

SolvedMatrix solve_matrix(Stream& stream, const Hessian& hessian, Solver& solver, const MatrixRows& matrix,
                          Drifts* last) {
  const int64_t cols = hessian.size();
  const SampledRows sampled(matrix.rows);
  std::vector<float> sample(static_cast<size_t>(sampled.count * cols));
  SolveResult whole;
  int64_t next = 0;  // of the sampled rows
  for (int64_t first = 0; first < matrix.rows; first += matrix.together) {
    const int64_t count = std::min(matrix.together, matrix.rows - first);
    const Tensor values = matrix.read(first, count);
    for (; next < sampled.count && sampled.at(next) < first + count; ++next) {
      to_float(values, (sampled.at(next) - first) * cols, cols, sample.data() + next * cols);
    }
    if (last != nullptr && first + count == matrix.rows) solver.end_with_next(std::move(*last));
    put_rows(solver.quantize(values, matrix.name, first), first, matrix.rows, whole);
  }
  return {.result = std::move(whole), .energy = output_energy(stream, hessian, sample, sampled)};
}

}  // namespace gptq
