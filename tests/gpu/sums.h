// What the quantizer asks of the device, by the plugin's kernels and by NVIDIA's libraries where they are.
#pragma once

#include <cstdint>
#include <memory>

#include "cuda/runtime.h"
#include "report.h"

namespace gptq::cuda {

/// X^T X of `size` inputs over 4,096 rows.
void measure_sums(const std::shared_ptr<Device>& device, int64_t size, test::Report& report);
/// The Cholesky factor of such a Hessian, and all of factor.cu with it.
void measure_factors(const std::shared_ptr<Device>& device, int64_t size, test::Report& report);

}  // namespace gptq::cuda
