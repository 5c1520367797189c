// The CPU's Stream: ops on fp32 activations in host memory. Each method is defined in the file of its subject:
// stream.cpp, elementwise.cpp, largest.cpp, experts.cpp, linear.cpp, rope.cpp, attention.cpp, delta.cpp, hessian.cpp,
// drift.cpp, factor.cpp, solve.cpp, refine.cpp.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "base/thread_pool.h"
#include "cpu/kernels.h"
#include "cpu/scratch.h"

namespace gptq::cpu {

struct RoundedTask;

/// What all streams of a backend share.
struct Runtime {
  explicit Runtime(const BackendOptions& options)
      : kernels(best_kernels()),
        gemms(options.compute == Compute::exact ? Gemms{kernels.gemm, kernels.gemm, kernels.gemm}
                                                : kernels.fast),
        compute(options.compute),
        pool(options.threads != 0 ? options.threads : available_cpus(), options.executor) {}

  const Kernels& kernels;
  const Gemms gemms;
  const Compute compute;
  ThreadPool pool;
};

inline float* row(Matrix x, int64_t i) { return reinterpret_cast<float*>(x.data) + i * x.cols; }
inline Matrix rows_of(Matrix x, int64_t begin, int64_t end) {
  return {reinterpret_cast<std::byte*>(row(x, begin)), end - begin, x.cols};
}

class CpuStream final : public Stream {
 public:
  CpuStream(std::shared_ptr<Runtime> runtime, const std::atomic<bool>* cancel)
      : runtime_(std::move(runtime)), cancel_(cancel) {}

  size_t element_bytes() const override { return sizeof(float); }
  std::unique_ptr<Memory> allocate(size_t bytes) override;
  void upload(const float* host, Matrix out) override;
  void download(Matrix x, float* host) override;
  void copy(Matrix x, Matrix out) override;

  void embed(const Linear& table, std::span<const int32_t> ids, Matrix out) override;
  void norm(Norm kind, Matrix x, const Vector& weight, const Vector* bias, float eps, Matrix out) override;
  void linear(const Linear& w, Matrix x, Matrix y) override;
  void linears(Matrix x, std::span<const Projection> projections) override;
  void linear_parts(Matrix x, const Routing& routing, std::span<const PartsProjection> projections) override;
  void rope_store(const RopeRows& rope, std::span<const Row> rows, Matrix q, Matrix k, Matrix v,
                  KvCache& cache, int64_t layer) override;
  void attention(const AttentionParams& params, std::span<const Row> rows, Matrix q, const KvCache& cache,
                 int64_t layer, Matrix out) override;
  void rotate(const RopeRows& rope, Matrix x, int64_t head_dim) override;
  void join_heads(Matrix a, Matrix b, int64_t heads, Matrix out) override;
  void delta_rule(const DeltaParams& params, std::span<const Row> rows, Matrix q, Matrix k, Matrix v,
                  Matrix beta, Matrix decay, KvCache& cache, int64_t layer, Matrix out) override;
  void activate(const Activation& act, Matrix gate, const Matrix* up, Matrix out) override;
  void add(Matrix x, Matrix y, float factor) override;
  void clear(Matrix x) override;
  void scale(Matrix x, float factor) override;
  void scale_rows(Matrix x, std::span<const float> factors) override;
  void scale_rows(Matrix x, Matrix factors) override;
  void clamp(Matrix x, float limit) override;
  void softcap(Matrix x, float cap) override;
  void largest(Matrix x, int64_t count, std::span<Ranked> out) override;
  void exp_sums(Matrix x, std::span<const double> temperatures, std::span<double> out) override;
  void gather(Matrix x, std::span<const int32_t> rows, Matrix out) override;
  void route(const RouterParams& params, Matrix scores, Routing& routing) override;
  void gather(Matrix x, const Routing& routing, Matrix out) override;
  void weigh(Matrix x, const Routing& routing) override;
  void scatter_add(Matrix x, const Routing& routing, Weigh weigh, Matrix y) override;

  std::unique_ptr<Hessian> create_hessian(int64_t size) override;
  void hessian_add(Matrix x, Hessian& hessian) override;
  std::vector<float> hessian_diagonal(const Hessian& hessian) override;
  std::unique_ptr<Drift> create_drift(int64_t rows, int64_t cols) override;
  void drift_add(Matrix a0, Matrix a, Matrix x, Drift& drift) override;
  std::unique_ptr<Factor> factor(const Hessian& hessian, std::span<const int32_t> order,
                                 std::span<const float> diagonal_add) override;
  void retarget(const Factor& factor, const Drifts& drifts, const DriftParts& parts,
                std::span<const int32_t> order, int64_t first_row, int64_t rows, float* weights) override;
  void spread_drift(Factor& factor, const Drift& drift, std::span<const int32_t> order,
                    double alpha) override;
  void solve(const Factor* factor, const SolveParams& params, SolveProblem& problem) override;
  void refine(const Hessian& hessian, std::span<const int32_t> order, std::span<const float> diagonal_add,
              const RefineParams& params, RefineProblem& problem) override;
  std::optional<int64_t> quantize_rows(const Hessian& hessian, const Factor* factor,
                                       const RowsProblem& problem) override;

  // For the files that define ops
  const Kernels& kernels() const { return runtime_->kernels; }
  const Gemms& gemms() const { return runtime_->gemms; }
  /// For products of many rows with so many rows of weights of that type. With few, as routers have, whose choices should not
  /// hang on how many rows there are, they cost next to nothing.
  const Gemm& gemm_of(Dense type, int64_t outputs) const {
    constexpr int64_t kFewOutputs = 512;
    if (runtime_->compute == Compute::coarse_calibration) return gemms().rounded;
    if (runtime_->compute == Compute::fast && outputs > kFewOutputs) return gemms().rounded;
    return type == Dense::bf16 ? gemms().bf16 : gemms().usual;
  }
  /// Whether products with quantized weights may take inputs rounded to 8 bits.
  bool rounds_inputs() const { return runtime_->compute == Compute::fast; }
  Scratch& scratch() { return scratch_; }
  int threads() const { return runtime_->pool.threads(); }
  /// Throws Error(Status::cancelled) once the stream's flag is set.
  void check_cancel() const;
  /// ThreadPool::parallel_for with the stream's cancel flag. Chunks should take well under 10 ms.
  void parallel_for(int64_t count, int64_t grain,
                    const std::function<void(int64_t begin, int64_t end)>& body) {
    check_cancel();
    runtime_->pool.parallel_for(count, grain, body, cancel_);
  }

 private:
  void add_task(std::vector<RoundedTask>& tasks, const Linear& w, Matrix x, Matrix y);

  std::shared_ptr<Runtime> runtime_;
  const std::atomic<bool>* cancel_;
  Scratch scratch_;
};

}  // namespace gptq::cpu
