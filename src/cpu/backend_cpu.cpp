// The CPU as a Backend.
#include "backend/backend.h"

#include "base/error.h"
#include "base/text.h"
#include "cpu/kv_cache.h"
#include "cpu/linear.h"
#include "cpu/stream_cpu.h"
#include "cpu/vector_cpu.h"

namespace gptq {
namespace cpu {
namespace {

constexpr int kMostThreads = 1024;

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(const BackendOptions& options) : runtime_(std::make_shared<Runtime>(options)) {}

  std::string description() const override { return cat("cpu (", runtime_->kernels.name, ")"); }

  int threads() const override { return runtime_->pool.threads(); }
  void parallel_for(int64_t count, int64_t grain,
                    const std::function<void(int64_t, int64_t)>& body) const override {
    runtime_->pool.parallel_for(count, grain, body);
  }

  std::unique_ptr<Linear> prepare(const QTensor& weight, const Tensor* bias) const override {
    return make_quantized_linear(*runtime_, weight, bias);
  }
  std::unique_ptr<Linear> prepare(const Tensor& weight, const Tensor* bias) const override {
    return make_dense_linear(weight, bias);
  }
  std::unique_ptr<Vector> prepare_vector(const Tensor& values) const override {
    return std::make_unique<CpuVector>(to_float(values));
  }
  std::unique_ptr<KvCache> create_cache(const CacheShape& shape) const override {
    const Stored stored = shape.elements == KvElements::int8   ? Stored::i8
                          : runtime_->compute == Compute::fast ? Stored::f16
                                                               : Stored::f32;
    return std::make_unique<CpuKvCache>(shape, stored);
  }
  std::unique_ptr<Stream> create_stream(const std::atomic<bool>* cancel) const override {
    return std::make_unique<CpuStream>(runtime_, cancel);
  }

 private:
  std::shared_ptr<Runtime> runtime_;
};

}  // namespace
}  // namespace cpu

std::shared_ptr<const Backend> create_cpu_backend(const BackendOptions& options) {
  if (options.threads < 0 || options.threads > cpu::kMostThreads) {
    throw Error(Status::invalid_argument, cat(options.threads, " threads, wanted 0 to ", cpu::kMostThreads));
  }
  cpu::warn_of_unknown_mask();
  return std::make_shared<cpu::CpuBackend>(options);
}

}  // namespace gptq
