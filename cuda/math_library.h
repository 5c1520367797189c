// A library of NVIDIA's that is opened at run time where it is installed: nothing is linked with it, and what it would be asked
// has kernels of the plugin's own. One for all streams of a backend; any thread. LibraryUse is how one of the streams fares
// with it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"

namespace gptq::cuda {

class MathLibrary {
 public:
  /// `title` is for the log. Of `names`, as dlopen() takes them, the first counts that has all that is asked of it; without
  /// any there is none, and nothing is said of that.
  MathLibrary(std::string title, std::vector<std::string> names);

  const std::string& title() const { return title_; }
  /// Addresses of `functions`, which are the same in each call, in their order; false where the library is not there, or was
  /// given up. The first call opens it, which may take a second. It stays open as long as the process: such libraries have
  /// threads of their own, and a driver knows of their code.
  bool open(std::span<const char* const> functions, void** addresses);
  /// It is not asked again by anyone; the log says once why.
  void give_up(const std::string& why);
  bool is_given_up() const { return given_up_; }
  /// Of what is open; "" where nothing is.
  std::string name();
  /// The process ends: what was opened may be torn down, and is not to be called any more.
  static bool is_at_exit();

 private:
  struct Message {
    LogLevel level = LogLevel::debug;
    std::string text;
  };
  /// The first that is of use; what the log is to say.
  Message look(std::span<const char* const> functions);

  const std::string title_;
  const std::vector<std::string> names_;
  std::mutex mutex_;
  bool tried_ = false;
  std::string name_;
  std::vector<void*> addresses_;  // none: it is not there
  std::atomic<bool> given_up_ = false;
};

/// One stream's use of a library. What is refused in passing, as where memory is short, is this stream's alone: it goes on
/// without for that one time, and for good after some in a row.
class LibraryUse {
 public:
  explicit LibraryUse(std::shared_ptr<MathLibrary> library) : library_(std::move(library)) {}

  /// Whether it is to be asked.
  bool goes_on() const { return goes_on_ && !library_->is_given_up(); }
  /// As MathLibrary::open(); false ends the use.
  bool open(std::span<const char* const> functions, void** addresses);
  void end() { goes_on_ = false; }

  /// lasting: no stream asks it again, as each would be refused.
  enum class Refusal : uint8_t { in_passing, lasting };
  void refused(Refusal refusal, const std::string& why);
  void worked() { failures_ = 0; }

 private:
  std::shared_ptr<MathLibrary> library_;
  bool goes_on_ = true;
  int failures_ = 0;  // one after the other
};

}  // namespace gptq::cuda
