// Products with rounded inputs in plain C++.
#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu/group_values.h"

namespace gptq::cpu {
namespace {

void round(const float* x, const Blocks& blocks, int bits, int8_t* q, float* scales, int32_t* sums) {
  const uint8_t* const order = quad_order(bits);
  for (int64_t b = 0; b < blocks.count; ++b) {
    const int64_t begin = block_begin(blocks, b) * kUnit, end = blocks.ends[b] * kUnit;
    float most = 0.0f;
    bool finite = true;
    for (int64_t i = begin; i < end; ++i) {
      finite = finite && std::isfinite(x[i]);
      most = std::max(most, std::abs(x[i]));
    }
    const bool some = finite && most >= kLeastRounded;
    const float factor = some ? 127.0f / most : 0.0f;
    scales[b] = some ? most / 127.0f : finite ? 0.0f : std::numeric_limits<float>::quiet_NaN();
    sums[b] = 0;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t from = i / kUnit * kUnit + order[i % kUnit];
      q[i] = some ? static_cast<int8_t>(std::lrint(x[from] * factor)) : int8_t{0};
      sums[b] += q[i];
    }
  }
}

/// Field of the input that comes out of its unit as number i % kUnit.
int field(const QPanel& panel, int64_t i, int64_t column) {
  return field_at(panel, i / kUnit * kUnit + quad_order(panel.bits)[i % kUnit], column);
}

/// y with what block b adds, `dot` the sum of products of fields and q.
float with_block(const QPanel& panel, const Blocks& blocks, const RoundedRows& rows, int64_t row, int64_t b,
                 int64_t column, int32_t dot, float y) {
  const int64_t at = blocks.groups[b] * kPanel + column, input = row * blocks.count + b;
  float sum = static_cast<float>(dot - field_middle(panel.bits) * rows.sums[input]);
  if (are_there(panel.zeros)) sum -= value_at(panel.zeros, at) * static_cast<float>(rows.sums[input]);
  return std::fma(sum, value_at(panel.scales, at) * rows.scales[input], y);
}

void dot(const QPanel& first, const Blocks& blocks, int64_t panels, const RoundedRows& rows) {
  for (int64_t n = 0; n < panels * kPanel; ++n) {
    const QPanel panel = panel_at(first, n / kPanel);
    for (int64_t r = 0; r < rows.rows; ++r) {
      float y = 0.0f;
      for (int64_t b = 0; b < blocks.count; ++b) {
        int32_t sum = 0;
        for (int64_t i = block_begin(blocks, b) * kUnit; i < blocks.ends[b] * kUnit; ++i)
          sum += field(panel, i, n % kPanel) * rows.q[r * rows.ldq + i];
        y = with_block(panel, blocks, rows, r, b, n % kPanel, sum, y);
      }
      rows.y[r * rows.ldy + n] = y;
    }
  }
}

void unpack(const QPanel& first, int64_t panels, int64_t begin, int64_t end, uint8_t* fields) {
  for (int64_t n = 0; n < panels * kPanel; ++n) {
    const QPanel panel = panel_at(first, n / kPanel);
    for (int64_t i = 0; i < (end - begin) * kUnit; ++i) {
      fields[i / 4 * kTileCols * 4 + n * 4 + i % 4] =
          static_cast<uint8_t>(field(panel, begin * kUnit + i, n % kPanel));
    }
  }
}

void multiply(const RoundedStep& step, const RoundedRows& rows, int64_t cols, bool accumulate) {
  const Blocks& blocks = step.blocks;
  const int64_t start = block_begin(blocks, step.begin) * kUnit;
  for (int64_t r = 0; r < rows.rows; ++r) {
    float* const y = rows.y + r * rows.ldy;
    if (!accumulate) std::fill_n(y, cols, 0.0f);
    for (int64_t b = step.begin; b < step.end; ++b) {
      int32_t sums[kTileCols] = {};
      for (int64_t i = block_begin(blocks, b) * kUnit; i < blocks.ends[b] * kUnit; ++i) {
        const uint8_t* const fields = step.fields + (i - start) / 4 * kTileCols * 4 + (i - start) % 4;
        const int32_t q = rows.q[r * rows.ldq + i];
        for (int64_t n = 0; n < kTileCols; ++n) sums[n] += q * fields[4 * n];
      }
      for (int64_t n = 0; n < cols; ++n)
        y[n] = with_block(panel_at(step.first, n / kPanel), blocks, rows, r, b, n % kPanel, sums[n], y[n]);
    }
  }
}

}  // namespace

const RoundedKernels kRoundedRef{
    .round = round, .dot = dot, .dot_rows = 8, .unpack = unpack, .multiply = multiply};

}  // namespace gptq::cpu
