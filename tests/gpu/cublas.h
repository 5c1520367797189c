// cuBLAS, where it is installed, to be compared with: opened at run time, so that nothing needs it.
#pragma once

#include <dlfcn.h>

#include <cstddef>
#include <cstdint>

#include "cuda/kernels.h"

namespace gptq::cuda {

class Cublas {
 public:
  /// Its scratch memory, aligned to 256: with its own it would allocate while it is measured or captured.
  Cublas(void* workspace, size_t bytes) : workspace_(workspace), workspace_bytes_(bytes) {
    for (const char* name : {"libcublas.so.13", "/usr/local/cuda/lib64/libcublas.so.13", "libcublas.so.12",
                             "/usr/local/cuda/lib64/libcublas.so.12", "libcublas.so"}) {
      if (library_ != nullptr) break;
      library_ = dlopen(name, RTLD_NOW | RTLD_LOCAL);
      name_ = name;
    }
    if (library_ == nullptr) return;
    const auto create = symbol<int (*)(void**)>("cublasCreate_v2");
    set_stream_ = symbol<int (*)(void*, void*)>("cublasSetStream_v2");
    set_workspace_ = symbol<int (*)(void*, void*, size_t)>("cublasSetWorkspace_v2");
    multiply_ = symbol<Multiply>("cublasGemmEx");
    destroy_ = symbol<int (*)(void*)>("cublasDestroy_v2");
    if (create == nullptr || set_stream_ == nullptr || set_workspace_ == nullptr || multiply_ == nullptr ||
        destroy_ == nullptr || create(&handle_) != 0)
      handle_ = nullptr;
  }
  Cublas(const Cublas&) = delete;
  Cublas& operator=(const Cublas&) = delete;
  ~Cublas() {
    if (handle_ != nullptr) destroy_(handle_);
    if (library_ != nullptr) dlclose(library_);
  }

  bool is_there() const { return handle_ != nullptr; }
  /// What was opened, if it is there.
  const char* name() const { return name_; }

  /// y [rows, outputs] = x [rows, inputs] w^T, w [outputs, inputs], all in bf16. False if it refuses.
  bool multiply(const Queue& queue, const void* w, const void* x, void* y, int rows, int outputs,
                int inputs) const {
    constexpr int kPlain = 0, kTransposed = 1, kBf16 = 14, kFloat = 68, kDefault = -1;
    const float one = 1, zero = 0;
    // a stream that is set takes the workspace away
    return set_stream_(handle_, queue.stream) == 0 &&
           set_workspace_(handle_, workspace_, workspace_bytes_) == 0 &&
           multiply_(handle_, kTransposed, kPlain, outputs, rows, inputs, &one, w, kBf16, inputs, x, kBf16,
                     inputs, &zero, y, kBf16, outputs, kFloat, kDefault) == 0;
  }

 private:
  using Multiply = int (*)(void*, int, int, int, int, int, const void*, const void*, int, int, const void*,
                           int, int, const void*, void*, int, int, int, int);
  template <class F>
  F symbol(const char* name) const {
    return reinterpret_cast<F>(dlsym(library_, name));
  }

  void* workspace_;
  size_t workspace_bytes_;
  const char* name_ = "";
  void* library_ = nullptr;
  void* handle_ = nullptr;
  int (*set_stream_)(void*, void*) = nullptr;
  int (*set_workspace_)(void*, void*, size_t) = nullptr;
  Multiply multiply_ = nullptr;
  int (*destroy_)(void*) = nullptr;
};

}  // namespace gptq::cuda
