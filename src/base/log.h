// Messages for the host: silent unless it asked. Never writes to a file descriptor itself.
#pragma once

#include <cstdint>
#include <string_view>

namespace gptq {

enum class LogLevel : int32_t { error = 1, warning = 2, info = 3, debug = 4 };

using LogSink = void (*)(void* user_data, int32_t level, const char* text, int64_t length);

/// Any thread. A null sink silences.
void set_log_sink(LogSink sink, void* user_data);
void set_log_level(LogLevel level);
void log(LogLevel level, std::string_view text);

}  // namespace gptq
