// GPTQ of one weight matrix in host memory.
#pragma once

#include "backend/backend.h"
#include "cpu/factor.h"
#include "cpu/workers.h"

namespace gptq::cpu {

/// As Stream::solve(); `factor` may be null.
void solve_columns(const Workers& workers, const CpuFactor* factor, const SolveParams& params,
                   SolveProblem& problem);

}  // namespace gptq::cpu
