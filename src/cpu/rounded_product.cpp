// Few rows meet the weights as they lie, all tasks side by side; for more, the fields of a panel are taken out once for all
// rows.
#include "cpu/rounded_product.h"

#include <algorithm>
#include <optional>
#include <vector>

namespace gptq::cpu {
namespace {

// of an item where weights are multiplied as they lie: its weights stay in the cache for all its rows, and for those of
// its neighbours
constexpr int64_t kPanelsPerChunk = 4, kRowsPerChunk = 64;
constexpr int64_t kPairPanels = kTileCols / kPanel;
constexpr int64_t kMostPairs = 4;  // pairs of panels of one item
constexpr int64_t kLeastItemRows = 48;
constexpr int64_t kMostItemRows = 512;
constexpr int64_t kStepUnits = 32;          // whose fields, 32 columns of bytes, stay in the first cache
constexpr int64_t kInlineInputs = 1 << 14;  // rounded at a time; so few by the calling thread

int64_t divide_up(int64_t n, int64_t by) { return (n + by - 1) / by; }

int64_t panels_of(const RoundedWeights& w) { return divide_up(w.outputs, kPanel); }

/// x as the weights want it.
class RoundedInputs {
 public:
  RoundedInputs(CpuStream& stream, Matrix x, const RoundedWeights& w)
      : w_(w),
        x_(x.data),
        inputs_(w.first.units * kUnit),
        // some bytes more than a power of two: rows should not meet in one line of the cache
        stride_(divide_up(inputs_, 64) * 64 + 64),
        q_(stream.scratch().bytes(static_cast<size_t>((x.rows + kMaxTileRows) * stride_))),
        scales_(stream.scratch().floats(x.rows * w.blocks.count)),
        sums_(stream.scratch().floats(x.rows * w.blocks.count)) {
    if (x.rows * inputs_ <= kInlineInputs) {
      round(stream, x, 0, x.rows);
    } else {
      stream.parallel_for(x.rows, std::max<int64_t>(1, kInlineInputs / inputs_),
                          [&](int64_t begin, int64_t end) { round(stream, x, begin, end); });
    }
  }

  /// Whether they are those of the task, too.
  bool fit(const RoundedTask& task) const {
    const RoundedWeights& w = task.weights;
    return task.x.data == x_ && w.first.bits == w_.first.bits && std::ranges::equal(w.order, w_.order) &&
           std::equal(w.blocks.ends, w.blocks.ends + w.blocks.count, w_.blocks.ends,
                      w_.blocks.ends + w_.blocks.count);
  }

  RoundedRows rows(int64_t first, int64_t count, float* y, int64_t ldy) const {
    const int64_t block = first * w_.blocks.count;
    return {count,
            q_.as<int8_t>() + first * stride_,
            stride_,
            scales_.floats() + block,
            sums_.as<int32_t>() + block,
            y,
            ldy};
  }

 private:
  void round(CpuStream& stream, Matrix x, int64_t begin, int64_t end) const {
    std::optional<Scratch::Lease> sorted;
    if (!w_.order.empty()) sorted.emplace(stream.scratch().floats(inputs_));
    for (int64_t i = begin; i < end; ++i) {
      const float* in = row(x, i);
      if (sorted) {
        for (size_t place = 0; place < w_.order.size(); ++place)
          sorted->floats()[place] = w_.order[place] < 0 ? 0.0f : in[w_.order[place]];
        in = sorted->floats();
      }
      stream.kernels().rounded->round(in, w_.blocks, w_.first.bits, q_.as<int8_t>() + i * stride_,
                                      scales_.floats() + i * w_.blocks.count,
                                      sums_.as<int32_t>() + i * w_.blocks.count);
    }
  }

  RoundedWeights w_;
  const std::byte* x_;
  int64_t inputs_, stride_;
  Scratch::Lease q_, scales_, sums_;
};

/// The inputs of all tasks: rounded once for those of the same rows, one behind the other, that want them alike.
class SharedInputs {
 public:
  SharedInputs(CpuStream& stream, std::span<const RoundedTask> tasks) {
    inputs_.reserve(tasks.size());
    const std::byte* x = nullptr;
    size_t first = 0;  // of those of x
    for (const RoundedTask& task : tasks) {
      if (task.x.data != x) first = inputs_.size();
      x = task.x.data;
      size_t i = first;
      while (i < inputs_.size() && !inputs_[i].fit(task)) ++i;
      if (i == inputs_.size()) inputs_.emplace_back(stream, task.x, task.weights);
      of_task_.push_back(i);
    }
  }
  const RoundedInputs& of(size_t task) const { return inputs_[of_task_[task]]; }

 private:
  std::vector<RoundedInputs> inputs_;
  std::vector<size_t> of_task_;
};

/// Work of several tasks, numbered through.
class WorkList {
 public:
  void add(int64_t count) {
    first_.push_back(total_);
    total_ += count;
  }
  int64_t total() const { return total_; }
  size_t task(int64_t number) const {
    return static_cast<size_t>(std::upper_bound(first_.begin(), first_.end(), number) - first_.begin()) - 1;
  }
  int64_t first(size_t task) const { return first_[task]; }

 private:
  std::vector<int64_t> first_;  // of each task
  int64_t total_ = 0;
};

void few_rows(CpuStream& stream, std::span<const RoundedTask> tasks) {
  const SharedInputs inputs(stream, tasks);
  WorkList chunks;
  const auto slices_of = [](const RoundedTask& task) { return divide_up(task.x.rows, kRowsPerChunk); };
  for (const RoundedTask& task : tasks)
    chunks.add(divide_up(panels_of(task.weights), kPanelsPerChunk) * slices_of(task));
  const auto multiply = [&](size_t t, int64_t chunk) {
    constexpr int64_t kColumns = kPanelsPerChunk * kPanel;
    alignas(64) float out[kRowsPerChunk * kColumns];
    const RoundedWeights& w = tasks[t].weights;
    const int64_t slices = slices_of(tasks[t]), begin = chunk / slices * kPanelsPerChunk;
    const int64_t first = chunk % slices * kRowsPerChunk,
                  rows = std::min(kRowsPerChunk, tasks[t].x.rows - first);
    const int64_t count = std::min(kPanelsPerChunk, panels_of(w) - begin);
    stream.kernels().rounded->dot(panel_at(w.first, begin), w.blocks, count,
                                  inputs.of(t).rows(first, rows, out, kColumns));
    const int64_t col = begin * kPanel, cols = std::min(count * kPanel, w.outputs - col);
    for (int64_t i = 0; i < rows; ++i) {
      if (w.bias != nullptr) stream.kernels().add(out + i * kColumns, w.bias + col, cols);
      std::copy_n(out + i * kColumns, cols, tasks[t].y + (first + i) * w.outputs + col);
    }
  };
  stream.parallel_for(chunks.total(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const size_t t = chunks.task(i);
      multiply(t, i - chunks.first(t));
    }
  });
}

struct Item {
  int64_t first_row, rows, first_pair, pairs;
};

/// One task for many rows, cut into items of some pairs of panels by some rows: no result depends on the cuts.
class ManyRows {
 public:
  ManyRows(CpuStream& stream, const RoundedTask& task, const RoundedInputs& inputs)
      : stream_(stream),
        kernels_(*stream.kernels().rounded),
        w_(task.weights),
        y_(task.y),
        count_(task.x.rows),
        pairs_(divide_up(panels_of(w_), kPairPanels)),
        inputs_(inputs) {
    const int64_t wanted = 4 * stream.threads();
    group_ = std::clamp<int64_t>(pairs_ / wanted, 1, kMostPairs);
    const int64_t groups = divide_up(pairs_, group_);
    const int64_t cuts = std::max(divide_up(wanted, groups), divide_up(count_, kMostItemRows));
    item_rows_ = divide_up(count_, std::max<int64_t>(1, std::min(cuts, count_ / kLeastItemRows)));
    slices_ = divide_up(count_, item_rows_);
  }

  int64_t items() const { return divide_up(pairs_, group_) * slices_; }
  /// That work() needs.
  int64_t sums() const { return group_ * item_rows_ * kTileCols; }
  void work(int64_t number, uint8_t* fields, float* sums) const {
    const int64_t first_row = number % slices_ * item_rows_, first_pair = number / slices_ * group_;
    const Item item{first_row, std::min(item_rows_, count_ - first_row), first_pair,
                    std::min(group_, pairs_ - first_pair)};
    multiply(item, fields, sums);
    store(item, sums);
  }

 private:
  void multiply(const Item& item, uint8_t* fields, float* sums) const;
  void store(const Item& item, const float* sums) const;

  CpuStream& stream_;
  const RoundedKernels& kernels_;
  const RoundedWeights& w_;
  float* y_;
  int64_t count_, pairs_;
  int64_t group_ = 0, item_rows_ = 0, slices_ = 0;  // pairs and rows of an item, items of a group
  const RoundedInputs& inputs_;
};

/// Steps of the inputs outside, panels inside: the inputs of a step stay in the cache for all panels, and so do the sums
/// [pair][row][kTileCols], which would meet in few of its lines if they had the distances of y.
void ManyRows::multiply(const Item& item, uint8_t* fields, float* sums) const {
  const Blocks& blocks = w_.blocks;
  for (int64_t begin = 0, end = 0; begin < blocks.count; begin = end) {
    const int64_t unit = block_begin(blocks, begin);
    for (end = begin + 1; end < blocks.count && blocks.ends[end] - unit <= kStepUnits;) ++end;
    for (int64_t pair = 0; pair < item.pairs; ++pair) {
      stream_.check_cancel();
      const int64_t index = (item.first_pair + pair) * kPairPanels;
      const int64_t count = std::min(kPairPanels, panels_of(w_) - index);
      const QPanel panel = panel_at(w_.first, index);
      kernels_.unpack(panel, count, unit, blocks.ends[end - 1], fields);
      kernels_.multiply(
          {panel, count, blocks, begin, end, fields},
          inputs_.rows(item.first_row, item.rows, sums + pair * item.rows * kTileCols, kTileCols),
          count * kPanel, begin > 0);
    }
  }
}

void ManyRows::store(const Item& item, const float* sums) const {
  for (int64_t pair = 0; pair < item.pairs; ++pair) {
    const int64_t col = (item.first_pair + pair) * kTileCols, cols = std::min(kTileCols, w_.outputs - col);
    for (int64_t i = 0; i < item.rows; ++i) {
      float* const y = y_ + (item.first_row + i) * w_.outputs + col;
      std::copy_n(sums + (pair * item.rows + i) * kTileCols, cols, y);
      if (w_.bias != nullptr) stream_.kernels().add(y, w_.bias + col, cols);
    }
  }
}

void many_rows(CpuStream& stream, std::span<const RoundedTask> tasks) {
  const SharedInputs inputs(stream, tasks);
  std::vector<ManyRows> all;
  WorkList items;
  int64_t most_sums = 0;
  for (size_t t = 0; t < tasks.size(); ++t) {
    all.emplace_back(stream, tasks[t], inputs.of(t));
    items.add(all.back().items());
    most_sums = std::max(most_sums, all.back().sums());
  }
  stream.parallel_for(items.total(), 1, [&](int64_t begin, int64_t end) {
    const Scratch::Lease fields = stream.scratch().bytes(kStepUnits * kUnit * kTileCols);
    const Scratch::Lease sums = stream.scratch().floats(most_sums);
    for (int64_t i = begin; i < end; ++i) {
      const size_t t = items.task(i);
      all[t].work(i - items.first(t), fields.as<uint8_t>(), sums.floats());
    }
  });
}

}  // namespace

void rounded_products(CpuStream& stream, std::span<const RoundedTask> tasks) {
  std::vector<RoundedTask> few, many;
  const int64_t most = stream.kernels().rounded->dot_rows;
  for (const RoundedTask& task : tasks) (task.x.rows <= most ? few : many).push_back(task);
  if (!few.empty()) few_rows(stream, few);
  if (!many.empty()) many_rows(stream, many);
}

}  // namespace gptq::cpu
