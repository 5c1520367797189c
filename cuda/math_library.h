// A library of NVIDIA's that is opened at run time where it is installed: nothing is linked with it, and what it would be asked
// has kernels of the plugin's own. One for all streams of a backend; any thread.
#pragma once

#include <atomic>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace gptq::cuda {

class MathLibrary {
 public:
  /// `title` is for the log. Of `names`, as dlopen() takes them, the first counts that has all that is asked of it; without
  /// any there is none, and nothing is said of that.
  MathLibrary(std::string title, std::vector<std::string> names);

  /// Addresses of `functions`, which are the same in each call, in their order; false where the library is not there, or was
  /// given up. The first call opens it, which may take a second. It stays open as long as the process: such libraries have
  /// threads of their own, and a driver knows of their code.
  bool open(std::span<const char* const> functions, void** addresses);
  /// It is not asked again by anyone; the log says once why.
  void give_up(const std::string& why);
  bool is_given_up() const { return given_up_; }
  /// Of what is open; "" where nothing is.
  std::string name();

 private:
  bool try_name(const std::string& name, std::span<const char* const> functions, std::string& why);

  const std::string title_;
  const std::vector<std::string> names_;
  std::mutex mutex_;
  bool tried_ = false;
  std::string name_;
  std::vector<void*> addresses_;  // none: it is not there
  std::atomic<bool> given_up_ = false;
};

}  // namespace gptq::cuda
