#include "cuda/cusolver.h"

#include <utility>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"

namespace gptq::cuda {
namespace {

// as cusolverDn.h, cublas_api.h and library_types.h have them
constexpr const char* kNames[] = {
    "cusolverDnCreate",        "cusolverDnDestroy",           "cusolverDnSetStream", "cusolverDnCreateParams",
    "cusolverDnDestroyParams", "cusolverDnXpotrf_bufferSize", "cusolverDnXpotrf"};
// cublasFillMode_t, of a column-major matrix: the lower triangle of a row-major one
constexpr int kUpper = 1;
constexpr int kFloat = 0;  // cudaDataType
constexpr size_t kAlignment = 256;
// cusolverStatus_t: what would be the same each time
constexpr int kInvalidValue = 3, kArchitecture = 4, kMatrixType = 8, kNotSupported = 9;

bool is_lasting(int status) {
  return status == kInvalidValue || status == kArchitecture || status == kMatrixType ||
         status == kNotSupported;
}

}  // namespace

Cusolver::Cusolver(std::shared_ptr<MathLibrary> library, std::shared_ptr<Device> device, DeviceQueue& queue)
    : LibraryUser(std::move(library), queue), device_(std::move(device)) {}

bool Cusolver::make() {
  if (!open(kNames, functions_)) return false;
  const auto worked = [&](const char* function, int status) {
    if (status != 0) refused(function, status);
    return status == 0;
  };
  return worked("cusolverDnCreate", functions_.create(&handle_)) &&
         worked("cusolverDnSetStream", functions_.set_stream(handle_, queue().queue().stream)) &&
         worked("cusolverDnCreateParams", functions_.create_parameters(&parameters_));
}

bool Cusolver::close() noexcept {
  if (handle_ == nullptr || MathLibrary::is_at_exit()) return false;
  if (parameters_ != nullptr) functions_.destroy_parameters(std::exchange(parameters_, nullptr));
  functions_.destroy(std::exchange(handle_, nullptr));
  return true;
}

void Cusolver::refused(const char* function, int status) {
  LibraryUser::refused(is_lasting(status) ? Refusal::lasting : Refusal::in_passing,
                       cat(function, "() gives status ", status));
}

Cusolver::Outcome Cusolver::factor(float* a, int64_t n) {
  if (!is_ready()) return Outcome::refused;
  size_t device_bytes = 0, host_bytes = 0;
  if (const int status = functions_.factor_bytes(handle_, parameters_, kUpper, n, kFloat, a, n, kFloat,
                                                 &device_bytes, &host_bytes)) {
    refused("cusolverDnXpotrf_bufferSize", status);
    return Outcome::refused;
  }
  Block work;
  try {
    work = Block(device_, kAlignment + device_bytes);
  } catch (const Error& error) {
    if (error.status() != Status::out_of_memory) throw;
    log(LogLevel::info, cat("a Hessian is not factored by cuSOLVER: ", error.what()));
    return Outcome::refused;
  }
  std::vector<std::byte> on_host(host_bytes);
  auto* const info_on_device = work.as<int>();  // then its memory
  const int status = functions_.factor(handle_, parameters_, kUpper, n, kFloat, a, n, kFloat,
                                       work.as<std::byte>() + kAlignment, device_bytes, on_host.data(),
                                       host_bytes, info_on_device);
  int info = 0;
  queue().download(&info, info_on_device, sizeof info);  // also of what failed: on_host is in use until then
  if (status != 0) {
    refused("cusolverDnXpotrf", status);
    return Outcome::refused;
  }
  if (info < 0) {
    LibraryUser::refused(Refusal::lasting, cat("cusolverDnXpotrf() finds argument ", -info, " wrong"));
    return Outcome::refused;
  }
  worked();
  return info == 0 ? Outcome::done : Outcome::not_positive_definite;
}

}  // namespace gptq::cuda
