#include "base/trace_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <span>

#include "base/error.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "base/positioned_io.h"
#include "base/system_text.h"
#include "base/text.h"

namespace gptq {
namespace {

constexpr size_t kBufferedBytes = 1 << 18;

/// Numbers of threads in the order in which they are seen: those of the system differ from run to run.
int64_t thread_number() {
  static std::atomic<int64_t> threads = 0;
  thread_local const int64_t number = ++threads;
  return number;
}

double microseconds(int64_t ns) { return static_cast<double>(ns) / 1e3; }

}  // namespace

std::shared_ptr<TraceFile> TraceFile::of_environment() {
  static std::mutex mutex;
  // never destroyed: threads of the host may outlive what the library has at exit
  static auto* const file = new std::shared_ptr<TraceFile>;
  const std::lock_guard lock(mutex);
  if (*file) return *file;
  const char* const path = std::getenv("GPTQ_TRACE");
  if (path && *path) *file = std::make_shared<TraceFile>(path);
  return *file;
}

TraceFile::TraceFile(const fs::path& path)
    : path_(path),
      file_(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)),
      buffer_("[\n") {
  if (file_.get() < 0) fail_at(path, "write the trace that GPTQ_TRACE asks for", errno);
}

TraceFile::~TraceFile() { flush(); }

int64_t TraceFile::now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void TraceFile::add(std::string_view name, int64_t begin_ns, int64_t end_ns, std::string_view args) {
  JsonWriter event;
  event.begin_object();
  event.member("name", name);
  event.member("ph", "X");
  event.member("pid", static_cast<int64_t>(::getpid()));
  event.member("tid", thread_number());
  event.member("ts", microseconds(begin_ns));
  event.member("dur", microseconds(end_ns - begin_ns));
  event.key("args");
  event.json(args);
  event.end_object();
  const std::string text = event.take();
  const std::lock_guard lock(mutex_);
  if (file_.get() < 0) return;
  buffer_.append(text).append(",\n");
  if (buffer_.size() >= kBufferedBytes) write_out();
}

void TraceFile::flush() {
  const std::lock_guard lock(mutex_);
  write_out();
}

void TraceFile::write_out() {
  if (file_.get() < 0 || buffer_.empty()) return;
  try {
    write_all(path_, file_, written_, std::as_bytes(std::span(buffer_)));
    written_ += buffer_.size();
    buffer_.clear();
  } catch (const Error& error) {
    log(LogLevel::warning, cat("no more is traced: ", error.what()));
    file_ = Descriptor();
    buffer_ = {};
  }
}

}  // namespace gptq
