// What libgptq-cuda.so exports.
#include "backend/plugin.h"

#include "cuda/backend_cuda.h"
#include "cuda/runtime.h"

namespace {

std::shared_ptr<const gptq::Backend> create(int device, const gptq::BackendOptions& options) {
  return gptq::cuda::create_cuda_backend(gptq::cuda::open_device(device), options);
}

/// Levels are for the sink to choose from.
void log_to(gptq::LogSink sink) {
  gptq::set_log_level(gptq::LogLevel::debug);
  gptq::set_log_sink(sink, nullptr);
}

constexpr gptq::PluginTable kTable{gptq::kPluginInterface, GPTQ_VERSION_TEXT, gptq::cuda::check_device,
                                   create, log_to};

}  // namespace

extern "C" GPTQ_PLUGIN_EXPORT const gptq::PluginTable* gptq_plugin() { return &kTable; }
