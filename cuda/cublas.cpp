#include "cuda/cublas.h"

#include <algorithm>
#include <cstring>
#include <iterator>
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

int operation(const BlasOperand& operand) { return operand.turned == Turned::yes ? kTransposed : kPlain; }

}  // namespace

Cublas::Cublas(std::shared_ptr<MathLibrary> library, std::shared_ptr<Device> device, DeviceQueue& queue)
    : library_(std::move(library)), device_(std::move(device)), queue_(queue) {}

Cublas::~Cublas() {
  if (handle_ == nullptr || !process_.is_this()) return;
  try {
    const Turn turn(queue_);
    functions_.destroy(handle_);
  } catch (const std::exception&) {
    // the device is gone, and the handle with it
  }
}

bool Cublas::is_ready() {
  if (!tried_) {
    tried_ = true;
    make_ready();
  }
  return handle_ != nullptr && !library_->is_given_up();
}

void Cublas::make_ready() {
  static_assert(sizeof(Functions) == std::size(kNames) * sizeof(void*));
  void* addresses[std::size(kNames)];
  if (!library_->open(kNames, addresses)) return;
  std::memcpy(&functions_, addresses, sizeof functions_);
  try {
    workspace_ = Block(device_, kWorkspaceBytes);
  } catch (const Error& error) {
    if (error.status() != Status::out_of_memory) throw;
    log(LogLevel::info, cat("cuBLAS is not used by a stream: ", error.what()));
    return;
  }
  void* handle = nullptr;
  std::string why;
  const auto worked = [&](const char* function, int status) {
    if (status != 0) why = cat(function, "() gives status ", status);
    return status == 0;
  };
  // the workspace behind the stream, which would take it away
  if (worked("cublasCreate", functions_.create(&handle)) &&
      worked("cublasSetStream", functions_.set_stream(handle, queue_.queue().stream)) &&
      worked("cublasSetWorkspace", functions_.set_workspace(handle, workspace_.data(), workspace_.bytes())) &&
      worked("cublasSetMathMode", functions_.set_math_mode(handle, kReduceInFloat))) {
    handle_ = handle;
    return;
  }
  if (handle != nullptr) functions_.destroy(handle);
  workspace_ = {};
  library_->give_up(why);
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
  if (status == 0) return true;
  library_->give_up(cat("cublasGemmEx() gives status ", status, " for a product of ", p.rows, " x ", p.depth,
                        " by ", p.depth, " x ", p.cols));
  return false;
}

}  // namespace gptq::cuda
