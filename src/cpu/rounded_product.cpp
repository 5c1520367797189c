// Few rows meet the weights as they lie; for more, the fields of a panel are taken out once for all rows.
#include "cpu/rounded_product.h"

#include <algorithm>

namespace gptq::cpu {
namespace {

constexpr int64_t kFewRows = 8;         // up to which weights are multiplied as they lie
constexpr int64_t kPanelsPerChunk = 4;  // then
constexpr int64_t kPairPanels = kTileCols / kPanel;
constexpr int64_t kMostPairs = 4;  // pairs of panels of one item
constexpr int64_t kLeastItemRows = 48;
constexpr int64_t kMostItemRows = 528;      // a multiple of what multiply() of every set takes at once
constexpr int64_t kStepUnits = 32;          // whose fields, 32 columns of bytes, stay in the first cache
constexpr int64_t kInlineInputs = 1 << 14;  // rounded by the calling thread

int64_t divide_up(int64_t n, int64_t by) { return (n + by - 1) / by; }

struct Item {
  int64_t first_row, rows, first_pair, pairs;
};

class RoundedProduct {
 public:
  RoundedProduct(CpuStream& stream, const RoundedWeights& weights, int64_t rows, float* y)
      : stream_(stream), kernels_(*stream.kernels().rounded), w_(weights), count_(rows), y_(y) {}

  void run(const float* x);

 private:
  void round(const float* x);
  void few();
  void many();
  void multiply(const Item& item, uint8_t* fields, float* sums) const;
  void store(const Item& item, const float* sums) const;
  void add_bias(float* y, int64_t col, int64_t cols) const {
    if (w_.bias != nullptr) stream_.kernels().add(y, w_.bias + col, cols);
  }

  int64_t inputs() const { return w_.first.units * kUnit; }
  int64_t panels() const { return divide_up(w_.outputs, kPanel); }
  QPanel panel(int64_t index) const {
    const int64_t parameters = index * w_.first.groups * kPanel;
    QPanel p = w_.first;
    p.words += index * panel_words(p.units, p.bits);
    p.scales += parameters;
    if (p.zeros != nullptr) p.zeros += parameters;
    return p;
  }
  RoundedRows rows(int64_t first, int64_t count) const {
    return {count,
            rows_.q + first * rows_.ldq,
            rows_.ldq,
            rows_.scales + first * w_.blocks.count,
            rows_.sums + first * w_.blocks.count,
            nullptr,
            0};
  }

  CpuStream& stream_;
  const RoundedKernels& kernels_;
  const RoundedWeights& w_;
  int64_t count_;
  float* y_;
  RoundedRows rows_{};
};

void RoundedProduct::run(const float* x) {
  // some bytes more than a power of two: rows should not meet in one line of the cache
  const int64_t stride = divide_up(inputs(), 64) * 64 + 64;
  const Scratch::Lease q = stream_.scratch().bytes(static_cast<size_t>(count_ * stride));
  const Scratch::Lease parameters = stream_.scratch().floats(2 * count_ * w_.blocks.count);
  rows_ = {count_,
           q.as<int8_t>(),
           stride,
           parameters.floats(),
           parameters.as<int32_t>() + count_ * w_.blocks.count,
           nullptr,
           0};
  round(x);
  count_ <= kFewRows ? few() : many();
}

void RoundedProduct::round(const float* x) {
  const auto part = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      kernels_.round(x + i * inputs(), w_.blocks, w_.first.bits, const_cast<int8_t*>(rows_.q) + i * rows_.ldq,
                     const_cast<float*>(rows_.scales) + i * w_.blocks.count,
                     const_cast<int32_t*>(rows_.sums) + i * w_.blocks.count);
    }
  };
  if (count_ * inputs() <= kInlineInputs) return part(0, count_);
  stream_.parallel_for(count_, 4, part);
}

void RoundedProduct::few() {
  stream_.parallel_for(panels(), kPanelsPerChunk, [&](int64_t begin, int64_t end) {
    constexpr int64_t kColumns = kPanelsPerChunk * kPanel;
    alignas(64) float out[kFewRows * kColumns];
    RoundedRows all = rows(0, count_);
    all.y = out;
    all.ldy = kColumns;
    kernels_.dot(panel(begin), w_.blocks, end - begin, all);
    const int64_t col = begin * kPanel, cols = std::min(end * kPanel, w_.outputs) - col;
    for (int64_t i = 0; i < count_; ++i) {
      add_bias(out + i * kColumns, col, cols);
      std::copy_n(out + i * kColumns, cols, y_ + i * w_.outputs + col);
    }
  });
}

/// An item of work is some pairs of panels by some rows: no result depends on the split.
void RoundedProduct::many() {
  const int64_t pairs = divide_up(panels(), kPairPanels), wanted = 4 * stream_.threads();
  const int64_t group = std::clamp<int64_t>(pairs / wanted, 1, kMostPairs), groups = divide_up(pairs, group);
  const int64_t cuts = std::max(divide_up(wanted, groups), divide_up(count_, kMostItemRows));
  const int64_t slices = std::max<int64_t>(1, std::min(cuts, count_ / kLeastItemRows));
  const int64_t item_rows = divide_up(count_, slices);
  stream_.parallel_for(groups * slices, 1, [&](int64_t begin, int64_t end) {
    const Scratch::Lease fields = stream_.scratch().bytes(kStepUnits * kUnit * kTileCols);
    const Scratch::Lease sums = stream_.scratch().floats(group * item_rows * kTileCols);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first_row = i % slices * item_rows, first_pair = i / slices * group;
      const Item item{first_row, std::min(item_rows, count_ - first_row), first_pair,
                      std::min(group, pairs - first_pair)};
      multiply(item, fields.as<uint8_t>(), sums.floats());
      store(item, sums.floats());
    }
  });
}

/// Steps of the inputs outside, panels inside: the inputs of a step stay in the cache for all panels, and so do the sums
/// [pair][row][kTileCols], which would meet in few of its lines if they had the distances of y.
void RoundedProduct::multiply(const Item& item, uint8_t* fields, float* sums) const {
  const Blocks& blocks = w_.blocks;
  RoundedRows some = rows(item.first_row, item.rows);
  some.ldy = kTileCols;
  for (int64_t begin = 0, end = 0; begin < blocks.count; begin = end) {
    const int64_t unit = blocks.begin(begin);
    for (end = begin + 1; end < blocks.count && blocks.ends[end] - unit <= kStepUnits;) ++end;
    for (int64_t pair = 0; pair < item.pairs; ++pair) {
      stream_.check_cancel();
      const int64_t index = (item.first_pair + pair) * kPairPanels;
      const int64_t count = std::min(kPairPanels, panels() - index);
      kernels_.unpack(panel(index), count, unit, blocks.ends[end - 1], fields);
      some.y = sums + pair * item.rows * kTileCols;
      kernels_.multiply({panel(index), count, blocks, begin, end, fields}, some, count * kPanel, begin > 0);
    }
  }
}

void RoundedProduct::store(const Item& item, const float* sums) const {
  for (int64_t pair = 0; pair < item.pairs; ++pair) {
    const int64_t col = (item.first_pair + pair) * kTileCols, cols = std::min(kTileCols, w_.outputs - col);
    for (int64_t i = 0; i < item.rows; ++i) {
      float* const y = y_ + (item.first_row + i) * w_.outputs + col;
      std::copy_n(sums + (pair * item.rows + i) * kTileCols, cols, y);
      add_bias(y, col, cols);
    }
  }
}

}  // namespace

void rounded_product(CpuStream& stream, const RoundedWeights& weights, const float* x, int64_t rows,
                     float* y) {
  RoundedProduct(stream, weights, rows, y).run(x);
}

}  // namespace gptq::cpu
