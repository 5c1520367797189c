// Of cuSOLVER what the plugin asks of it, as NVIDIA documents it: matrices are column-major, in host memory. Arguments that
// it refuses are refused. A factorization leaves NaN in all of its workspace.
#include <unistd.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "control.h"

namespace {

using namespace gptq::fake;

constexpr int kSuccess = 0, kNotInitialized = 1, kInvalidValue = 3, kInternalError = 7;
constexpr int kFloat = 0, kLower = 0;

Control control;
bool has_ended = false;
End end{has_ended};

struct Handle {
  bool has_stream = false;
};
struct Parameters {};

size_t device_bytes_of(int64_t n) {
  return static_cast<size_t>(n) * sizeof(float) + 40 + control.device_bytes;
}
constexpr size_t kHostBytes = 24;

/// Of the triangle that counts: a[j lda + i] is row i and column j.
float& at(float* a, int64_t lda, int triangle, int64_t i, int64_t j) {
  return triangle == kLower ? a[j * lda + i] : a[i * lda + j];
}

}  // namespace

GPTQ_FAKE_EXPORT Control* gptq_fake_control() { return &control; }

GPTQ_FAKE_EXPORT int cusolverDnCreate(void** handle) {
  if (const int status = refusal(control, kNotInitialized)) return status;
  *handle = new Handle;
  ++control.handles;
  ++control.creations;
  return kSuccess;
}

GPTQ_FAKE_EXPORT int cusolverDnDestroy(void* of) {
  auto* const handle = static_cast<Handle*>(of);
  if (has_ended) _exit(kCalledAfterItsEnd);
  delete handle;
  --control.handles;
  return kSuccess;
}

GPTQ_FAKE_EXPORT int cusolverDnSetStream(void* of, void* stream) {
  auto* const handle = static_cast<Handle*>(of);
  if (const int status = refusal(control, kNotInitialized)) return status;
  handle->has_stream = stream == stream_of_host();
  return kSuccess;
}

GPTQ_FAKE_EXPORT int cusolverDnCreateParams(void** parameters) {
  if (const int status = refusal(control, kNotInitialized)) return status;
  *parameters = new Parameters;
  ++control.handles;
  return kSuccess;
}

GPTQ_FAKE_EXPORT int cusolverDnDestroyParams(void* kept) {
  auto* const parameters = static_cast<Parameters*>(kept);
  if (has_ended) _exit(kCalledAfterItsEnd);
  delete parameters;
  --control.handles;
  return kSuccess;
}

GPTQ_FAKE_EXPORT int cusolverDnXpotrf_bufferSize(void* handle, void* parameters, int triangle, int64_t n,
                                                 int type, const void* a, int64_t lda, int compute_type,
                                                 size_t* on_device, size_t* on_host) {
  if (const int status = refusal(control, kInternalError)) return status;
  if (handle == nullptr || parameters == nullptr || triangle < 0 || triangle > 1 || n < 0 || lda < n ||
      a == nullptr || type != kFloat || compute_type != kFloat)
    return kInvalidValue;
  *on_device = device_bytes_of(n);
  *on_host = kHostBytes;
  return kSuccess;
}

/// The other triangle is neither read nor written. *info: 0, the order of the leading minor that is not positive, or the
/// number of a wrong argument, negative.
GPTQ_FAKE_EXPORT int cusolverDnXpotrf(void* of, void* parameters, int triangle, int64_t n, int type,
                                      void* matrix, int64_t lda, int compute_type, void* on_device,
                                      size_t device_bytes, void* on_host, size_t host_bytes, int* info) {
  auto* const handle = static_cast<Handle*>(of);
  if (const int status = refusal(control, kInternalError)) {
    std::memset(matrix, 0xFF, static_cast<size_t>(lda * n) * sizeof(float));  // it had begun
    return status;
  }
  if (handle == nullptr || !handle->has_stream || parameters == nullptr || triangle < 0 || triangle > 1 ||
      lda < n || type != kFloat || compute_type != kFloat || device_bytes < device_bytes_of(n) ||
      host_bytes < kHostBytes)
    return kInvalidValue;
  auto* const a = static_cast<float*>(matrix);
  const auto l = [&](int64_t i, int64_t j) -> float& { return at(a, lda, triangle, i, j); };
  *info = 0;
  for (int64_t j = 0; j < n && *info == 0; ++j) {
    float pivot = l(j, j);
    for (int64_t k = 0; k < j; ++k) pivot -= l(j, k) * l(j, k);
    if (pivot <= 0) *info = static_cast<int>(j) + 1;  // not of NaN
    l(j, j) = std::sqrt(pivot);
    for (int64_t i = j + 1; i < n; ++i) {
      float sum = l(i, j);
      for (int64_t k = 0; k < j; ++k) sum -= l(i, k) * l(j, k);
      l(i, j) = sum / l(j, j);
    }
  }
  ++control.computations;
  if (control.wrong_argument != 0) *info = -control.wrong_argument;
  std::memset(on_device, 0xFF, device_bytes);
  std::memset(on_host, 0xFF, host_bytes);
  return kSuccess;
}
