// What a step of generation takes the device and the host, begun as a graph and op by op.
#pragma once

#include <memory>

#include "cuda/runtime.h"
#include "report.h"

namespace gptq::cuda {

void measure_steps(const std::shared_ptr<Device>& device, test::Report& report);

}  // namespace gptq::cuda
