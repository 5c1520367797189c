// Sums of outer products of two kinds of inputs, and what is made of them: better targets for the weights.
#include "cpu/drift.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/text.h"
#include "cpu/factor.h"
#include "cpu/linear.h"
#include "cpu/panel_product.h"
#include "cpu/stream_cpu.h"

namespace gptq::cpu {
namespace {

/// Rows of x whose products are summed before they join the total.
constexpr int64_t kChunkRows = 256;
/// Columns of the result that a thread does at a time.
constexpr int64_t kStrip = 128;

/// Columns [begin, begin + width) of x0 - x or, without x0, of x, [k, cols] each, zeros beyond cols.
void copy_strip(const float* x0, const float* x, int64_t k, int64_t cols, int64_t begin, int64_t width,
                float* out) {
  const int64_t inside = std::clamp<int64_t>(cols - begin, 0, width);
  for (int64_t i = 0; i < k; ++i, out += width) {
    const float* from = x + i * cols + begin;
    for (int64_t j = 0; j < inside; ++j)
      out[j] = x0 != nullptr ? x0[i * cols + begin + j] - from[j] : from[j];
    std::fill(out + inside, out + width, 0.0f);
  }
}

void pack_both(const Workers& workers, const float* x0, const float* x, int64_t k, int64_t cols,
               const PackedPair& y) {
  const int64_t tile_rows = y.tile_rows(), tiles = (cols + tile_rows - 1) / tile_rows;
  workers.parallel_for(tiles + panels_for(cols), 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (i < tiles) {
        copy_strip(x0, x, k, cols, i * tile_rows, tile_rows, y.left(i));
      } else {
        copy_strip(nullptr, x, k, cols, (i - tiles) * kTileCols, kTileCols, y.right(i - tiles));
      }
    }
  });
}

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
  const PackedPair y(workers.kernels, std::min(rows, kChunkRows), size_);
  const int64_t tile_rows = y.tile_rows(), strip_rows = std::max<int64_t>(1, kStrip / tile_rows) * tile_rows;
  const int64_t row_strips = (size_ + strip_rows - 1) / strip_rows,
                col_strips = (size_ + kStrip - 1) / kStrip;
  for (int64_t done = 0; done < rows; done += kChunkRows) {
    const int64_t k = std::min(rows - done, kChunkRows);
    pack_both(workers, x0 + done * size_, x + done * size_, k, size_, y);
    workers.parallel_for(row_strips * col_strips, 1, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t first_row = task % row_strips * strip_rows, first_col = task / row_strips * kStrip;
        for (int64_t c = first_col; c < std::min(size_, first_col + kStrip); c += kTileCols) {
          for (int64_t r = first_row; r < std::min(size_, first_row + strip_rows); r += tile_rows) {
            workers.kernels.tile(k, y.left(r / tile_rows), y.right(c / kTileCols), kTileCols,
                                 sums() + r * size_ + c, size_, std::min(tile_rows, size_ - r),
                                 std::min(kTileCols, size_ - c), 1.0f, true);
          }
        }
      }
    });
  }
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
    tiled_product(*this, weights + r * cols, count, cols, cols, nullptr, a.data(), drift_panels(sums, order));
    tiled_product(*this, a.data(), count, cols, cols, nullptr, b.data(), transposed_panels(u));
    tiled_product(*this, b.data(), count, cols, cols, nullptr, a.data(), upper_panels(u));
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
  tiled_product(*this, ordered.data(), size, size, size, nullptr, product.data(),
                transposed_panels(into.u()));
  for (int64_t i = 0; i < size; ++i) {  // triu(., 1)
    std::fill_n(product.begin() + i * size, i + 1, 0.0f);
  }
  tiled_product(*this, product.data(), size, size, size, nullptr, ordered.data(), upper_panels(into.u()));
  UpperPanels p(size);
  for (int64_t i = 0; i < size; ++i) {
    for (int64_t j = i + 1; j < size; ++j)
      p.at(i, j) = static_cast<float>(alpha) * ordered[static_cast<size_t>(i * size + j)];
  }
  into.set_spread(std::move(p));
}

}  // namespace gptq::cpu
