// Quantized weights. Inputs are sorted by group, each group's run padded to whole units, and packed in panels of
// columns as kernels.h draws them; what the layout does not say (the order of inputs) is kept beside it.
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/fields.h"
#include "cpu/group_values.h"
#include "cpu/linear.h"

namespace gptq::cpu {
namespace {

constexpr int64_t kPanelsPerChunk = 4;
constexpr int64_t kPrepareCodes = 1 << 18;  // codes packed by one chunk

class QuantizedLinear final : public CpuLinear {
 public:
  QuantizedLinear(Runtime& runtime, const QTensor& q, const Tensor* bias);

  int64_t in_features() const override { return inputs_; }
  int64_t out_features() const override { return outputs_; }
  uint64_t bytes() const override {
    return words_.bytes() + scales_.bytes() + zeros_.bytes() + order_.size() * sizeof(int32_t) +
           bias_.size() * sizeof(float);
  }
  QTensor unpack() const override;
  void apply(CpuStream& stream, Matrix x, Matrix y) const override;
  std::optional<RoundedWeights> rounded() const override {
    if (units_ == 0 || outputs_ == 0) return std::nullopt;
    const Blocks blocks{block_ends_.data(), block_groups_.data(), static_cast<int64_t>(block_ends_.size())};
    return RoundedWeights{panel(0), blocks, inputs_, outputs_, order_, bias()};
  }
  void read_row(const Kernels& kernels, int64_t index, float* out) const override;

 private:
  void sort_inputs(const QTensor& q);
  void pack_panel(const QTensor& q, int64_t panel);
  void by_panels(CpuStream& stream, const float* x, Matrix y) const;
  void cut_blocks();

  int64_t padded() const { return units_ * kUnit; }
  int64_t panels() const { return (outputs_ + kPanel - 1) / kPanel; }
  int middle() const { return field_middle(code_bits_); }
  const float* bias() const { return bias_.empty() ? nullptr : bias_.data(); }
  /// Input at a place of the packed order, -1 for padding.
  int64_t input_at(int64_t place) const {
    return order_.empty() ? place : order_[static_cast<size_t>(place)];
  }
  QPanel panel(int64_t index) const {
    return {words_.as<uint32_t>() + index * panel_words(units_, field_bits_),
            scales_.from(index * groups_ * kPanel),
            zeros_.from(index * groups_ * kPanel),
            group_ends_.data(),
            groups_,
            units_,
            field_bits_};
  }
  int code(int64_t row, int64_t place) const {
    return field_at(panel(row / kPanel), place, row % kPanel) - field_middle(field_bits_) + middle();
  }
  /// x in packed order with zeros for padding, when that differs from x.
  void gather(const float* x, float* out) const {
    for (size_t i = 0; i < order_.size(); ++i) out[i] = order_[i] < 0 ? 0.0f : x[order_[i]];
  }

  int code_bits_, field_bits_;
  int64_t outputs_, inputs_, groups_, units_ = 0;
  std::vector<int32_t> group_ends_;  // [groups] in units
  std::vector<int32_t> block_ends_, block_groups_;
  std::vector<int32_t> order_;  // [padded] input of each place; empty when it is the identity
  AlignedBlock words_;
  GroupBlock scales_, zeros_;
  std::vector<float> bias_;
};

QuantizedLinear::QuantizedLinear(Runtime& runtime, const QTensor& q, const Tensor* bias)
    : code_bits_(q.bits), field_bits_(q.bits), outputs_(q.rows), inputs_(q.cols), groups_(q.groups) {
  bias_ = bias_values(bias, q.rows);
  sort_inputs(q);
  if (code_bits_ == 3) {  // in 4 where whole runs of 3 would take as much, or the inputs out of their order
    const int64_t words = panel_words(units_, 3);
    const bool sorted = !order_.empty();
    field_bits_ = 4;
    sort_inputs(q);
    if (words < panel_words(units_, 4) && (!sorted || !order_.empty())) {
      field_bits_ = 3;
      sort_inputs(q);
    }
  }
  cut_blocks();
  const int64_t parameters = panels() * groups_ * kPanel;
  words_ = AlignedBlock(static_cast<size_t>(panels() * panel_words(units_, field_bits_)) * sizeof(uint32_t),
                        Pages::huge);
  scales_ = GroupBlock(parameters, GroupBlock::width_of(q.scales));
  const auto shifted = [&](uint16_t zero) { return zero != middle(); };
  if (std::any_of(q.zeros.begin(), q.zeros.end(), shifted))
    zeros_ = GroupBlock(parameters, GroupBlock::Width::half);  // which has whole numbers up to 2048
  const int64_t grain = std::max<int64_t>(1, kPrepareCodes / std::max<int64_t>(padded() * kPanel, 1));
  runtime.pool.parallel_for(panels(), grain, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) pack_panel(q, p);
  });
}

/// By group_of, in whole runs of fields.
void QuantizedLinear::sort_inputs(const QTensor& q) {
  units_ = 0;
  group_ends_.clear();
  std::vector<int32_t> counts(static_cast<size_t>(groups_), 0);
  for (int32_t g : q.group_of) ++counts[static_cast<size_t>(g)];
  std::vector<int64_t> next;  // place of each group's next input
  for (int32_t count : counts) {
    next.push_back(units_ * kUnit);
    const int64_t run = run_units(field_bits_);
    units_ += (count + run * kUnit - 1) / (run * kUnit) * run;
    group_ends_.push_back(static_cast<int32_t>(units_));
  }
  order_.assign(static_cast<size_t>(padded()), -1);
  bool identity = padded() == inputs_;
  for (size_t k = 0; k < q.group_of.size(); ++k) {
    const auto place = static_cast<size_t>(next[static_cast<size_t>(q.group_of[k])]++);
    order_[place] = static_cast<int32_t>(k);
    identity = identity && place == k;
  }
  if (identity) std::vector<int32_t>().swap(order_);
}

void QuantizedLinear::cut_blocks() {
  int32_t unit = 0;
  for (int32_t g = 0; g < static_cast<int32_t>(groups_); ++g) {
    const int32_t end = group_ends_[static_cast<size_t>(g)];
    while (unit < end) {
      unit = std::min(end, unit + static_cast<int32_t>(kBlockUnits));
      block_ends_.push_back(unit);
      block_groups_.push_back(g);
    }
  }
}

/// Runs of fields (QPanel), each word kPanel words from the one before, of codes and what is added to each.
void pack_runs(const uint8_t* codes, int add, int64_t runs, int bits, uint32_t* out) {
  const uint32_t added = 0x01010101u * static_cast<uint32_t>(add);  // no byte goes beyond its field
  const auto four = [&](int64_t i) {
    uint32_t bytes;
    std::memcpy(&bytes, codes + i, sizeof bytes);
    return bytes + added;
  };
  const auto eight = [&](int64_t i) { return four(i) | uint64_t{four(i + 4)} << 32; };
  for (int64_t r = 0; r < runs; ++r, out += run_words(bits) * kPanel) {
    switch (bits) {
      case 2: out[0] = gather_fields<2>(eight(16 * r)) | gather_fields<2>(eight(16 * r + 8)) << 16; break;
      case 3: {
        const uint32_t last = four(32 * r + 24) | four(32 * r + 28) << 3;
        for (int64_t w = 0; w < 3; ++w) {
          const int64_t at = 32 * r + 8 * w;
          out[w * kPanel] = four(at) | four(at + 4) << 3 | (last >> 2 * w & 0x03030303u) << 6;
        }
        break;
      }
      case 4: out[0] = gather_fields<4>(eight(8 * r)); break;
      default: out[0] = four(4 * r); break;
    }
  }
}

void QuantizedLinear::pack_panel(const QTensor& q, int64_t index) {
  const int64_t words = panel_words(units_, field_bits_) / kPanel;
  uint32_t* out = words_.as<uint32_t>() + index * words * kPanel;
  std::vector<uint8_t> sorted(order_.size());
  for (int64_t c = 0; c < kPanel; ++c) {
    const int64_t n = index * kPanel + c;
    const bool real = n < outputs_;
    const uint8_t* codes = q.codes.data() + (real ? n * inputs_ : 0);
    for (size_t place = 0; place < sorted.size(); ++place)
      sorted[place] = order_[place] < 0 ? static_cast<uint8_t>(middle()) : codes[order_[place]];
    if (real) {
      pack_runs(order_.empty() ? codes : sorted.data(), field_middle(field_bits_) - middle(),
                words / run_words(field_bits_), field_bits_, out + c);
    } else {
      for (int64_t w = 0; w < words; ++w) out[w * kPanel + c] = 0;
    }
    for (int64_t g = 0; g < groups_; ++g) {
      const auto from = static_cast<size_t>(g * outputs_ + n);
      const int64_t to = (index * groups_ + g) * kPanel + c;
      scales_.set(to, real ? q.scales[from] : 0.0f);
      if (!zeros_.empty()) zeros_.set(to, real ? static_cast<float>(int{q.zeros[from]} - middle()) : 0.0f);
    }
  }
}

QTensor QuantizedLinear::unpack() const {
  QTensor q;
  q.bits = code_bits_;
  q.rows = outputs_;
  q.cols = inputs_;
  q.groups = groups_;
  q.codes.resize(static_cast<size_t>(outputs_ * inputs_));
  q.scales.resize(static_cast<size_t>(groups_ * outputs_));
  q.zeros.resize(q.scales.size());
  q.group_of.resize(static_cast<size_t>(inputs_));
  int64_t g = 0;
  for (int64_t place = 0; place < padded(); ++place) {
    while (group_ends_[static_cast<size_t>(g)] <= place / kUnit) ++g;
    const int64_t k = input_at(place);
    if (k < 0) continue;
    q.group_of[static_cast<size_t>(k)] = static_cast<int32_t>(g);
    for (int64_t n = 0; n < outputs_; ++n) {
      q.codes[static_cast<size_t>(n * inputs_ + k)] = static_cast<uint8_t>(code(n, place));
    }
  }
  for (int64_t n = 0; n < outputs_; ++n) {
    const QPanel p = panel(n / kPanel);
    for (int64_t i = 0; i < groups_; ++i) {
      const int64_t from = i * kPanel + n % kPanel;
      const auto to = static_cast<size_t>(i * outputs_ + n);
      q.scales[to] = value_at(p.scales, from);
      q.zeros[to] = static_cast<uint16_t>(middle() + static_cast<int>(value_at(p.zeros, from)));
    }
  }
  return q;
}

void QuantizedLinear::apply(CpuStream& stream, Matrix x, Matrix y) const {
  if (const auto weights = stream.rounds_inputs() ? rounded() : std::nullopt) {
    const RoundedTask task{*weights, x, row(y, 0)};
    return rounded_products(stream, {&task, 1});
  }
  const float* in = row(x, 0);
  const Scratch::Lease gathered = stream.scratch().floats(order_.empty() ? 0 : x.rows * padded());
  if (!order_.empty()) {
    stream.parallel_for(x.rows, 4, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) gather(row(x, i), gathered.floats() + i * padded());
    });
    in = gathered.floats();
  }
  if (x.rows <= kFewRows) {
    by_panels(stream, in, y);
    return;
  }
  const Kernels& kernels = stream.kernels();
  tiled_product(stream, stream.gemm_of(Dense::f32, outputs_), in, x.rows, padded(), outputs_, bias(),
                row(y, 0), [&](int64_t col, int64_t cols, int64_t k, int64_t depth, float* out) {
                  for (int64_t c = 0; c < cols; c += kPanel) {
                    kernels.unpack(panel((col + c) / kPanel), k, depth, out + c, kTileCols);
                  }
                  if (cols > kPanel) return;
                  for (int64_t i = 0; i < depth; ++i) std::fill_n(out + i * kTileCols + kPanel, kPanel, 0.0f);
                });
}

/// x in packed order.
void QuantizedLinear::by_panels(CpuStream& stream, const float* x, Matrix y) const {
  const Kernels& kernels = stream.kernels();
  const Scratch::Lease sums = stream.scratch().floats(y.rows * groups_);
  for (int64_t i = 0; !zeros_.empty() && i < y.rows; ++i) {
    for (int64_t g = 0, unit = 0; g < groups_; ++g) {
      const int64_t end = group_ends_[static_cast<size_t>(g)];
      sums.floats()[i * groups_ + g] = kernels.sum(x + i * padded() + unit * kUnit, (end - unit) * kUnit);
      unit = end;
    }
  }
  stream.parallel_for(panels(), kPanelsPerChunk, [&](int64_t begin, int64_t end) {
    constexpr int64_t kColumns = kPanelsPerChunk * kPanel;
    float out[kFewRows * kColumns];
    kernels.qdot(panel(begin), end - begin, {y.rows, x, padded(), sums.floats(), out, kColumns});
    const int64_t col = begin * kPanel, cols = std::min(end * kPanel, outputs_) - col;
    for (int64_t i = 0; i < y.rows; ++i) {
      if (bias() != nullptr) kernels.add(out + i * kColumns, bias() + col, cols);
      std::copy_n(out + i * kColumns, cols, row(y, i) + col);
    }
  });
}

void QuantizedLinear::read_row(const Kernels&, int64_t index, float* out) const {
  const QPanel p = panel(index / kPanel);
  int64_t g = 0;
  for (int64_t place = 0; place < padded(); ++place) {
    while (group_ends_[static_cast<size_t>(g)] <= place / kUnit) ++g;
    const int64_t k = input_at(place), at = g * kPanel + index % kPanel;
    const float steps = static_cast<float>(code(index, place) - middle()) - value_at(p.zeros, at);
    if (k >= 0) out[k] = value_at(p.scales, at) * steps;
  }
}

}  // namespace

std::unique_ptr<Linear> make_quantized_linear(Runtime& runtime, const QTensor& weight, const Tensor* bias) {
  return std::make_unique<QuantizedLinear>(runtime, weight, bias);
}

}  // namespace gptq::cpu
