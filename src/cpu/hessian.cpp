// Sums of outer products of inputs, on the tile kernel.
#include "cpu/hessian.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/text.h"
#include "cpu/stream_cpu.h"

namespace gptq::cpu {
namespace {

/// Rows of x whose products are summed before they join the total.
constexpr int64_t kChunkRows = 256;
/// Columns of the result that a thread does at a time.
constexpr int64_t kStrip = 128;

/// Columns [begin, begin + width) of x [k, cols], zeros beyond cols.
void copy_strip(const float* x, int64_t k, int64_t cols, int64_t begin, int64_t width, float* out) {
  const auto inside = static_cast<size_t>(std::clamp<int64_t>(cols - begin, 0, width));
  for (int64_t i = 0; i < k; ++i, out += width) {
    std::memcpy(out, x + i * cols + begin, inside * sizeof(float));
    std::fill(out + inside, out + width, 0.0f);
  }
}

void pack_both(const Workers& workers, const float* x, int64_t k, int64_t cols, const PackedPair& y) {
  const int64_t tile_rows = y.tile_rows(), tiles = (cols + tile_rows - 1) / tile_rows,
                panels = panels_for(cols);
  workers.parallel_for(tiles + panels, 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (i < tiles) {
        copy_strip(x, k, cols, i * tile_rows, tile_rows, y.left(i));
      } else {
        copy_strip(x, k, cols, (i - tiles) * kTileCols, kTileCols, y.right(i - tiles));
      }
    }
  });
}

}  // namespace

void add_gram(const Workers& workers, const PackedPair& y, int64_t k, int64_t cols, float sign,
              UpperPanels& c) {
  const int64_t tile_rows = y.tile_rows(), strip_tiles = std::max<int64_t>(1, kStrip / tile_rows);
  const int64_t strip_rows = strip_tiles * tile_rows, strip_panels = kStrip / kTileCols;
  const int64_t row_strips = (cols + strip_rows - 1) / strip_rows;
  const int64_t panels = panels_for(cols), col_strips = (panels + strip_panels - 1) / strip_panels;
  workers.parallel_for(row_strips * col_strips, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t first_tile = task % row_strips * strip_tiles,
                    first_panel = task / row_strips * strip_panels;
      const int64_t end_panel = std::min(first_panel + strip_panels, panels);
      for (int64_t p = first_panel; p < end_panel; ++p) {
        const int64_t height = UpperPanels::panel_rows(p);
        for (int64_t t = first_tile; t < first_tile + strip_tiles && t * tile_rows < std::min(height, cols);
             ++t) {
          workers.kernels.tile(k, y.left(t), y.right(p), kTileCols, c.panel(p) + t * tile_rows * kTileCols,
                               kTileCols, std::min(tile_rows, height - t * tile_rows), kTileCols, sign, true);
        }
      }
    }
  });
}

void CpuHessian::add(const Workers& workers, const float* x, int64_t rows) {
  if (rows <= 0) return;
  const PackedPair y(workers.kernels, std::min(rows, kChunkRows), size());
  for (int64_t done = 0; done < rows; done += kChunkRows) {
    const int64_t k = std::min(rows - done, kChunkRows);
    pack_both(workers, x + done * size(), k, size(), y);
    add_gram(workers, y, k, size(), 1.0f, sums_);
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
