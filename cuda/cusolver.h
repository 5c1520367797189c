// cuSOLVER for one queue, where it is installed (math_library.h): Cholesky factors in fp32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "cuda/math_library.h"
#include "cuda/runtime.h"

namespace gptq::cuda {

class Cusolver final : public LibraryUser {
 public:
  /// `queue` outlives it.
  Cusolver(std::shared_ptr<MathLibrary> library, std::shared_ptr<Device> device, DeviceQueue& queue);
  ~Cusolver() override { stop(); }

  /// done: L is in the place of A, if a number that is not finite did not go unnoticed; refused: cuSOLVER does not do it, and
  /// what is in A means nothing. Throws where an earlier fault of the device was in the way.
  enum class Outcome : uint8_t { done, not_positive_definite, refused };
  /// A [n, n] = L L^T, row-major, of which what is on and below the diagonal is read and written. Waits until it is done.
  Outcome factor(float* a, int64_t n);

 private:
  /// In the order of their names in cusolver.cpp.
  struct Functions {
    int (*create)(void** handle);
    int (*destroy)(void* handle);
    int (*set_stream)(void* handle, void* stream);
    int (*create_parameters)(void** parameters);
    int (*destroy_parameters)(void* parameters);
    int (*factor_bytes)(void* handle, void* parameters, int triangle, int64_t n, int type, const void* a,
                        int64_t lda, int compute_type, size_t* on_device, size_t* on_host);
    int (*factor)(void* handle, void* parameters, int triangle, int64_t n, int type, void* a, int64_t lda,
                  int compute_type, void* on_device, size_t device_bytes, void* on_host, size_t host_bytes,
                  int* info);
  };

  bool make() override;
  bool close() noexcept override;
  void refused(const char* function, int status);

  std::shared_ptr<Device> device_;
  Functions functions_{};
  void *handle_ = nullptr, *parameters_ = nullptr;
};

}  // namespace gptq::cuda
