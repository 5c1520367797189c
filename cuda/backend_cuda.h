// The GPU as a Backend.
#pragma once

#include <memory>

#include "backend/backend.h"
#include "cuda/attention.h"
#include "cuda/runtime.h"

namespace gptq::cuda {

/// Throws Error(Status::unsupported) for Compute::exact: activations are bf16 here.
std::shared_ptr<const Backend> create_cuda_backend(std::shared_ptr<Device> device,
                                                   const BackendOptions& options,
                                                   const AttentionLimits& limits = {});

}  // namespace gptq::cuda
