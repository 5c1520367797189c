// The backend where there are libraries to do what is large.
#pragma once

#include "backend_support.h"
#include "test_libraries.h"

namespace gptq::cuda {

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
};

}  // namespace gptq::cuda
