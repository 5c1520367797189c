// GPTQ of one weight matrix in host memory.
#pragma once

#include "backend/backend.h"
#include "cpu/upper_panels.h"
#include "cpu/workers.h"

namespace gptq::cpu {

/// As Stream::solve(); `u` may be null.
void solve_columns(const Workers& workers, const UpperPanels* u, const SolveParams& params,
                   SolveProblem& problem);

}  // namespace gptq::cpu
