// Device name -> backend.
#include "backend/backend.h"
#include "base/error.h"
#include "base/text.h"

namespace gptq {

std::shared_ptr<const Backend> create_backend(std::string_view device, const BackendOptions& options) {
  if (device.empty() || device == "cpu") return create_cpu_backend(options);
  throw Error(Status::unsupported, cat("device ", quoted(device), " is not known, wanted 'cpu'"));
}

}  // namespace gptq
