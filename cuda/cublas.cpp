#include "cuda/cublas.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"

namespace gptq::cuda {
namespace {

// as cublas_api.h and library_types.h have them
constexpr const char* kNames[] = {"cublasCreate_v2",       "cublasDestroy_v2",  "cublasSetStream_v2",
                                  "cublasSetWorkspace_v2", "cublasSetMathMode", "cublasGemmEx"};
constexpr int kPlain = 0, kTransposed = 1;        // cublasOperation_t
constexpr int kFloat = 0, kHalf = 2, kBf16 = 14;  // cudaDataType
constexpr int kSumsInFloat = 68;                  // CUBLAS_COMPUTE_32F
constexpr int kDefaultAlgorithm = -1;
// CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION: parts of a sum are not rounded to 16 bits before they are added
constexpr int kReduceInFloat = 16;

// cublasStatus_t
constexpr int kNotInitialized = 1, kNoMemory = 3, kInvalidValue = 7, kArchitecture = 8, kNotSupported = 15;

/// It would be the same each time.
bool is_lasting(int status) {
  return status == kInvalidValue || status == kArchitecture || status == kNotSupported;
}
/// Nothing was begun.
bool is_untouched(int status) {
  return is_lasting(status) || status == kNotInitialized || status == kNoMemory;
}

int operation(const BlasOperand& operand) { return operand.turned == Turned::yes ? kTransposed : kPlain; }

}  // namespace

Cublas::Cublas(std::shared_ptr<MathLibrary> library, std::shared_ptr<Device> device, DeviceQueue& queue)
    : LibraryUser(std::move(library), queue), device_(std::move(device)) {}

bool Cublas::make() {
  if (!open(kNames, functions_)) return false;
  try {
    workspace_ = Block(device_, kWorkspaceBytes);
  } catch (const Error& error) {
    if (error.status() != Status::out_of_memory) throw;
    log(LogLevel::info, cat("cuBLAS is not used by a stream: ", error.what()));
    end();
    return false;
  }
  const auto worked = [&](const char* function, int status) {
    if (status != 0) refused(status, cat(function, "() gives status ", status));
    return status == 0;
  };
  // the workspace behind the stream, which would take it away
  return worked("cublasCreate", functions_.create(&handle_)) &&
         worked("cublasSetStream", functions_.set_stream(handle_, queue().queue().stream)) &&
         worked("cublasSetWorkspace",
                functions_.set_workspace(handle_, workspace_.data(), workspace_.bytes())) &&
         worked("cublasSetMathMode", functions_.set_math_mode(handle_, kReduceInFloat));
}

bool Cublas::close() noexcept {
  const bool had = handle_ != nullptr || workspace_.bytes() > 0;
  if (handle_ != nullptr && !MathLibrary::is_at_exit()) functions_.destroy(handle_);
  handle_ = nullptr;
  workspace_ = {};
  return had;
}

void Cublas::refused(int status, const std::string& what) {
  LibraryUser::refused(is_lasting(status) ? Refusal::lasting : Refusal::in_passing, what);
}

bool Cublas::multiply(const BlasProduct& p) {
  const int64_t most = std::max({p.rows, p.cols, p.depth, p.left.pitch, p.right.pitch, p.pitch});
  if (!is_ready() || most > INT32_MAX) return false;
  const int type = p.element == Element::f16 ? kHalf : kBf16;
  const float factor = p.factor, before = p.onto == Onto::what_is_there ? 1.0f : 0.0f;
  const int status = functions_.multiply(
      handle_, operation(p.right), operation(p.left), static_cast<int>(p.cols), static_cast<int>(p.rows),
      static_cast<int>(p.depth), &factor, p.right.data, type, static_cast<int>(p.right.pitch), p.left.data,
      type, static_cast<int>(p.left.pitch), &before, p.out, p.out_is == BlasProduct::Out::f32 ? kFloat : type,
      static_cast<int>(p.pitch), kSumsInFloat, kDefaultAlgorithm);
  if (status == 0) {
    worked();
    return true;
  }
  const std::string what = cat("cublasGemmEx() gives status ", status, " for a product of ", p.rows, " x ",
                               p.depth, " by ", p.depth, " x ", p.cols);
  refused(status, what);
  if (p.onto == Onto::what_is_there && !is_untouched(status))
    throw Error(Status::device, cat(what, ", which may have been added to sums in part"));
  return false;
}

}  // namespace gptq::cuda
