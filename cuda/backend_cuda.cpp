#include "cuda/backend_cuda.h"

#include <algorithm>

#include "backend/bias.h"
#include "base/error.h"
#include "base/half.h"
#include "base/text.h"
#include "cuda/stream_cuda.h"

namespace gptq::cuda {
namespace {

/// Elements [begin, end) in bf16.
void to_halves(const Tensor& weight, int64_t begin, int64_t end, uint16_t* out) {
  constexpr int64_t kPart = 1024;
  float part[kPart];
  for (int64_t i = begin; i < end; i += kPart) {
    const int64_t n = std::min(kPart, end - i);
    to_float(weight, i, n, part);
    for (int64_t j = 0; j < n; ++j) *out++ = float_to_bf16(part[j]);
  }
}

/// Weights that are quantized together: a row is a warp's work, and a matrix of a model of 7B should give one to each. They
/// take at most a part of the memory.
constexpr int64_t kBytesOfWeight = 24, kPartOfMemory = 16;
constexpr int64_t kFewestWeights = int64_t{1} << 24, kMostWeights = int64_t{1} << 27;
constexpr int64_t kConvertedTogether = int64_t{1} << 16;  // elements of a thread's turn

class CudaBackend final : public Backend {
 public:
  CudaBackend(std::shared_ptr<Device> device, std::shared_ptr<const Backend> cpu,
              const AttentionLimits& limits) {
    LibraryNames names = device->libraries();
    shared_ = std::make_shared<Shared>(
        Shared{.loader = std::make_shared<Loader>(std::move(device)),
               .cpu = std::move(cpu),
               .blas = std::make_shared<MathLibrary>("cuBLAS", std::move(names.blas)),
               .solver = std::make_shared<MathLibrary>("cuSOLVER", std::move(names.solver)),
               .limits = limits});
    const auto fit = static_cast<int64_t>(
        std::min<uint64_t>(shared_->loader->device()->free_bytes() / kBytesOfWeight, INT64_MAX));
    weights_together_ = std::clamp(fit / kPartOfMemory, kFewestWeights, kMostWeights);
  }

  std::string description() const override {
    return cat("cuda (", shared_->loader->device()->description(), ", bf16)");
  }
  int threads() const override { return shared_->cpu->threads(); }
  void parallel_for(int64_t count, int64_t grain,
                    const std::function<void(int64_t, int64_t)>& body) const override {
    shared_->cpu->parallel_for(count, grain, body);
  }
  std::optional<uint64_t> free_memory() const override { return shared_->loader->device()->free_bytes(); }
  int64_t weights_together() const override { return weights_together_; }

  std::unique_ptr<Linear> prepare(const QTensor& weight, const Tensor* bias) const override {
    return std::make_unique<CudaLinear>(shared_->loader, weight, bias_values(bias, weight.rows));
  }
  std::unique_ptr<Linear> prepare(const Tensor& weight, const Tensor* bias) const override {
    if (weight.shape.size() != 2)
      throw Error(Fault::mismatch,
                  cat("a weight of shape ", shape_text(weight.shape), ", wanted two dimensions"));
    const int64_t rows = weight.shape[0], cols = weight.shape[1];
    std::vector<uint16_t> halves;
    const auto halves_of = [&](int64_t first, int64_t count) -> const void* {
      if (weight.dtype == DType::bf16)
        return weight.data + first * cols * static_cast<int64_t>(sizeof(uint16_t));
      halves.resize(static_cast<size_t>(count * cols));
      parallel_for(count * cols, kConvertedTogether, [&](int64_t begin, int64_t end) {
        to_halves(weight, first * cols + begin, first * cols + end, halves.data() + begin);
      });
      return halves.data();
    };
    return std::make_unique<CudaLinear>(shared_->loader, plan_halves(rows, cols), halves_of,
                                        bias_values(bias, rows));
  }
  std::unique_ptr<Vector> prepare_vector(const Tensor& values) const override {
    return std::make_unique<CudaVector>(*shared_->loader, shared_->cpu->prepare_vector(values),
                                        to_float(values));
  }
  std::unique_ptr<KvCache> create_cache(const CacheShape& shape) const override {
    if (shape.elements == KvElements::int8) {
      throw Error(Status::unsupported, cat("option 'kv_cache' = int8: ", description(),
                                           " keeps keys and values in bf16, wanted auto"));
    }
    return std::make_unique<CudaKvCache>(shared_->loader->device(), shape);
  }
  std::unique_ptr<Stream> create_stream(const std::atomic<bool>* cancel) const override {
    return std::make_unique<CudaStream>(shared_, cancel);
  }

 private:
  std::shared_ptr<const Shared> shared_;
  int64_t weights_together_;
};

}  // namespace

std::shared_ptr<const Backend> create_cuda_backend(std::shared_ptr<Device> device,
                                                   const BackendOptions& options,
                                                   const AttentionLimits& limits) {
  if (options.compute == Compute::exact) {
    throw Error(Status::unsupported,
                "option 'compute' = exact: a GPU computes with bf16 activations, wanted fast");
  }
  return std::make_shared<CudaBackend>(std::move(device), create_cpu_backend(options), limits);
}

}  // namespace gptq::cuda
