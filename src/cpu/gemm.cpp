// C (+|-)= A B: A packed in row tiles once per block of K, columns of B packed by whoever needs them.
#include "cpu/gemm.h"

#include <algorithm>

namespace gptq::cpu {
namespace {

constexpr int64_t kBlockK = 512;
constexpr int64_t kBlockRows =
    240;  // rows of A that meet one packed panel of B: a multiple of every tile height
constexpr int64_t kPackTiles = 8;

/// out[i][r] = element (r, i) for r < rows, i < k, zero up to `width`.
void pack_rows(const Kernels& kernels, View a, int64_t rows, int64_t k, float* out, int64_t width) {
  if (a.col_stride == 1) {
    kernels.pack(Dense::f32, a.data, a.row_stride, rows, k, out, width);
    return;
  }
  for (int64_t i = 0; i < k; ++i, out += width) {
    const float* from = a.data + i * a.col_stride;
    for (int64_t r = 0; r < rows; ++r) out[r] = from[r * a.row_stride];
    for (int64_t r = rows; r < width; ++r) out[r] = 0.0f;
  }
}

/// Whether any element of rows [r0, r1), columns [c0, c1) is wanted.
bool wanted(Region region, int64_t r0, int64_t r1, int64_t c0, int64_t c1) {
  switch (region) {
    case Region::all: return true;
    case Region::lower: return r1 - 1 >= c0;
    case Region::upper: return r0 <= c1 - 1;
  }
  return true;
}

struct Product {
  CpuStream& stream;
  const Kernels& kernels;
  int64_t m, n, k;
  View a, b;
  float* c;
  int64_t ldc;
  Into into;
  Region region;

  void pack_a(int64_t k0, int64_t depth, float* packed) const {
    const int64_t height = kernels.tile_rows;
    stream.parallel_for((m + height - 1) / height, kPackTiles, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const View part{a.data + t * height * a.row_stride + k0 * a.col_stride, a.row_stride, a.col_stride};
        pack_rows(kernels, part, std::min(height, m - t * height), depth, packed + t * height * depth,
                  height);
      }
    });
  }

  void multiply(int64_t k0, int64_t depth, const float* packed) const {
    const int64_t panels = (n + kTileCols - 1) / kTileCols, bands = (m + kBlockRows - 1) / kBlockRows;
    stream.parallel_for(panels * bands, 1, [&](int64_t begin, int64_t end) {
      const Scratch::Lease panel = stream.scratch().floats(depth * kTileCols);
      for (int64_t i = begin; i < end; ++i) band(i / panels, i % panels, k0, depth, packed, panel.floats());
    });
  }

  void band(int64_t index, int64_t panel_index, int64_t k0, int64_t depth, const float* packed,
            float* panel) const {
    const int64_t first = index * kBlockRows, last = std::min(m, first + kBlockRows);
    const int64_t col = panel_index * kTileCols, cols = std::min(kTileCols, n - col);
    if (!wanted(region, first, last, col, col + cols)) return;
    const View part{b.data + k0 * b.row_stride + col * b.col_stride, b.col_stride, b.row_stride};
    pack_rows(kernels, part, cols, depth, panel, kTileCols);
    const float sign = into == Into::subtract ? -1.0f : 1.0f;
    const bool accumulate = into != Into::overwrite || k0 > 0;
    for (int64_t r = first; r < last; r += kernels.tile_rows) {
      const int64_t rows = std::min(kernels.tile_rows, last - r);
      if (!wanted(region, r, r + rows, col, col + cols)) continue;
      kernels.tile(depth, packed + r * depth, panel, kTileCols, c + r * ldc + col, ldc, rows, cols, sign,
                   accumulate);
    }
  }
};

}  // namespace

void gemm(CpuStream& stream, int64_t m, int64_t n, int64_t k, View a, View b, float* c, int64_t ldc,
          Into into, Region region) {
  if (m <= 0 || n <= 0) return;
  if (k <= 0) {
    if (into == Into::overwrite) {
      for (int64_t r = 0; r < m; ++r) std::fill_n(c + r * ldc, n, 0.0f);
    }
    return;
  }
  const Product product{stream, stream.kernels(), m, n, k, a, b, c, ldc, into, region};
  const int64_t height = product.kernels.tile_rows;
  const Scratch::Lease packed =
      stream.scratch().floats((m + height - 1) / height * height * std::min(k, kBlockK));
  for (int64_t k0 = 0; k0 < k; k0 += kBlockK) {
    const int64_t depth = std::min(kBlockK, k - k0);
    product.pack_a(k0, depth, packed.floats());
    product.multiply(k0, depth, packed.floats());
  }
}

}  // namespace gptq::cpu
