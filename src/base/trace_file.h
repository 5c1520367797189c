// What the process did and when, as a file in the Trace Event Format (JSON) that chrome://tracing and Perfetto open.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/descriptor.h"
#include "base/file.h"

namespace gptq {

class TraceFile {
 public:
  /// The file that the environment variable GPTQ_TRACE names, made anew by the first call of the process that finds it set;
  /// null where it is not, and for programs that run with more rights than their caller. Later calls give the same.
  static std::shared_ptr<TraceFile> of_environment();

  /// Makes the file anew. Fault::io, also for a pipe, and while another process writes it.
  explicit TraceFile(const fs::path& path);
  TraceFile(const TraceFile&) = delete;
  TraceFile& operator=(const TraceFile&) = delete;
  ~TraceFile();

  /// Nanoseconds of a clock that only goes forward.
  static int64_t now();
  /// Something with a begin and an end, of the calling thread. `args` is a JSON object. Any thread; of a forked child nothing
  /// is written. What is not written yet goes out every half second that something is added.
  void add(std::string_view name, int64_t begin_ns, int64_t end_ns, std::string_view args);
  /// Writes out what is in memory. The file is whole then but for its closing bracket, which readers do not need. An error
  /// ends the trace, with a warning in the log.
  void flush() noexcept;

 private:
  using Lock = std::unique_lock<std::mutex>;
  void write_out(Lock lock) noexcept;

  const fs::path path_;
  const int64_t process_;
  std::mutex mutex_;
  Descriptor file_;     // none after an error
  std::string buffer_;  // not written yet
  uint64_t written_ = 0;
  int64_t last_write_ns_;
};

}  // namespace gptq
