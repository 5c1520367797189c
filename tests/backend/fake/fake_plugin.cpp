// Plugins for tests, by what GPTQ_FAKE is defined as: one that works, and some that must be refused.
#include "backend/fake_plugin.h"
#include "backend/plugin.h"
#include "base/error.h"

namespace {

using gptq::Error, gptq::Status;

// Devices: 0 is the CPU by another name; the others fail, each in its way.
void check(int device) {
  switch (device) {
    case kWorks: return;
    case kNoDriver: throw Error(Status::device, "no driver, says the fake");
    case kThrowsInt: throw 7;
    case kThrowsBadAlloc: throw std::bad_alloc();
    default: throw Error(Status::invalid_argument, "device 'cuda:N' is beyond the last, says the fake");
  }
}

int created = 0;

std::shared_ptr<const gptq::Backend> create(int device, const gptq::BackendOptions& options) {
  check(device);
  ++created;
  gptq::log(gptq::LogLevel::info, "a backend is made, says the fake");
  return gptq::create_cpu_backend(options);
}

void log_to(gptq::LogSink sink) {
  gptq::set_log_level(gptq::LogLevel::debug);
  gptq::set_log_sink(sink, nullptr);
}

}  // namespace

#if GPTQ_FAKE == GPTQ_FAKE_WITHOUT_ENTRY
extern "C" GPTQ_PLUGIN_EXPORT const gptq::PluginTable* gptq_plug() {
#else
extern "C" GPTQ_PLUGIN_EXPORT const gptq::PluginTable* gptq_plugin() {
#endif
#if GPTQ_FAKE == GPTQ_FAKE_NULL
  return nullptr;
#elif GPTQ_FAKE == GPTQ_FAKE_THROWS
  throw Error(Status::internal, "thrown where nothing may be thrown");
#endif
  static constexpr const char* kInterface =
      GPTQ_FAKE == GPTQ_FAKE_OTHER_BUILD ? "0123456789abcdef of long ago" : gptq::kPluginInterface;
  static constexpr gptq::PluginTable kTable{kInterface, "9.8.7", check, create, log_to};
  return &kTable;
}

extern "C" GPTQ_PLUGIN_EXPORT int gptq_fake_created() { return created; }
