// Of cuBLAS what the plugin asks of it, as NVIDIA documents it: matrices are column-major, in host memory. Arguments that
// cuBLAS refuses are refused; besides, a handle without a stream, a workspace and a mode that were set, since what it does
// then is not what the plugin wants. A product leaves NaN at both ends of the workspace, and also where it is refused with a
// status that leaves open what was begun, in all of C.
#include <unistd.h>

#include <cmath>
#include <cstddef>
#include <cstring>

#include "base/half.h"
#include "control.h"

namespace {

using namespace gptq::fake;

constexpr int kSuccess = 0, kNotInitialized = 1, kInvalidValue = 7, kExecutionFailed = 13, kNotSupported = 15;
constexpr int kFloat = 0, kHalf = 2, kBf16 = 14;
constexpr int kNoMemory = 3, kArchitecture = 8;
constexpr int kPlain = 0, kTransposed = 1;
constexpr size_t kScribbled = 64 << 10, kWorkspaceAlignment = 256;

Control control;
bool has_ended = false;
End end{has_ended};

bool is_untouched(int status) {
  return status == kNotInitialized || status == kNoMemory || status == kInvalidValue ||
         status == kArchitecture || status == kNotSupported;
}

struct Handle {
  bool has_stream = false;
  unsigned char* workspace = nullptr;
  size_t workspace_bytes = 0;
  int mode = 0;
};

float load(const void* data, int type, size_t at) {
  if (type == kFloat) return static_cast<const float*>(data)[at];
  const uint16_t bits = static_cast<const uint16_t*>(data)[at];
  return type == kHalf ? gptq::fp16_to_float(bits) : gptq::bf16_to_float(bits);
}
void store(void* data, int type, size_t at, float value) {
  if (type == kFloat) {
    static_cast<float*>(data)[at] = value;
  } else {
    static_cast<uint16_t*>(data)[at] =
        type == kHalf ? gptq::float_to_fp16(value) : gptq::float_to_bf16(value);
  }
}

/// Element (row, column) of op(A), which lies by columns.
size_t place(int transposed, int ld, int row, int column) {
  return transposed != 0 ? static_cast<size_t>(row) * static_cast<size_t>(ld) + static_cast<size_t>(column)
                         : static_cast<size_t>(column) * static_cast<size_t>(ld) + static_cast<size_t>(row);
}

}  // namespace

GPTQ_FAKE_EXPORT Control* gptq_fake_control() { return &control; }

GPTQ_FAKE_EXPORT int cublasCreate_v2(void** handle) {
  if (const int status = refusal(control, kNotInitialized)) return status;
  *handle = new Handle;
  ++control.handles;
  ++control.creations;
  return kSuccess;
}

GPTQ_FAKE_EXPORT int cublasDestroy_v2(void* of) {
  auto* const handle = static_cast<Handle*>(of);
  if (has_ended) _exit(kCalledAfterItsEnd);
  delete handle;
  --control.handles;
  return kSuccess;
}

/// Takes the workspace away.
GPTQ_FAKE_EXPORT int cublasSetStream_v2(void* of, void* stream) {
  auto* const handle = static_cast<Handle*>(of);
  if (const int status = refusal(control, kNotInitialized)) return status;
  handle->has_stream = stream == stream_of_host();
  handle->workspace = nullptr;
  return kSuccess;
}

GPTQ_FAKE_EXPORT int cublasSetWorkspace_v2(void* of, void* workspace, size_t bytes) {
  auto* const handle = static_cast<Handle*>(of);
  if (const int status = refusal(control, kNotInitialized)) return status;
  if (reinterpret_cast<uintptr_t>(workspace) % kWorkspaceAlignment != 0) return kInvalidValue;
  handle->workspace = static_cast<unsigned char*>(workspace);
  handle->workspace_bytes = bytes;
  return kSuccess;
}

GPTQ_FAKE_EXPORT int cublasSetMathMode(void* of, int mode) {
  auto* const handle = static_cast<Handle*>(of);
  if (const int status = refusal(control, kNotInitialized)) return status;
  handle->mode = mode;
  return kSuccess;
}

/// C [m, n] = alpha op(A) [m, k] op(B) [k, n] + beta C, where C is not read if beta is 0.
GPTQ_FAKE_EXPORT int cublasGemmEx(void* of, int transpose_a, int transpose_b, int m, int n, int k,
                                  const void* alpha, const void* a, int a_type, int lda, const void* b,
                                  int b_type, int ldb, const void* beta, void* c, int c_type, int ldc,
                                  int compute_type, int algorithm) {
  auto* const handle = static_cast<Handle*>(of);
  constexpr int kSumsInFloat = 68, kDefault = -1, kReduceInFloat = 16;
  if (const int status = refusal(control, kExecutionFailed)) {
    for (int j = 0; j < n && !is_untouched(status); ++j) {
      for (int i = 0; i < m; ++i) store(c, c_type, place(0, ldc, i, j), NAN);
    }
    return status;
  }
  for (const int transpose : {transpose_a, transpose_b}) {
    if (transpose != kPlain && transpose != kTransposed) return kInvalidValue;
  }
  if (m < 0 || n < 0 || k < 0 || lda < (transpose_a == kTransposed ? k : m) ||
      ldb < (transpose_b == kTransposed ? n : k) || ldc < m || lda < 1 || ldb < 1 || ldc < 1)
    return kInvalidValue;
  if (a_type != b_type || (a_type != kHalf && a_type != kBf16) || (c_type != a_type && c_type != kFloat) ||
      compute_type != kSumsInFloat || algorithm != kDefault)
    return kNotSupported;
  if (!handle->has_stream || handle->workspace == nullptr || handle->workspace_bytes == 0 ||
      handle->mode != kReduceInFloat)
    return kExecutionFailed;
  const size_t part = handle->workspace_bytes < kScribbled ? handle->workspace_bytes : kScribbled;
  std::memset(handle->workspace, 0xFF, part);
  std::memset(handle->workspace + handle->workspace_bytes - part, 0xFF, part);
  const float factor = *static_cast<const float*>(alpha), before = *static_cast<const float*>(beta);
  for (int j = 0; j < n; ++j) {
    for (int i = 0; i < m; ++i) {
      float sum = 0;
      for (int l = 0; l < k; ++l)
        sum +=
            load(a, a_type, place(transpose_a, lda, i, l)) * load(b, b_type, place(transpose_b, ldb, l, j));
      const size_t at = place(0, ldc, i, j);
      store(c, c_type, at, factor * sum + (before == 0 ? 0.0f : before * load(c, c_type, at)));
    }
  }
  ++control.computations;
  return kSuccess;
}
