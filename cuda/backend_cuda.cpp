#include "cuda/backend_cuda.h"

#include <cstring>

#include "backend/bias.h"
#include "base/error.h"
#include "base/half.h"
#include "base/text.h"
#include "cuda/stream_cuda.h"

namespace gptq::cuda {
namespace {

/// In bf16; numbers of bf16 are themselves.
std::vector<uint16_t> halves_of(const Tensor& weight) {
  std::vector<uint16_t> halves(static_cast<size_t>(weight.elements()));
  if (weight.dtype == DType::bf16) {
    std::memcpy(halves.data(), weight.data, halves.size() * sizeof(uint16_t));
    return halves;
  }
  constexpr size_t kPart = 4096;
  float part[kPart];
  for (size_t i = 0; i < halves.size(); i += kPart) {
    const size_t n = std::min(kPart, halves.size() - i);
    to_float(weight, static_cast<int64_t>(i), static_cast<int64_t>(n), part);
    for (size_t j = 0; j < n; ++j) halves[i + j] = float_to_bf16(part[j]);
  }
  return halves;
}

class CudaBackend final : public Backend {
 public:
  CudaBackend(std::shared_ptr<Device> device, std::shared_ptr<const Backend> cpu) {
    LibraryNames names = device->libraries();
    shared_ = std::make_shared<Shared>(
        Shared{.loader = std::make_shared<Loader>(std::move(device)),
               .cpu = std::move(cpu),
               .blas = std::make_shared<MathLibrary>("cuBLAS", std::move(names.blas)),
               .solver = std::make_shared<MathLibrary>("cuSOLVER", std::move(names.solver))});
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

  std::unique_ptr<Linear> prepare(const QTensor& weight, const Tensor* bias) const override {
    return std::make_unique<CudaLinear>(shared_->loader, pack(weight), bias_values(bias, weight.rows));
  }
  std::unique_ptr<Linear> prepare(const Tensor& weight, const Tensor* bias) const override {
    if (weight.shape.size() != 2)
      throw Error(Fault::mismatch,
                  cat("a weight of shape ", shape_text(weight.shape), ", wanted two dimensions"));
    const int64_t rows = weight.shape[0], cols = weight.shape[1];
    return std::make_unique<CudaLinear>(shared_->loader, pack_halves(halves_of(weight).data(), rows, cols),
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
};

}  // namespace

std::shared_ptr<const Backend> create_cuda_backend(std::shared_ptr<Device> device,
                                                   const BackendOptions& options) {
  if (options.compute == Compute::exact) {
    throw Error(Status::unsupported,
                "option 'compute' = exact: a GPU computes with bf16 activations, wanted fast");
  }
  return std::make_shared<CudaBackend>(std::move(device), create_cpu_backend(options));
}

}  // namespace gptq::cuda
