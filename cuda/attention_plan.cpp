// Which rows go together, and into how many parts the positions that they see are cut. Lists have a power of two of items,
// the last of them without rows: so as many blocks are launched for many steps in sequence, whatever they see.
#include <algorithm>
#include <bit>

#include "cuda/attention.h"
#include "cuda/kernels.h"
#include "cuda/layout.h"

namespace gptq::cuda {
namespace {

/// Positions of a part at least: less would cost more to join than it saves.
constexpr int64_t kLeastPart = 4 * kPagePositions;

}  // namespace

int64_t rows_of_attention(std::span<const Row> rows, const AttentionView& params,
                          const AttentionLimits& limits) {
  int64_t most = 1;
  for (const Row& row : rows) {
    const Seen seen = seen_by(params, row.position);
    most = std::max<int64_t>(most, seen.end - seen.begin);
  }
  return std::max<int64_t>(limits.seen / most / limits.least_rows, 1) * limits.least_rows;
}

AttentionPlan plan_attention(std::span<const Row> rows, const AttentionView& params, int64_t kv_heads,
                             int64_t busy_blocks) {
  AttentionPlan plan;
  const int64_t group = params.heads / kv_heads;
  const int64_t most_rows = std::max<int64_t>(1, kWideQueries / group);
  std::vector<AttentionItem> blocks;
  for (size_t i = 0; i < rows.size(); ++i) {
    const Seen seen = seen_by(params, rows[i].position);
    const bool extends = i > 0 && blocks.back().rows < most_rows && rows[i - 1].sequence == rows[i].sequence;
    if (!extends)
      blocks.push_back({.first_row = static_cast<int32_t>(i), .begin = seen.begin, .end = seen.end});
    AttentionItem& block = blocks.back();
    ++block.rows;
    block.begin = std::min(block.begin, seen.begin);
    block.end = std::max(block.end, seen.end);
  }
  const auto count = static_cast<int64_t>(blocks.size()) * kv_heads;
  const int64_t wanted = count > 0 ? divide_up(busy_blocks, count) : 1;  // parts of each
  for (const AttentionItem& block : blocks) {
    const int64_t first_page = block.begin / kPagePositions,
                  pages = divide_up(block.end, kPagePositions) - first_page;
    const int64_t parts = std::clamp<int64_t>(pages * kPagePositions / kLeastPart, 1, wanted);
    const int64_t part_pages = divide_up(pages, parts), queries = block.rows * group;
    AttentionItem item = block;
    item.parts = static_cast<int32_t>(divide_up(pages, part_pages));
    if (item.parts > 1) {
      item.first_result = static_cast<int32_t>(plan.results);
      plan.results += item.parts * kv_heads * queries;
      plan.joins.push_back(item);
    }
    for (item.part = 0; item.part < item.parts; ++item.part) {
      const int64_t begin = (first_page + item.part * part_pages) * kPagePositions;
      item.begin = static_cast<int32_t>(std::max<int64_t>(block.begin, begin));
      item.end = static_cast<int32_t>(std::min<int64_t>(block.end, begin + part_pages * kPagePositions));
      (queries <= kNarrowQueries ? plan.narrow : plan.wide).push_back(item);
    }
  }
  // those that see most begin first, so that they are not what all wait for
  std::stable_sort(plan.wide.begin(), plan.wide.end(), [](const AttentionItem& a, const AttentionItem& b) {
    return a.end - a.begin > b.end - b.begin;
  });
  for (std::vector<AttentionItem>* list : {&plan.narrow, &plan.wide, &plan.joins})
    if (!list->empty()) list->resize(std::bit_ceil(list->size()));
  return plan;
}

}  // namespace gptq::cuda
