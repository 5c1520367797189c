// cuBLAS for one queue, where it is installed (math_library.h): products of matrices of fp16 or bf16, with sums in fp32.
//
// Matrices are row-major here and column-major there: what is asked for is the transposed product of the transposed operands,
// so that nothing is moved.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "cuda/kernels.h"
#include "cuda/math_library.h"
#include "cuda/runtime.h"

namespace gptq::cuda {

/// Elements (i, j) of a matrix at data[i pitch + j], or where it is turned at data[j pitch + i].
struct BlasOperand {
  const void* data = nullptr;
  int64_t pitch = 0;
  Turned turned = Turned::no;
};

/// out [rows, cols] (+)= factor left [rows, depth] right [depth, cols]; none of the sizes is 0.
struct BlasProduct {
  int64_t rows = 0, cols = 0, depth = 0;
  Element element = Element::bf16;  // of the operands
  BlasOperand left, right;
  float factor = 1.0f;
  void* out = nullptr;
  int64_t pitch = 0;  // of out
  enum class Out : uint8_t { element, f32 } out_is = Out::element;
  Onto onto = Onto::nothing;
};

class Cublas final : public LibraryUser {
 public:
  /// As much as NVIDIA recommends for Hopper, the most of all GPUs. A handle with one that was set has it for good, whatever
  /// other streams do at the same time, and so sums in the same order each time. What cuBLAS needs besides it allocates itself.
  static constexpr size_t kWorkspaceBytes = size_t{32} << 20;

  /// `queue` outlives it.
  Cublas(std::shared_ptr<MathLibrary> library, std::shared_ptr<Device> device, DeviceQueue& queue);
  ~Cublas() override { stop(); }

  /// Behind what is in the queue, which writes nothing down; false where it is too large for cuBLAS, or cuBLAS refuses, and
  /// then `out` has what it had if the product is onto that, else anything. Throws where an earlier fault of the device was
  /// in the way, and with Status::device where a product onto what is there may have been begun.
  bool multiply(const BlasProduct& product);

 private:
  /// In the order of their names in cublas.cpp.
  struct Functions {
    int (*create)(void** handle);
    int (*destroy)(void* handle);
    int (*set_stream)(void* handle, void* stream);
    int (*set_workspace)(void* handle, void* workspace, size_t bytes);
    int (*set_math_mode)(void* handle, int mode);
    int (*multiply)(void* handle, int turn_a, int turn_b, int m, int n, int k, const void* alpha,
                    const void* a, int a_type, int lda, const void* b, int b_type, int ldb, const void* beta,
                    void* c, int c_type, int ldc, int compute_type, int algorithm);
  };

  bool make() override;
  bool close() noexcept override;
  void refused(int status, const std::string& what);

  std::shared_ptr<Device> device_;
  Functions functions_{};
  void* handle_ = nullptr;
  Block workspace_;
};

}  // namespace gptq::cuda
