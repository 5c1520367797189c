// What libgptq-cuda.so exports.
#include "backend/plugin.h"

#include "cuda/backend_cuda.h"
#include "cuda/runtime.h"

namespace {

std::shared_ptr<const gptq::Backend> create(int device, const gptq::BackendOptions& options) {
  return gptq::cuda::create_cuda_backend(gptq::cuda::open_device(device), options);
}

constexpr gptq::PluginTable kTable{gptq::kPluginInterface, GPTQ_VERSION_TEXT, gptq::cuda::check_device,
                                   create};

}  // namespace

extern "C" GPTQ_PLUGIN_EXPORT const gptq::PluginTable* gptq_plugin() { return &kTable; }
