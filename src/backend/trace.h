// A backend that writes down what its streams do: each op with its time, bytes and FLOPs (base/trace_file.h).
#pragma once

#include <memory>

#include "backend/backend.h"
#include "base/trace_file.h"

namespace gptq {

/// `backend`, traced. Times are those that an op keeps its caller: of a GPU, that of issuing it.
std::shared_ptr<const Backend> trace(std::shared_ptr<const Backend> backend, std::shared_ptr<TraceFile> file);

}  // namespace gptq
