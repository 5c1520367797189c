// Sums of outer products of inputs, on the tile kernel.
#include "cpu/hessian.h"

#include "base/error.h"
#include "base/text.h"
#include "cpu/outer_product.h"
#include "cpu/stream_cpu.h"

namespace gptq::cpu {
void CpuHessian::add(const Workers& workers, const float* x, int64_t rows) {
  if (rows <= 0 || size() == 0) return;
  OuterProduct(workers, size(), size()).add(nullptr, x, x, rows, [&](int64_t row, int64_t col) {
    constexpr int64_t kWidth = UpperPanels::kWidth;
    const int64_t p = col / kWidth;
    return OuterProduct::Place{sums_.panel(p) + row * kWidth, kWidth, UpperPanels::panel_rows(p)};
  });
  rows_seen_ += rows;
}

std::unique_ptr<Hessian> CpuStream::create_hessian(int64_t size) {
  return std::make_unique<CpuHessian>(size);
}

void CpuStream::hessian_add(Matrix x, Hessian& hessian) {
  if (x.cols != hessian.size()) {
    throw Error(Status::internal, cat("hessian of ", hessian.size(), " inputs got rows of ", x.cols));
  }
  static_cast<CpuHessian&>(hessian).add(workers_of(*this), row(x, 0), x.rows);
}

std::vector<float> CpuStream::hessian_diagonal(const Hessian& hessian) {
  const UpperPanels& sums = static_cast<const CpuHessian&>(hessian).sums();
  std::vector<float> diagonal(static_cast<size_t>(sums.size()));
  for (int64_t i = 0; i < sums.size(); ++i) diagonal[static_cast<size_t>(i)] = sums.at(i, i);
  return diagonal;
}

}  // namespace gptq::cpu
