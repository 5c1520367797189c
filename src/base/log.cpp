#include "base/log.h"

#include <atomic>
#include <mutex>
#include <string>

namespace gptq {
namespace {

std::mutex sink_mutex;
LogSink current_sink = nullptr;
void* current_user_data = nullptr;
std::atomic<int32_t> current_level{static_cast<int32_t>(LogLevel::warning)};

}  // namespace

void set_log_sink(LogSink sink, void* user_data) {
  const std::lock_guard lock(sink_mutex);
  current_sink = sink;
  current_user_data = user_data;
}

void set_log_level(LogLevel level) { current_level = static_cast<int32_t>(level); }

void log(LogLevel level, std::string_view text) {
  if (static_cast<int32_t>(level) > current_level.load(std::memory_order_relaxed)) return;
  LogSink sink;
  void* user_data;
  {
    const std::lock_guard lock(sink_mutex);
    sink = current_sink;
    user_data = current_user_data;
  }
  if (sink == nullptr) return;
  const std::string terminated(text);
  sink(user_data, static_cast<int32_t>(level), terminated.c_str(), static_cast<int64_t>(terminated.size()));
}

}  // namespace gptq
