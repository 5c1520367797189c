// y = x W^T + b and table look-up, and the tiled product that dense and quantized weights share.
#include "cpu/linear.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"

namespace gptq::cpu {
namespace {

constexpr int64_t kBandRows = 528;      // rows of x packed at once: a multiple of every tile height
constexpr int64_t kMostPanels = 8;      // panels of one item
constexpr int64_t kLeastItemRows = 96;  // fewer rows would not pay for widening their panel

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

struct Span {
  int64_t begin, end;
};

/// Rows of x as [step][tile][inputs of the step, padded][rows of a tile].
struct PackedRows {
  const Gemm& gemm;
  const float* data;
  int64_t tiles;
  /// Of the step of `depth` inputs from k on, a multiple of kStepInputs.
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
  const FillPanel& fill;
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
      constexpr int64_t kPanelFloats = kStepInputs * kTileCols;
      const Scratch::Lease panels_of_step = stream.scratch().floats(2 * kPanelFloats);
      float* const panel = panels_of_step.floats();
      for (int64_t i = begin; i < end; ++i) {
        const int64_t first_row = i % slices * item_rows, first_panel = i / slices * group;
        item(packed, {first_row, std::min(rows, first_row + item_rows)},
             {first_panel, std::min(panels, first_panel + group)}, panel, panel + kPanelFloats, y);
      }
    });
  }

  void pack(const float* x, int64_t rows, int64_t padded, float* out) const {
    const int64_t height = gemm.rows;
    stream.parallel_for(padded / height, 2, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const int64_t first = t * height;
        for (int64_t k = 0; k < inputs; k += kStepInputs) {
          const int64_t depth = std::min(kStepInputs, inputs - k);
          gemm.left(x + first * all.x_stride + k, all.x_stride, std::min(height, rows - first), depth,
                    out + gemm.left_floats(k) * (padded / height) + t * gemm.left_floats(depth));
        }
      }
    });
  }

  /// Steps of the inputs outside, panels inside: the rows of a step stay in the cache for all panels.
  void item(const PackedRows& packed, Span rows, Span panels, float* panel, float* packed_panel,
            float* y) const {
    for (int64_t r = rows.begin; start == TiledStart::bias && r < rows.end; ++r) {
      const int64_t first = panels.begin * kTileCols, last = std::min(outputs, panels.end * kTileCols);
      std::copy(bias + first, bias + last, y + r * all.y_stride + first);
    }
    for (int64_t k = 0; k < inputs; k += kStepInputs) {
      const int64_t depth = std::min(kStepInputs, inputs - k);
      for (int64_t p = panels.begin; p < panels.end; ++p) {
        stream.check_cancel();
        const int64_t col = p * kTileCols, cols = std::min(kTileCols, outputs - col);
        fill(col, cols, k, depth, panel);
        if (gemm.right != nullptr) gemm.right(panel, depth, packed_panel);
        gemm.multiply(depth, packed.tile(rows.begin, k, depth), gemm.left_floats(depth),
                      gemm.right != nullptr ? packed_panel : panel, y + rows.begin * all.y_stride + col,
                      all.y_stride, rows.end - rows.begin, cols, k > 0 || start != TiledStart::zero);
      }
    }
  }
};

}  // namespace

std::vector<float> bias_values(const Tensor* bias, int64_t rows) {
  if (bias == nullptr) return {};
  if (bias->elements() != rows) {
    throw Error(Fault::mismatch, cat("a bias of ", bias->elements(), " elements, wanted ", rows));
  }
  return to_float(*bias);
}

void tiled_product(CpuStream& stream, const Gemm& gemm, const TiledRows& operands, TiledStart start,
                   const float* bias, const FillPanel& fill) {
  const TiledProduct product{stream, gemm, operands, start, bias, fill};
  const int64_t rows = operands.rows, bands = (rows + kBandRows - 1) / kBandRows;
  const int64_t band_rows = round_up((rows + bands - 1) / std::max<int64_t>(bands, 1), gemm.rows);
  for (int64_t r = 0; r < rows; r += band_rows) product.band(r, std::min(band_rows, rows - r));
}

void CpuStream::linear(const Linear& w, Matrix x, Matrix y) {
  if (x.rows > 0 && w.out_features() > 0) static_cast<const CpuLinear&>(w).apply(*this, x, y);
}

void CpuStream::embed(const Linear& table, std::span<const int32_t> ids, Matrix out) {
  const auto& weights = static_cast<const CpuLinear&>(table);
  parallel_for(static_cast<int64_t>(ids.size()), 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      weights.read_row(kernels(), ids[static_cast<size_t>(i)], row(out, i));
  });
}

}  // namespace gptq::cpu
