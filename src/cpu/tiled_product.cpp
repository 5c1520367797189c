// Rows are packed in bands; an item of work is some panels of W^T by some rows of the band.
#include "cpu/tiled_product.h"

#include <algorithm>

namespace gptq::cpu {
namespace {

constexpr int64_t kBandRows = 528;      // rows of x packed at once: a multiple of every tile height
constexpr int64_t kMostPanels = 8;      // panels of one item
constexpr int64_t kLeastItemRows = 96;  // fewer rows would not pay for widening their panel

/// Of a step's panel, before and after it is packed.
constexpr int64_t panel_floats(const Gemm& gemm) { return gemm.inputs * kTileCols; }

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

struct Span {
  int64_t begin, end;
};

/// The panel of output columns [col, col + cols), inputs [k, k + depth), as the Gemm takes it; there is scratch memory for
/// two.
using RightPanel =
    std::function<const float*(int64_t col, int64_t cols, int64_t k, int64_t depth, float* scratch)>;

/// Rows of x as [step][tile][inputs of the step, padded][rows of a tile].
struct PackedRows {
  const Gemm& gemm;
  const float* data;
  int64_t tiles;
  /// Of the step of `depth` inputs from k on.
  const float* tile(int64_t first_row, int64_t k, int64_t depth) const {
    return data + gemm.left_floats(k) * tiles + first_row / gemm.rows * gemm.left_floats(depth);
  }
};

struct TiledProduct {
  CpuStream& stream;
  const Gemm& gemm;
  const TiledRows& all;
  TiledStart start;
  const float* bias;
  const RightPanel& right;
  TiledZeros zeros;
  int64_t inputs = all.inputs, outputs = all.outputs;

  void band(int64_t first, int64_t rows) const {
    const int64_t height = gemm.rows, padded = round_up(rows, height);
    const float* const x = all.x + first * all.x_stride;
    float* const y = all.y + first * all.y_stride;
    const Scratch::Lease lease = stream.scratch().floats(padded / height * gemm.left_floats(inputs));
    pack(x, rows, padded, lease.floats());
    const PackedRows packed{gemm, lease.floats(), padded / height};
    const int64_t panels = (outputs + kTileCols - 1) / kTileCols;
    // an item is some panels and, where those are few, some of the rows: no result depends on the split
    const int64_t wanted = 4 * stream.threads();
    const int64_t group = std::clamp<int64_t>(panels / wanted, 1, kMostPanels),
                  groups = (panels + group - 1) / group;
    const int64_t cuts = (wanted + groups - 1) / groups;
    const int64_t item_rows = round_up(std::max(kLeastItemRows, (rows + cuts - 1) / cuts), height);
    const int64_t slices = (rows + item_rows - 1) / item_rows;
    stream.parallel_for(groups * slices, 1, [&](int64_t begin, int64_t end) {
      const Scratch::Lease panels_of_step = stream.scratch().floats(2 * panel_floats(gemm));
      for (int64_t i = begin; i < end; ++i) {
        const int64_t first_row = i % slices * item_rows, first_panel = i / slices * group;
        item(packed, {first_row, std::min(rows, first_row + item_rows)},
             {first_panel, std::min(panels, first_panel + group)}, panels_of_step.floats(), y);
      }
    });
  }

  void pack(const float* x, int64_t rows, int64_t padded, float* out) const {
    const int64_t height = gemm.rows;
    stream.parallel_for(padded / height, 2, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const int64_t first = t * height;
        for (int64_t k = 0; k < inputs; k += gemm.inputs) {
          const int64_t depth = std::min(gemm.inputs, inputs - k);
          gemm.left(x + first * all.x_stride + k, all.x_stride, std::min(height, rows - first), depth,
                    out + gemm.left_floats(k) * (padded / height) + t * gemm.left_floats(depth));
        }
      }
    });
  }

  /// Steps of the inputs outside, panels inside: the rows of a step stay in the cache for all panels.
  void item(const PackedRows& packed, Span rows, Span panels, float* scratch, float* y) const {
    for (int64_t r = rows.begin; start == TiledStart::bias && r < rows.end; ++r) {
      const int64_t first = panels.begin * kTileCols, last = std::min(outputs, panels.end * kTileCols);
      std::copy(bias + first, bias + last, y + r * all.y_stride + first);
    }
    for (int64_t k = 0; k < inputs; k += gemm.inputs) {
      const int64_t depth = std::min(gemm.inputs, inputs - k);
      for (int64_t p = panels.begin; p < panels.end; ++p) {
        stream.check_cancel();
        const int64_t col = p * kTileCols, cols = std::min(kTileCols, outputs - col);
        if (zeros == TiledZeros::above && k + depth <= col) continue;
        if (zeros == TiledZeros::below && k >= col + cols) continue;
        const int64_t first_step = zeros == TiledZeros::above ? col / gemm.inputs * gemm.inputs : 0;
        gemm.multiply(depth, packed.tile(rows.begin, k, depth), gemm.left_floats(depth),
                      right(col, cols, k, depth, scratch), y + rows.begin * all.y_stride + col, all.y_stride,
                      rows.end - rows.begin, cols, k > first_step || start != TiledStart::zero);
      }
    }
  }
};

void multiply(CpuStream& stream, const Gemm& gemm, const TiledRows& operands, TiledStart start,
              const float* bias, const RightPanel& right, TiledZeros zeros = TiledZeros::none) {
  const TiledProduct product{stream, gemm, operands, start, bias, right, zeros};
  const int64_t rows = operands.rows, bands = (rows + kBandRows - 1) / kBandRows;
  const int64_t band_rows = round_up((rows + bands - 1) / std::max<int64_t>(bands, 1), gemm.rows);
  for (int64_t r = 0; r < rows; r += band_rows) product.band(r, std::min(band_rows, rows - r));
}

RightPanel packed_by(const Gemm& gemm, const FillPanel& fill) {
  return [&](int64_t col, int64_t cols, int64_t k, int64_t depth, float* scratch) {
    fill(col, cols, k, depth, scratch);
    if (gemm.right == nullptr) return scratch;
    gemm.right(scratch, depth, scratch + panel_floats(gemm));
    return scratch + panel_floats(gemm);
  };
}

}  // namespace

void tiled_product(CpuStream& stream, const Gemm& gemm, const TiledRows& operands, TiledStart start,
                   const float* bias, const FillPanel& fill) {
  multiply(stream, gemm, operands, start, bias, packed_by(gemm, fill));
}

void triangle_product(CpuStream& stream, const Gemm& gemm, const float* x, int64_t rows, int64_t size,
                      TiledZeros zeros, float* y, const FillPanel& fill) {
  multiply(stream, gemm, {x, size, y, size, rows, size, size}, TiledStart::zero, nullptr,
           packed_by(gemm, fill), zeros);
}

PackedRight::PackedRight(CpuStream& stream, const Gemm& gemm, int64_t inputs, int64_t outputs,
                         const FillPanel& fill)
    : gemm_(gemm),
      inputs_(round_up(inputs, kInputs)),
      block_(static_cast<size_t>(round_up(outputs, kTileCols) / kTileCols * gemm.right_floats(inputs_)) *
             sizeof(float)) {
  stream.parallel_for(round_up(outputs, kTileCols) / kTileCols, 1, [&](int64_t begin, int64_t end) {
    const Scratch::Lease lease = stream.scratch().floats(panel_floats(gemm));
    for (int64_t p = begin; p < end; ++p) {
      const int64_t col = p * kTileCols, cols = std::min(kTileCols, outputs - col);
      for (int64_t k = 0; k < inputs; k += gemm.inputs) {
        const int64_t depth = std::min(gemm.inputs, inputs - k);
        float* const out = const_cast<float*>(at(k, col));
        fill(col, cols, k, depth, gemm.right != nullptr ? lease.floats() : out);
        if (gemm.right != nullptr) gemm.right(lease.floats(), depth, out);
      }
    }
  });
}

void tiled_product(CpuStream& stream, const PackedRight& weights, int64_t input, int64_t output,
                   const TiledRows& operands, TiledStart start) {
  multiply(
      stream, weights.gemm(), operands, start, nullptr,
      [&](int64_t col, int64_t, int64_t k, int64_t, float*) { return weights.at(input + k, output + col); });
}

}  // namespace gptq::cpu
