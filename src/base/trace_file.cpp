#include "base/trace_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
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
constexpr int64_t kBufferedNs = 500'000'000;

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
  const char* const path = ::secure_getenv("GPTQ_TRACE");
  if (path && *path) *file = std::make_shared<TraceFile>(path);
  return *file;
}

TraceFile::TraceFile(const fs::path& path)
    : path_(path),
      process_(::getpid()),
      file_(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644)),
      buffer_("[\n"),
      last_write_ns_(now()) {
  const auto fail = [&](int error) { fail_at(path_, "write the trace that GPTQ_TRACE asks for", error); };
  if (file_.get() < 0) fail(errno);
  if (::lseek(file_.get(), 0, SEEK_SET) < 0) fail(errno);
  struct stat about {};
  if (::fstat(file_.get(), &about) != 0) fail(errno);
  if (!S_ISREG(about.st_mode)) return;  // /dev/null
  if (::flock(file_.get(), LOCK_EX | LOCK_NB) != 0) fail(errno == EWOULDBLOCK ? EBUSY : errno);
  if (::ftruncate(file_.get(), 0) != 0) fail(errno);
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
  const std::string text = event.take().append(",\n");
  Lock lock(mutex_);
  if (file_.get() < 0 || ::getpid() != process_) return;
  buffer_ += text;
  if (buffer_.size() >= kBufferedBytes || end_ns - last_write_ns_ >= kBufferedNs) write_out(std::move(lock));
}

void TraceFile::flush() noexcept {
  Lock lock(mutex_);
  if (::getpid() == process_) write_out(std::move(lock));
}

void TraceFile::write_out(Lock lock) noexcept {
  if (file_.get() < 0 || buffer_.empty()) return;
  last_write_ns_ = now();
  try {
    write_all(path_, file_, written_, std::as_bytes(std::span(buffer_)));
    written_ += buffer_.size();
    buffer_.clear();
  } catch (const std::exception& error) {
    file_ = Descriptor();
    buffer_.clear();
    lock.unlock();  // the host's function may come back here
    try {
      log(LogLevel::warning, cat("no more is traced: ", error.what()));
    } catch (...) {  // no memory for a message
    }
  }
}

}  // namespace gptq
