// A library of NVIDIA's that is opened at run time where it is installed: nothing is linked with it, and what it would be asked
// has kernels of the plugin's own. One for all streams of a backend; any thread. LibraryUser is what one of the streams
// has of it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "cuda/process.h"
#include "cuda/queue.h"

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

/// One stream's use of a library, by handles of its own; all in a Turn but stop(). What is refused in passing, as where memory is
/// short, is this stream's alone: it goes on without for that one time, and for good after some in a row.
class LibraryUser {
 public:
  LibraryUser(const LibraryUser&) = delete;
  LibraryUser& operator=(const LibraryUser&) = delete;

  /// Whether the library is to be asked; the first call makes handles.
  bool is_ready();
  /// This stream asks it no more, and what it has for that is given back; whether that was anything.
  bool stop() noexcept;

 protected:
  /// `queue` outlives it.
  LibraryUser(std::shared_ptr<MathLibrary> library, DeviceQueue& queue)
      : library_(std::move(library)), queue_(queue) {}
  virtual ~LibraryUser() = default;  // who derives from it calls stop() in its own: close() is theirs

  /// Handles that are ready for the queue; false where that was refused(), or there is no library, or end() was called.
  virtual bool make() = 0;
  /// Gives back what make() has made, or a part of it; whether that was anything. At exit handles are left as they are.
  virtual bool close() noexcept = 0;

  /// `functions`, pointers alone, in the order of `names`; false where the library is not there.
  template <class Functions, size_t n>
  bool open(const char* const (&names)[n], Functions& functions) {
    static_assert(sizeof(Functions) == n * sizeof(void*));
    if (opened_) return true;
    void* addresses[n];
    if (!open(std::span(names), addresses)) return false;
    std::memcpy(&functions, addresses, sizeof functions);
    return opened_ = true;
  }

  /// lasting: no stream asks it again, as each would be refused.
  enum class Refusal : uint8_t { in_passing, lasting };
  /// What waiting for the queue throws is the reason then, and not the library. Closes what is of no more use.
  void refused(Refusal refusal, const std::string& why);
  void worked() { failures_ = 0; }
  void end() { goes_on_ = false; }
  DeviceQueue& queue() const { return queue_; }

 private:
  bool goes_on() const { return goes_on_ && !library_->is_given_up(); }
  bool open(std::span<const char* const> functions, void** addresses);

  std::shared_ptr<MathLibrary> library_;
  DeviceQueue& queue_;
  Process process_;
  bool goes_on_ = true, opened_ = false, ready_ = false;
  int failures_ = 0;  // one after the other
};

}  // namespace gptq::cuda
