#include "cpu/panel_product.h"

#include <algorithm>

namespace gptq::cpu {
namespace {

/// Columns of the result that a thread does at a time.
constexpr int64_t kStrip = 128;

}  // namespace

void subtract_gram(const Workers& workers, const PackedPair& y, int64_t k, int64_t cols, UpperPanels& c) {
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
                               kTileCols, std::min(tile_rows, height - t * tile_rows), kTileCols, -1.0f,
                               true);
        }
      }
    }
  });
}

}  // namespace gptq::cpu
