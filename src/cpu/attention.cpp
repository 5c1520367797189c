// Attention with an online softmax: memory linear in the rows, whatever the length (arXiv 2205.14135).
//
// Consecutive rows of one sequence form a block; a block and a key-value head make an item. The queries of an item
// ([rows of the block][heads that share the key-value head]) meet the cache page by page. Blocks of few queries, as
// in decoding, are cut into parts of the length, whose results are joined in order afterwards.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/error.h"
#include "base/half.h"
#include "base/text.h"
#include "cpu/kv_cache.h"
#include "cpu/stream_cpu.h"
#include "cpu/vector_cpu.h"

namespace gptq::cpu {
namespace {

constexpr int64_t kBlockQueries = 48;
constexpr int64_t kSplitQueries = 16;  // blocks of at most so many queries are cut into parts
constexpr int64_t kPartPositions = 8 * kPagePositions;
constexpr float kNone = -std::numeric_limits<float>::infinity();

struct Range {
  int64_t begin = 0, end = 0;
};

struct Block {
  int64_t first_row = 0, rows = 0;
  Range seen;  // positions that any of its rows sees
  int64_t parts = 1;
  int64_t first_result = 0;  // of its partial results, when parts > 1
};

struct Item {
  const Block* block;
  int64_t kv_head, part;
};

/// Unnormalized output, largest score and sum of exponentials of some queries.
struct Partial {
  float* out;  // [queries][value_dim]
  float* max;
  float* sum;
};

/// Of an item.
struct Workspace {
  float* queries;  // [queries][key_dim]
  float* scores;   // [queries][kPagePositions]
};

/// To bf16 and back.
float rounded(float x) { return bf16_to_float(float_to_bf16(x)); }

class Attention {
 public:
  Attention(CpuStream& stream, const AttentionParams& params, std::span<const Row> rows, Matrix q,
            const CpuKvCache& cache, int64_t layer, Matrix out)
      : stream_(stream),
        k_(stream.kernels()),
        p_(params),
        rows_(rows),
        q_(q),
        cache_(cache),
        layer_(layer),
        out_(out),
        group_(params.heads / params.kv_heads),
        partial_floats_(params.value_dim + 2) {}

  void run();

 private:
  Range seen_by(int64_t row) const;
  void make_blocks();
  void compute(const Item& item, float* partials);
  void load_queries(const Block& block, int64_t kv_head, float* queries) const;
  void visit_page(const Block& block, int64_t kv_head, Range positions, int64_t end, const Workspace& work,
                  const Partial& result) const;
  void fetch_scales(int32_t sequence, int64_t position, int64_t kv_head) const;
  void multiply(const PageProduct& product) const;
  void bend(const Block& block, int64_t kv_head, Range positions, float* scores) const;
  void soften(const Block& block, Range positions, float* scores, const Partial& result) const;
  void finish(const Block& block, int64_t kv_head, const Partial& result) const;
  void join(const Block& block, int64_t kv_head, float* partials);

  int64_t queries(const Block& block) const { return block.rows * group_; }
  Partial partial_at(float* base, int64_t queries) const {
    return {base, base + queries * p_.value_dim, base + queries * (p_.value_dim + 1)};
  }
  float* partial_of(const Block& block, int64_t kv_head, int64_t part, float* partials) const {
    return partials +
           (block.first_result + (kv_head * block.parts + part) * queries(block)) * partial_floats_;
  }

  CpuStream& stream_;
  const Kernels& k_;
  const AttentionParams& p_;
  std::span<const Row> rows_;
  Matrix q_;
  const CpuKvCache& cache_;
  int64_t layer_;
  Matrix out_;
  int64_t group_;
  int64_t partial_floats_;
  std::vector<Block> blocks_;
  int64_t results_ = 0;
};

Range Attention::seen_by(int64_t row) const {
  const int64_t position = rows_[static_cast<size_t>(row)].position;
  return {p_.first_seen(position), position + 1};
}

void Attention::make_blocks() {
  const auto count = static_cast<int64_t>(rows_.size());
  const int64_t most = std::max<int64_t>(1, kBlockQueries / group_);
  for (int64_t i = 0; i < count; ++i) {
    const Row& row = rows_[static_cast<size_t>(i)];
    if (row.position < 0 || row.position >= cache_.capacity(row.sequence)) {
      throw Error(Status::internal,
                  cat("position ", row.position, " of sequence ", row.sequence, " is not stored"));
    }
    const Range seen = seen_by(i);
    const bool extends = !blocks_.empty() && blocks_.back().rows < most &&
                         rows_[static_cast<size_t>(i) - 1].sequence == row.sequence;
    if (!extends) blocks_.push_back({.first_row = i, .rows = 0, .seen = seen});
    Block& block = blocks_.back();
    ++block.rows;
    block.seen = {std::min(block.seen.begin, seen.begin), std::max(block.seen.end, seen.end)};
  }
  for (Block& block : blocks_) {
    if (queries(block) > kSplitQueries) continue;
    block.parts = (block.seen.end - 1) / kPartPositions - block.seen.begin / kPartPositions + 1;
    if (block.parts == 1) continue;
    block.first_result = results_;
    results_ += block.parts * p_.kv_heads * queries(block);
  }
}

void Attention::run() {
  make_blocks();
  std::vector<Item> items, joins;
  for (const Block& block : blocks_) {
    for (int64_t h = 0; h < p_.kv_heads; ++h) {
      for (int64_t part = 0; part < block.parts; ++part) items.push_back({&block, h, part});
      if (block.parts > 1) joins.push_back({&block, h, 0});
    }
  }
  const auto count = static_cast<int64_t>(items.size());
  const Scratch::Lease partials = stream_.scratch().floats(results_ * partial_floats_);
  stream_.parallel_for(count, 1, [&](int64_t begin, int64_t end) {
    // from the back: later blocks see more positions, and should not be what all wait for
    for (int64_t i = begin; i < end; ++i)
      compute(items[static_cast<size_t>(count - 1 - i)], partials.floats());
  });
  if (joins.empty()) return;
  stream_.parallel_for(static_cast<int64_t>(joins.size()), 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      join(*joins[static_cast<size_t>(i)].block, joins[static_cast<size_t>(i)].kv_head, partials.floats());
    }
  });
}

void Attention::compute(const Item& item, float* partials) {
  const Block& block = *item.block;
  const int64_t n = queries(block);
  const Scratch::Lease lease = stream_.scratch().floats(n * (p_.key_dim + kPagePositions + partial_floats_));
  const Workspace work{lease.floats(), lease.floats() + n * p_.key_dim};
  const bool whole = block.parts == 1;
  const Partial result = partial_at(
      whole ? work.scores + n * kPagePositions : partial_of(block, item.kv_head, item.part, partials), n);

  load_queries(block, item.kv_head, work.queries);
  std::fill_n(result.out, n * p_.value_dim, 0.0f);
  std::fill_n(result.max, n, kNone);
  std::fill_n(result.sum, n, 0.0f);
  Range range = block.seen;
  if (!whole) {
    const int64_t start = (range.begin / kPartPositions + item.part) * kPartPositions;
    range = {std::max(range.begin, start), std::min(range.end, start + kPartPositions)};
  }
  for (int64_t at = range.begin; at < range.end;) {
    const int64_t next = std::min(range.end, (at / kPagePositions + 1) * kPagePositions);
    visit_page(block, item.kv_head, {at, next}, range.end, work, result);
    at = next;
  }
  if (whole) finish(block, item.kv_head, result);
}

void Attention::load_queries(const Block& block, int64_t kv_head, float* queries) const {
  const int64_t dim = p_.key_dim;
  for (int64_t i = 0; i < block.rows; ++i) {
    const float* from = row(q_, block.first_row + i) + kv_head * group_ * dim;
    float* to = queries + i * group_ * dim;
    for (int64_t j = 0; j < group_ * dim; ++j) to[j] = from[j] * p_.scale;
  }
}

/// Into the cache.
void fetch(const std::byte* data, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += static_cast<int64_t>(kCacheLine)) __builtin_prefetch(data + i);
}

void Attention::fetch_scales(int32_t sequence, int64_t position, int64_t kv_head) const {
  constexpr int64_t kBytes = kPagePositions * static_cast<int64_t>(sizeof(float));
  for (const float* scales : {cache_.key_scales(sequence, position, layer_, kv_head),
                              cache_.value_scales(sequence, position, layer_, kv_head)})
    fetch(reinterpret_cast<const std::byte*>(scales), kBytes);
}

/// By elements of the cache; those of 8 bits count without their scales.
void Attention::multiply(const PageProduct& product) const {
  switch (cache_.element()) {
    case Stored::f32: return k_.by_f32(product);
    case Stored::f16: return k_.by_f16(product);
    case Stored::i8: return k_.by_i8(product);
  }
}

/// Positions lie in one page, those after them up to `end` are visited next.
void Attention::visit_page(const Block& block, int64_t kv_head, Range positions, int64_t end,
                           const Workspace& work, const Partial& result) const {
  float* const scores = work.scores;
  const int32_t sequence = rows_[static_cast<size_t>(block.first_row)].sequence;
  const std::byte* const keys = cache_.keys(sequence, positions.begin, layer_, kv_head);
  const int64_t n = queries(block), dim = p_.key_dim, value_dim = p_.value_dim,
                bytes = static_cast<int64_t>(cache_.element_bytes());
  const int64_t begin = positions.begin % kPagePositions, count = positions.end - positions.begin;
  const int64_t first_col = begin / kTileCols * kTileCols;
  const int64_t cols = (begin + count - first_col + kTileCols - 1) / kTileCols * kTileCols;
  const std::byte* const values =
      cache_.values(sequence, positions.begin, layer_, kv_head) + begin * value_dim * bytes;
  // few queries are done with a page before its successor has come from memory by itself
  const bool more = positions.end < end && n <= kSplitQueries, scaled = cache_.element() == Stored::i8;
  const int64_t next_keys = more ? cache_.keys(sequence, positions.end, layer_, kv_head) - keys : 0,
                next_values = more ? cache_.values(sequence, positions.end, layer_, kv_head) - values : 0;
  multiply({.k = dim,
            .rows = n,
            .cols = cols,
            .a = work.queries,
            .lda = dim,
            .b = keys + first_col * bytes,
            .ldb = kPagePositions,
            .c = scores + first_col,
            .ldc = kPagePositions,
            .accumulate = false,
            .ahead = next_keys});
  if (scaled) {
    if (more) fetch_scales(sequence, positions.end, kv_head);
    k_.scale_columns(cache_.key_scales(sequence, positions.begin, layer_, kv_head) + begin, count, n,
                     kPagePositions, scores + begin);
  }
  if (p_.softcap > 0 || p_.slopes != nullptr) bend(block, kv_head, positions, scores);
  soften(block, positions, scores, result);
  if (scaled) {
    k_.scale_columns(cache_.value_scales(sequence, positions.begin, layer_, kv_head) + begin, count, n,
                     kPagePositions, scores + begin);
  }
  multiply({.k = count,
            .rows = n,
            .cols = value_dim,
            .a = scores + begin,
            .lda = kPagePositions,
            .b = values,
            .ldb = value_dim,
            .c = result.out,
            .ldc = value_dim,
            .accumulate = true,
            .ahead = next_values});
}

/// What a family does to its scores before the softmax: a cap, a slope.
void Attention::bend(const Block& block, int64_t kv_head, Range positions, float* scores) const {
  const int64_t begin = positions.begin % kPagePositions, count = positions.end - positions.begin;
  for (int64_t r = 0; r < queries(block); ++r) {
    float* s = scores + r * kPagePositions + begin;
    if (p_.softcap > 0) {
      for (int64_t j = 0; j < count; ++j) s[j] = p_.softcap * std::tanh(s[j] / p_.softcap);
    }
    if (p_.slopes == nullptr) continue;
    const float slope = values_of(*p_.slopes)[kv_head * group_ + r % group_];
    const int64_t own = rows_[static_cast<size_t>(block.first_row + r / group_)].position;
    if (p_.slope_kind == SlopeKind::rounded) {
      for (int64_t j = 0; j < count; ++j)
        s[j] += p_.slope_factor * rounded(rounded(slope) * static_cast<float>(positions.begin + j));
      continue;
    }
    for (int64_t j = 0; j < count; ++j)
      s[j] += p_.slope_factor * slope * static_cast<float>(positions.begin + j - own);
  }
}

/// Scores of the page become exponentials, zero where a row does not see; earlier output is scaled to the new maximum.
void Attention::soften(const Block& block, Range positions, float* scores, const Partial& result) const {
  const int64_t page = positions.begin - positions.begin % kPagePositions;
  for (int64_t i = 0; i < block.rows; ++i) {
    const Range seen = seen_by(block.first_row + i);
    const int64_t first = std::clamp(seen.begin, positions.begin, positions.end);
    const int64_t last = std::clamp(seen.end, first, positions.end);
    for (int64_t r = i * group_; r < (i + 1) * group_; ++r) {
      float* s = scores + r * kPagePositions - page;
      std::fill(s + positions.begin, s + first, 0.0f);
      std::fill(s + last, s + positions.end, 0.0f);
      if (first == last) continue;
      const float before = result.max[r];
      const float now = std::max(before, k_.max(s + first, last - first));
      if (now != before && before != kNone) {
        const float factor = std::exp(before - now);
        k_.scale(factor, p_.value_dim, result.out + r * p_.value_dim);
        result.sum[r] *= factor;
      }
      result.max[r] = now;
      result.sum[r] += k_.exp_shift(s + first, last - first, now);
    }
  }
}

void Attention::finish(const Block& block, int64_t kv_head, const Partial& result) const {
  for (int64_t r = 0; r < queries(block); ++r) {
    float* to = row(out_, block.first_row + r / group_) + (kv_head * group_ + r % group_) * p_.value_dim;
    const float* from = result.out + r * p_.value_dim;
    float factor = 1.0f / result.sum[r];
    if (p_.sinks != nullptr) {
      const float sink = values_of(*p_.sinks)[kv_head * group_ + r % group_];
      const float most = std::max(result.max[r], sink), part = std::exp(result.max[r] - most);
      factor = part / (result.sum[r] * part + std::exp(sink - most));
    }
    for (int64_t c = 0; c < p_.value_dim; ++c) to[c] = from[c] * factor;
  }
}

/// All parts into the first one, then out.
void Attention::join(const Block& block, int64_t kv_head, float* partials) {
  const int64_t n = queries(block);
  const Partial total = partial_at(partial_of(block, kv_head, 0, partials), n);
  for (int64_t part = 1; part < block.parts; ++part) {
    const Partial next = partial_at(partial_of(block, kv_head, part, partials), n);
    for (int64_t r = 0; r < n; ++r) {
      const float now = std::max(total.max[r], next.max[r]);
      if (now == kNone) continue;
      const float old_factor = std::exp(total.max[r] - now), new_factor = std::exp(next.max[r] - now);
      k_.scale(old_factor, p_.value_dim, total.out + r * p_.value_dim);
      k_.axpy(new_factor, next.out + r * p_.value_dim, p_.value_dim, total.out + r * p_.value_dim);
      total.sum[r] = total.sum[r] * old_factor + next.sum[r] * new_factor;
      total.max[r] = now;
    }
  }
  finish(block, kv_head, total);
}

}  // namespace

void CpuStream::attention(const AttentionParams& params, std::span<const Row> rows, Matrix q,
                          const KvCache& cache, int64_t layer, Matrix out) {
  if (rows.empty()) return;
  Attention(*this, params, rows, q, static_cast<const CpuKvCache&>(cache), layer, out).run();
}

}  // namespace gptq::cpu
