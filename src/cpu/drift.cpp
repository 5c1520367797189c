// Sums of outer products of two kinds of inputs, and what is made of them: better targets for the weights.
#include "cpu/drift.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/text.h"
#include "cpu/factor.h"
#include "cpu/linear.h"
#include "cpu/outer_product.h"
#include "cpu/stream_cpu.h"

namespace gptq::cpu {
namespace {

const CpuDrift& checked(const Factor& factor, const Drift& drift, std::span<const int32_t> order) {
  if (drift.size() != factor.size() || static_cast<int64_t>(order.size()) != drift.size()) {
    throw Error(Status::internal,
                cat("a drift of ", drift.size(), " inputs for ", factor.size(), " columns"));
  }
  return static_cast<const CpuDrift&>(drift);
}

/// out [depth][kTileCols]: D'[k + i][col + c], D' in the order given; columns from `cols` on are left.
FillPanel drift_panels(const CpuDrift& drift, std::span<const int32_t> order) {
  return [&drift, order](int64_t col, int64_t cols, int64_t k, int64_t depth, float* out) {
    for (int64_t i = 0; i < depth; ++i, out += kTileCols) {
      const int64_t from = order[static_cast<size_t>(k + i)];
      for (int64_t c = 0; c < cols; ++c) out[c] = drift.at(from, order[static_cast<size_t>(col + c)]);
    }
  };
}

/// Likewise of U^T.
FillPanel transposed_panels(const UpperPanels& u) {
  return [&u](int64_t col, int64_t cols, int64_t k, int64_t depth, float* out) {
    for (int64_t i = 0; i < depth; ++i, out += kTileCols) {
      for (int64_t c = 0; c < cols; ++c) out[c] = col + c <= k + i ? u.at(col + c, k + i) : 0.0f;
    }
  };
}

/// Likewise of U.
FillPanel upper_panels(const UpperPanels& u) {
  return [&u](int64_t col, int64_t cols, int64_t k, int64_t depth, float* out) {
    for (int64_t i = 0; i < depth; ++i, out += kTileCols) {
      for (int64_t c = 0; c < cols; ++c) out[c] = k + i <= col + c ? u.at(k + i, col + c) : 0.0f;
    }
  };
}

}  // namespace

CpuDrift::CpuDrift(int64_t size)
    : size_(size), block_(static_cast<size_t>(size) * static_cast<size_t>(size) * sizeof(float)) {
  std::memset(block_.data(), 0, block_.bytes());
}

void CpuDrift::add(const Workers& workers, const float* x0, const float* x, int64_t rows) {
  if (rows <= 0 || size_ == 0) return;
  OuterProduct(workers, size_).add(x0, x, rows, [&](int64_t row, int64_t col) {
    return OuterProduct::Place{sums() + row * size_ + col, size_, size_};
  });
}

std::unique_ptr<Drift> CpuStream::create_drift(int64_t size) { return std::make_unique<CpuDrift>(size); }

void CpuStream::drift_add(Matrix x0, Matrix x, Drift& drift) {
  if (x.cols != drift.size() || x0.cols != x.cols || x0.rows != x.rows) {
    throw Error(Status::internal,
                cat("drift of ", drift.size(), " inputs got rows of ", x0.cols, " and ", x.cols));
  }
  static_cast<CpuDrift&>(drift).add(workers_of(*this), row(x0, 0), row(x, 0), x.rows);
}

void CpuStream::retarget(const Factor& factor, const Drift& drift, std::span<const int32_t> order,
                         double alpha, int64_t rows, float* weights) {
  const CpuDrift& sums = checked(factor, drift, order);
  const UpperPanels& u = static_cast<const CpuFactor&>(factor).u();
  const int64_t cols = u.size(), most = std::min<int64_t>(rows, 512);
  std::vector<float> a(static_cast<size_t>(most * cols)), b(a.size());
  for (int64_t r = 0; r < rows; r += most) {
    const int64_t count = std::min(most, rows - r);
    tiled_product(*this, kernels().gemm, weights + r * cols, count, cols, cols, nullptr, a.data(),
                  drift_panels(sums, order));
    tiled_product(*this, kernels().gemm, a.data(), count, cols, cols, nullptr, b.data(),
                  transposed_panels(u));
    tiled_product(*this, kernels().gemm, b.data(), count, cols, cols, nullptr, a.data(), upper_panels(u));
    kernels().axpy(static_cast<float>(alpha), a.data(), count * cols, weights + r * cols);
  }
}

void CpuStream::spread_drift(Factor& factor, const Drift& drift, std::span<const int32_t> order,
                             double alpha) {
  const CpuDrift& sums = checked(factor, drift, order);
  auto& into = static_cast<CpuFactor&>(factor);
  const int64_t size = into.size();
  std::vector<float> ordered(static_cast<size_t>(size * size)), product(ordered.size());
  for (int64_t i = 0; i < size; ++i) {
    for (int64_t j = 0; j < size; ++j) {
      ordered[static_cast<size_t>(i * size + j)] =
          sums.at(order[static_cast<size_t>(i)], order[static_cast<size_t>(j)]);
    }
  }
  tiled_product(*this, kernels().gemm, ordered.data(), size, size, size, nullptr, product.data(),
                transposed_panels(into.u()));
  for (int64_t i = 0; i < size; ++i) {  // triu(., 1)
    std::fill_n(product.begin() + i * size, i + 1, 0.0f);
  }
  tiled_product(*this, kernels().gemm, product.data(), size, size, size, nullptr, ordered.data(),
                upper_panels(into.u()));
  UpperPanels p(size);
  for (int64_t i = 0; i < size; ++i) {
    for (int64_t j = i + 1; j < size; ++j)
      p.at(i, j) = static_cast<float>(alpha) * ordered[static_cast<size_t>(i * size + j)];
  }
  into.set_spread(std::move(p));
}

}  // namespace gptq::cpu
