// The backend where there are libraries to do what is large.
#pragma once

#include <string>

#include "backend_support.h"
#include "base/log.h"
#include "cuda/math_library.h"
#include "test_libraries.h"

namespace gptq::cuda {

/// What is logged, from LogLevel::info on, as long as it lives.
class Logged {
 public:
  Logged() {
    set_log_level(LogLevel::info);
    set_log_sink([](void* to, int32_t, const char* text, int64_t) { *static_cast<std::string*>(to) += text; },
                 &text_);
  }
  Logged(const Logged&) = delete;
  Logged& operator=(const Logged&) = delete;
  ~Logged() { set_log_sink(nullptr, nullptr); }
  const std::string& text() const { return text_; }
  void clear() { text_.clear(); }

 private:
  std::string text_;
};

/// Libraries did what they were asked, where they are: else a test would compare the plugin's own kernels alone.
inline void expect_no_refusal(const Logged& logged) {
  for (const char* sign : {"gives status", "finds argument", "is not used from here on"})
    EXPECT_EQ(logged.text().find(sign), std::string::npos) << "in: " << logged.text();
  if (test::kLibrariesAreHere) {
    EXPECT_EQ(logged.text().find("is not used"), std::string::npos) << "in: " << logged.text();
  }
}

/// Whether a test of a library that is not ready is to be skipped: it is nowhere. One that was found must be of use.
inline bool is_nowhere(MathLibrary& library) { return !test::kLibrariesAreHere && library.name().empty(); }

class LibraryBackendTest : public BackendTest {
 protected:
  LibraryBackendTest() : BackendTest(test::some_libraries()) {}

  /// From here on the device has these.
  void use(LibraryNames names) {
    stream_.reset();
    backend_.reset();
    state_.libraries = std::move(names);
    backend_ = create_cuda_backend(create_host_device(state_), {.threads = 1, .compute = Compute::fast});
    stream_ = backend_->create_stream(&cancel_);
  }

  Logged logged_;
};

}  // namespace gptq::cuda
