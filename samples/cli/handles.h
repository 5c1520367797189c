// The library's handles as objects that free themselves, and its statuses as exceptions.
#pragma once

#include <gptq.h>

#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace cli {

/// Exit code 1.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Exit code 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Exit code 130.
struct Interrupted : std::runtime_error {
  explicit Interrupted(const std::string& more = "") : std::runtime_error("interrupted" + more) {}
};

/// Returns `status` when it is no failure; throws Interrupted or Failure with the library's message otherwise.
gptq_status check(gptq_status status);

template <auto Free>
struct Freer {
  template <typename T>
  void operator()(T* handle) const {
    Free(handle);
  }
};

using Buffer = std::unique_ptr<gptq_buffer, Freer<gptq_buffer_free>>;
using Model = std::unique_ptr<gptq_model, Freer<gptq_model_free>>;
using Session = std::unique_ptr<gptq_session, Freer<gptq_session_free>>;
using Quantizer = std::unique_ptr<gptq_quantizer, Freer<gptq_quantizer_free>>;

/// Calls a function whose last parameter is `Handle** out`, and owns what it gives.
template <typename Owner, typename Function, typename... Arguments>
Owner make(Function function, Arguments... arguments) {
  typename Owner::pointer out = nullptr;
  const gptq_status status = function(arguments..., &out);
  Owner owner(out);
  check(status);
  return owner;
}

class Options {
 public:
  Options() : handle_(make<Handle>(gptq_options_create)) {}
  void set(const char* key, int64_t value) { check(gptq_options_set_int(get(), key, value)); }
  void set(const char* key, double value) { check(gptq_options_set_float(get(), key, value)); }
  void set(const char* key, const std::string& value) {
    check(gptq_options_set_string(get(), key, value.c_str()));
  }
  /// A value from the command line: one that the library refuses is a UsageError that names the flag.
  template <typename Value>
  void set_from(const char* key, const Value& value) {
    try {
      set(key, value);
    } catch (const Failure& failure) {
      throw_usage(key, failure.what());
    }
  }
  gptq_options* get() const { return handle_.get(); }

 private:
  using Handle = std::unique_ptr<gptq_options, Freer<gptq_options_free>>;
  [[noreturn]] static void throw_usage(const char* key, const std::string& message);
  Handle handle_;
};

template <typename T>
std::span<const T> items(const Buffer& buffer) {
  return {static_cast<const T*>(gptq_buffer_data(buffer.get())),
          static_cast<size_t>(gptq_buffer_size(buffer.get())) / sizeof(T)};
}

std::string_view text_of(const Buffer& buffer);
int64_t number(const Model& model, const char* key);
std::string text(const Model& model, const char* key);
std::vector<int32_t> tokenize(const Model& model, std::string_view text, int32_t flags);

}  // namespace cli
