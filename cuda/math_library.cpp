#include "cuda/math_library.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <new>

#include "base/text.h"

namespace gptq::cuda {
namespace {

constexpr int kMostFailures = 3;  // one after the other

std::atomic<bool> at_exit = false;

struct Close {
  void operator()(void* library) const { dlclose(library); }
};
using Opened = std::unique_ptr<void, Close>;

struct Found {
  Opened library;  // null: none
  std::vector<void*> addresses;
};

void add(std::string& why, const std::string& reason) { why += cat(why.empty() ? "" : "; ", reason); }

Found try_name(const std::string& name, std::span<const char* const> functions, std::string& why) {
  Found found{.library = Opened(dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL)), .addresses = {}};
  if (!found.library) {
    const char* const error = dlerror();
    add(why, error != nullptr ? error : cat(name, " can't be opened"));
    return {};
  }
  // What is registered last is called first: before the library's own destructors, so that none of its functions is called
  // after them, as a host's static object would that is destroyed later still.
  if (std::atexit([] { at_exit = true; }) != 0) throw std::bad_alloc();
  found.addresses.reserve(functions.size());
  for (const char* function : functions) {
    void* const address = dlsym(found.library.get(), function);
    if (address == nullptr) {
      add(why, cat(name, " has no ", function));
      return {};
    }
    found.addresses.push_back(address);
  }
  return found;
}

}  // namespace

MathLibrary::MathLibrary(std::string title, std::vector<std::string> names)
    : title_(std::move(title)), names_(std::move(names)) {}

bool MathLibrary::is_at_exit() { return at_exit; }

/// Nothing has changed where memory ends on the way.
MathLibrary::Message MathLibrary::look(std::span<const char* const> functions) {
  std::string why;
  for (const std::string& name : names_) {
    Found found = try_name(name, functions, why);
    if (!found.library) continue;
    std::string copy = name;
    Message message{LogLevel::debug, cat(title_, " is used: ", name)};
    name_.swap(copy);
    addresses_.swap(found.addresses);
    static_cast<void>(found.library.release());
    tried_ = true;
    return message;
  }
  Message message;
  if (!why.empty())
    message = {LogLevel::info, cat(title_, " is not used, but the plugin's own kernels: ", why)};
  tried_ = true;
  return message;
}

bool MathLibrary::open(std::span<const char* const> functions, void** addresses) {
  Message message;
  std::unique_lock lock(mutex_);
  if (!tried_) message = look(functions);
  const bool is_there = !addresses_.empty() && !given_up_;
  if (is_there) std::copy(addresses_.begin(), addresses_.end(), addresses);
  lock.unlock();  // who is told may ask back
  if (!message.text.empty()) log(message.level, message.text);
  return is_there;
}

std::string MathLibrary::name() {
  const std::lock_guard lock(mutex_);
  return name_;
}

void MathLibrary::give_up(const std::string& why) {
  if (!given_up_.exchange(true))
    log(LogLevel::warning, cat(title_, " is not used from here on, but the plugin's own kernels: ", why));
}

bool LibraryUser::is_ready() {
  if (!ready_ && goes_on()) {
    close();  // what an exception has left
    ready_ = make();
    if (!ready_) close();
  }
  if (!goes_on()) {
    ready_ = false;
    close();
  }
  return ready_;
}

bool LibraryUser::stop() noexcept {
  end();
  ready_ = false;
  if (!process_.is_this() || MathLibrary::is_at_exit()) return false;
  try {
    const Turn turn(queue_);
    return close();
  } catch (const std::exception&) {
    return false;  // the device is gone, and what is on it
  }
}

bool LibraryUser::open(std::span<const char* const> functions, void** addresses) {
  goes_on_ = goes_on_ && library_->open(functions, addresses);
  return goes_on_;
}

void LibraryUser::refused(Refusal refusal, const std::string& why) {
  queue_.wait();
  if (refusal == Refusal::lasting) {
    library_->give_up(why);
  } else if (++failures_ == kMostFailures) {
    end();
    log(LogLevel::warning,
        cat(library_->title(), " is not asked by a stream any more, but the plugin's own kernels: ", why));
  } else if (failures_ == 1) {
    log(LogLevel::info,
        cat("for once ", library_->title(), " is not used, but the plugin's own kernels: ", why));
  }
  if (goes_on()) return;
  ready_ = false;
  close();
}

}  // namespace gptq::cuda
