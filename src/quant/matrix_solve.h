// One weight matrix through the solver, some rows at a time: what is needed beside its Hessian does not grow with it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "quant/solver.h"

namespace gptq {

struct MatrixRows {
  std::string name;  // for messages
  int64_t rows = 0;
  int64_t together = 0;  // rows that are solved at a time; see rows_together()
  /// Rows [begin, begin + count), [count, inputs].
  std::function<Tensor(int64_t begin, int64_t count)> read;
};

struct SolvedMatrix {
  SolveResult result;
  double energy;  // output_energy()
};

/// So many, of so many inputs, that they have Backend::weights_together(), and that what is done once for all of them does not
/// count.
int64_t rows_together(int64_t inputs, int64_t weights_together);

/// `last`: no other matrix is solved by `solver`, which may let go of the drifts that it was made with; null where others
/// follow.
SolvedMatrix solve_matrix(Stream& stream, const Hessian& hessian, Solver& solver, const MatrixRows& matrix,
                          Drifts* last);

}  // namespace gptq
