// Quantization: activations come from the GPU, sums and solutions are the CPU backend's.
#include "cuda/stream_cuda.h"

namespace gptq::cuda {

Matrix CudaStream::to_cpu(Matrix x, std::vector<float>& values) {
  values.resize(static_cast<size_t>(x.rows * x.cols));
  download(x, values.data());
  return {reinterpret_cast<std::byte*>(values.data()), x.rows, x.cols};
}

std::unique_ptr<Hessian> CudaStream::create_hessian(int64_t size) { return cpu_->create_hessian(size); }

void CudaStream::hessian_add(Matrix x, Hessian& hessian) {
  std::vector<float> values;
  cpu_->hessian_add(to_cpu(x, values), hessian);
}

std::vector<float> CudaStream::hessian_diagonal(const Hessian& hessian) {
  return cpu_->hessian_diagonal(hessian);
}

std::unique_ptr<Drift> CudaStream::create_drift(int64_t rows, int64_t cols) {
  return cpu_->create_drift(rows, cols);
}

void CudaStream::drift_add(Matrix a0, Matrix a, Matrix x, Drift& drift) {
  std::vector<float> values[3];
  cpu_->drift_add(to_cpu(a0, values[0]), to_cpu(a, values[1]), to_cpu(x, values[2]), drift);
}

std::unique_ptr<Factor> CudaStream::factor(const Hessian& hessian, std::span<const int32_t> order,
                                           std::span<const float> diagonal_add) {
  return cpu_->factor(hessian, order, diagonal_add);
}

void CudaStream::retarget(const Factor& factor, const Drifts& drifts, const DriftParts& parts,
                          std::span<const int32_t> order, int64_t first_row, int64_t rows, float* weights) {
  cpu_->retarget(factor, drifts, parts, order, first_row, rows, weights);
}

void CudaStream::spread_drift(Factor& factor, const Drift& drift, std::span<const int32_t> order,
                              double alpha) {
  cpu_->spread_drift(factor, drift, order, alpha);
}

void CudaStream::solve(const Factor* factor, const SolveParams& params, SolveProblem& problem) {
  cpu_->solve(factor, params, problem);
}

void CudaStream::refine(const Hessian& hessian, std::span<const int32_t> order,
                        std::span<const float> diagonal_add, const RefineParams& params,
                        RefineProblem& problem) {
  cpu_->refine(hessian, order, diagonal_add, params, problem);
}

}  // namespace gptq::cuda
