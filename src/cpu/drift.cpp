// Sums of outer products of two kinds of inputs, and what is made of them: better targets for the weights.
#include "cpu/drift.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/text.h"
#include "cpu/factor.h"
#include "cpu/outer_product.h"
#include "cpu/stream_cpu.h"
#include "cpu/tiled_product.h"

namespace gptq::cpu {
namespace {

void check(const Factor& factor, const Drift& drift, int64_t rows, std::span<const int32_t> order) {
  const int64_t cols = factor.size();
  if (drift.rows() != rows || drift.cols() != cols || static_cast<int64_t>(order.size()) != cols) {
    throw Error(Status::internal, cat("a drift of ", drift.rows(), " x ", drift.cols(), ", wanted ", rows,
                                      " x ", cols, " as the factor has them"));
  }
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

/// out [count, cols] += part * rows of the drift from `first` on, in the order given.
void add_rows(CpuStream& stream, const CpuDrift& drift, int64_t first, int64_t count,
              std::span<const int32_t> order, float part, float* out) {
  stream.parallel_for(count, 16, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      float* row = out + r * drift.cols();
      for (size_t i = 0; i < order.size(); ++i) row[i] += part * drift.at(first + r, order[i]);
    }
  });
}

}  // namespace

CpuDrift::CpuDrift(int64_t rows, int64_t cols)
    : rows_(rows),
      cols_(cols),
      block_(static_cast<size_t>(rows) * static_cast<size_t>(cols) * sizeof(float)) {
  std::memset(block_.data(), 0, block_.bytes());
}

void CpuDrift::add(const Workers& workers, const float* a0, const float* a, const float* x, int64_t count) {
  if (count <= 0 || rows_ == 0 || cols_ == 0) return;
  OuterProduct(workers, rows_, cols_).add(a0, a, x, count, [&](int64_t row, int64_t col) {
    return OuterProduct::Place{sums() + row * cols_ + col, cols_, rows_};
  });
}

std::unique_ptr<Drift> CpuStream::create_drift(int64_t rows, int64_t cols) {
  return std::make_unique<CpuDrift>(rows, cols);
}

void CpuStream::drift_add(Matrix a0, Matrix a, Matrix x, Drift& drift) {
  if (a.cols != drift.rows() || a0.cols != a.cols || x.cols != drift.cols() || a0.rows != a.rows ||
      a.rows != x.rows) {
    throw Error(Status::internal, cat("drift of ", drift.rows(), " x ", drift.cols(), " got rows of ",
                                      a0.cols, ", ", a.cols, " and ", x.cols));
  }
  static_cast<CpuDrift&>(drift).add(workers_of(*this), row(a0, 0), row(a, 0), row(x, 0), x.rows);
}

void CpuStream::retarget(const Factor& factor, const Drifts& drifts, const DriftParts& parts,
                         std::span<const int32_t> order, int64_t first_row, int64_t rows, float* weights) {
  const auto checked = [&](const Drift* drift, double part, int64_t most) {
    if (drift != nullptr) check(factor, *drift, most, order);
    return part == 0 ? nullptr : static_cast<const CpuDrift*>(drift);
  };
  const CpuDrift* inputs = checked(drifts.inputs.get(), parts.inputs, factor.size());
  const CpuDrift* residual =
      checked(drifts.residual.get(), parts.residual, drifts.residual ? drifts.residual->rows() : 0);
  if (residual != nullptr && first_row + rows > residual->rows()) {
    throw Error(Status::internal, cat("rows up to ", first_row + rows, " of a drift of ", residual->rows()));
  }
  if (inputs == nullptr && residual == nullptr) return;
  const UpperPanels& u = static_cast<const CpuFactor&>(factor).u();
  const int64_t cols = u.size(), most = std::min<int64_t>(rows, 512);
  std::vector<float> a(static_cast<size_t>(most * cols)), b(a.size());
  for (int64_t r = 0; r < rows; r += most) {
    const int64_t count = std::min(most, rows - r);
    float* w = weights + r * cols;
    std::fill(b.begin(), b.end(), 0.0f);
    if (inputs != nullptr) {
      tiled_product(*this, gemms().rounded, w, count, cols, cols, nullptr, a.data(),
                    drift_panels(*inputs, order));
      kernels().axpy(static_cast<float>(parts.inputs), a.data(), count * cols, b.data());
    }
    if (residual != nullptr) {
      add_rows(*this, *residual, first_row + r, count, order, static_cast<float>(parts.residual), b.data());
    }
    triangle_product(*this, gemms().rounded, b.data(), count, cols, TiledZeros::above, a.data(),
                     transposed_panels(u));
    triangle_product(*this, gemms().rounded, a.data(), count, cols, TiledZeros::below, b.data(),
                     upper_panels(u));
    kernels().axpy(1.0f, b.data(), count * cols, w);
  }
}

void CpuStream::spread_drift(Factor& factor, const Drift& drift, std::span<const int32_t> order,
                             double alpha) {
  check(factor, drift, factor.size(), order);
  const auto& sums = static_cast<const CpuDrift&>(drift);
  auto& into = static_cast<CpuFactor&>(factor);
  const int64_t size = into.size();
  std::vector<float> ordered(static_cast<size_t>(size * size)), product(ordered.size());
  for (int64_t i = 0; i < size; ++i) {
    for (int64_t j = 0; j < size; ++j) {
      ordered[static_cast<size_t>(i * size + j)] =
          sums.at(order[static_cast<size_t>(i)], order[static_cast<size_t>(j)]);
    }
  }
  triangle_product(*this, gemms().usual, ordered.data(), size, size, TiledZeros::above, product.data(),
                   transposed_panels(into.u()));
  for (int64_t i = 0; i < size; ++i) {  // triu(., 1)
    std::fill_n(product.begin() + i * size, i + 1, 0.0f);
  }
  triangle_product(*this, gemms().usual, product.data(), size, size, TiledZeros::below, ordered.data(),
                   upper_panels(into.u()));
  UpperPanels p(size);
  for (int64_t i = 0; i < size; ++i) {
    for (int64_t j = i + 1; j < size; ++j)
      p.at(i, j) = static_cast<float>(alpha) * ordered[static_cast<size_t>(i * size + j)];
  }
  into.set_spread(std::move(p));
}

}  // namespace gptq::cpu
