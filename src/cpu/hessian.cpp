// Sums of outer products of inputs, on the tile kernel.
#include "cpu/hessian.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "cpu/outer_product.h"
#include "cpu/stream_cpu.h"

namespace gptq::cpu {
namespace {

/// Rows and columns of the result that a thread does at a time, about.
constexpr int64_t kStrip = 128;

}  // namespace

void CpuHessian::add(const Workers& workers, const float* x, int64_t rows) {
  if (rows <= 0 || size() == 0) return;
  OuterProduct product(workers, size());
  const int64_t height = std::max<int64_t>(1, kStrip / product.tile_rows()) * product.tile_rows();
  const int64_t row_strips = (size() + height - 1) / height, col_strips = (size() + kStrip - 1) / kStrip;
  for (int64_t done = 0; done < rows; done += OuterProduct::kMaxRows) {
    product.pack(nullptr, x + done * size(), std::min(rows - done, OuterProduct::kMaxRows));
    workers.parallel_for(row_strips * col_strips, 1, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t row = task % row_strips * height, first = task / row_strips * kStrip;
        for (int64_t col = first; col < std::min(size(), first + kStrip); col += UpperPanels::kWidth) {
          const int64_t p = col / UpperPanels::kWidth;
          product.add(row, std::min(row + height, UpperPanels::panel_rows(p)), col,
                      sums_.panel(p) + row * UpperPanels::kWidth, UpperPanels::kWidth);
        }
      }
    });
  }
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
