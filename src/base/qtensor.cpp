#include "base/qtensor.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/text.h"

namespace gptq {
namespace {

size_t at(int64_t row, int64_t col, int64_t cols) { return static_cast<size_t>(row * cols + col); }

}  // namespace

QTensor round_to_nearest(const Tensor& weight, int bits, int64_t group_size) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  const int middle = 1 << (bits - 1);
  QTensor q{.bits = bits, .rows = weight.shape[0], .cols = weight.shape[1]};
  q.groups = std::max<int64_t>(1, (q.cols + group_size - 1) / group_size);
  q.codes.resize(static_cast<size_t>(q.rows * q.cols));
  q.scales.resize(static_cast<size_t>(q.groups * q.rows));
  q.zeros.assign(q.scales.size(), static_cast<uint16_t>(middle));
  for (int64_t k = 0; k < q.cols; ++k) q.group_of.push_back(static_cast<int32_t>(k / group_size));
  std::vector<float> row(static_cast<size_t>(q.cols));
  for (int64_t n = 0; n < q.rows; ++n) {
    to_float(weight, n * q.cols, q.cols, row.data());
    for (float& x : row) x = x != x ? 0.0f : std::clamp(x, -kLargest, kLargest);
    for (int64_t g = 0; g < q.groups; ++g) {
      const int64_t begin = g * group_size, end = std::min(q.cols, begin + group_size);
      float most = 0;
      for (int64_t k = begin; k < end; ++k) most = std::max(most, std::abs(row[static_cast<size_t>(k)]));
      const bool some = most >= 1e-30f;  // less counts as 0
      const float scale = some ? most / static_cast<float>(middle - 1) : 0.0f;
      const float factor = some ? 1.0f / scale : 0.0f;
      q.scales[static_cast<size_t>(g * q.rows + n)] = scale;
      for (int64_t k = begin; k < end; ++k) {
        const auto code = static_cast<int>(std::lrint(row[static_cast<size_t>(k)] * factor)) + middle;
        q.codes[static_cast<size_t>(n * q.cols + k)] =
            static_cast<uint8_t>(std::clamp(code, 0, 2 * middle - 1));
      }
    }
  }
  return q;
}

void dequantize_row(const QTensor& q, int64_t row, float* out) {
  for (int64_t k = 0; k < q.cols; ++k) {
    const size_t g = at(q.group_of[static_cast<size_t>(k)], row, q.rows);
    out[k] = q.scales[g] * static_cast<float>(int{q.codes[at(row, k, q.cols)]} - int{q.zeros[g]});
  }
}

QTensor slice_rows(const QTensor& q, int64_t begin, int64_t end) {
  QTensor s{.bits = q.bits, .rows = end - begin, .cols = q.cols, .groups = q.groups};
  s.codes.assign(q.codes.begin() + begin * q.cols, q.codes.begin() + end * q.cols);
  s.group_of = q.group_of;
  for (int64_t g = 0; g < q.groups; ++g) {
    s.scales.insert(s.scales.end(), q.scales.begin() + g * q.rows + begin,
                    q.scales.begin() + g * q.rows + end);
    s.zeros.insert(s.zeros.end(), q.zeros.begin() + g * q.rows + begin, q.zeros.begin() + g * q.rows + end);
  }
  return s;
}

QTensor gather_rows(const QTensor& q, std::span<const int64_t> rows) {
  QTensor part{.bits = q.bits, .rows = static_cast<int64_t>(rows.size()), .cols = q.cols, .groups = q.groups};
  part.group_of = q.group_of;
  for (int64_t row : rows)
    part.codes.insert(part.codes.end(), q.codes.begin() + row * q.cols, q.codes.begin() + (row + 1) * q.cols);
  for (int64_t g = 0; g < q.groups; ++g) {
    for (int64_t row : rows) {
      part.scales.push_back(q.scales[at(g, row, q.rows)]);
      part.zeros.push_back(q.zeros[at(g, row, q.rows)]);
    }
  }
  return part;
}

void validate(const QTensor& q, std::string_view what) {
  const auto n = static_cast<size_t>(q.rows), k = static_cast<size_t>(q.cols),
             g = static_cast<size_t>(q.groups);
  if (!is_bit_width(q.bits)) {
    throw Error(Fault::unsupported, cat(what, ": ", q.bits, " bits, wanted 2, 3, 4 or 8"));
  }
  if (q.rows <= 0 || q.cols <= 0 || q.groups <= 0 || q.codes.size() != n * k || q.scales.size() != g * n ||
      q.zeros.size() != g * n || q.group_of.size() != k) {
    throw Error(Fault::mismatch, cat(what, ": sizes of codes, scales, zeros and groups do not fit [", q.rows,
                                     ", ", q.cols, "] in ", q.groups, " groups"));
  }
  const int limit = 1 << q.bits;
  if (std::any_of(q.codes.begin(), q.codes.end(), [&](uint8_t c) { return c >= limit; })) {
    throw Error(Fault::range, cat(what, ": a code is above ", limit - 1));
  }
  if (std::any_of(q.zeros.begin(), q.zeros.end(), [&](uint16_t z) { return z > limit; })) {
    throw Error(Fault::range, cat(what, ": a zero point is above ", limit));
  }
  for (size_t i = 0; i < k; ++i) {
    if (q.group_of[i] < 0 || q.group_of[i] >= q.groups) {
      throw Error(Fault::range,
                  cat(what, ": g_idx[", i, "] is ", q.group_of[i], ", wanted 0 to ", q.groups - 1));
    }
  }
  for (size_t i = 0; i < q.scales.size(); ++i) {
    if (!std::isfinite(q.scales[i])) {
      throw Error(Fault::numeric, cat(what, ": scale ", i, " is not finite"));
    }
  }
}

}  // namespace gptq
