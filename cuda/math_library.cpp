#include "cuda/math_library.h"

#include <dlfcn.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/text.h"

namespace gptq::cuda {
namespace {

std::string error_of_loader() {
  const char* const error = dlerror();
  return error != nullptr ? error : "no reason is known";
}

}  // namespace

MathLibrary::MathLibrary(std::string title, std::vector<std::string> names)
    : title_(std::move(title)), names_(std::move(names)) {}

bool MathLibrary::try_name(const std::string& name, std::span<const char* const> functions,
                           std::string& why) {
  void* const library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    why += cat(why.empty() ? "" : "; ", error_of_loader());
    return false;
  }
  for (const char* function : functions) {
    void* const address = dlsym(library, function);
    if (address == nullptr) {
      why += cat(why.empty() ? "" : "; ", name, " has no ", function);
      addresses_.clear();
      dlclose(library);
      return false;
    }
    addresses_.push_back(address);
  }
  name_ = name;
  log(LogLevel::debug, cat(title_, " is used: ", name));
  return true;
}

bool MathLibrary::open(std::span<const char* const> functions, void** addresses) {
  const std::lock_guard lock(mutex_);
  if (!tried_) {
    tried_ = true;
    std::string why;
    const bool found = std::any_of(names_.begin(), names_.end(),
                                   [&](const std::string& name) { return try_name(name, functions, why); });
    if (!found && !why.empty())
      log(LogLevel::info, cat(title_, " is not used, but the plugin's own kernels: ", why));
  }
  if (addresses_.empty() || given_up_) return false;
  std::copy(addresses_.begin(), addresses_.end(), addresses);
  return true;
}

std::string MathLibrary::name() {
  const std::lock_guard lock(mutex_);
  return name_;
}

void MathLibrary::give_up(const std::string& why) {
  if (!given_up_.exchange(true))
    log(LogLevel::warning, cat(title_, " is not used from here on, but the plugin's own kernels: ", why));
}

}  // namespace gptq::cuda
