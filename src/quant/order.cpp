// Stable sorts of columns and of whole groups by the diagonal of the Hessian.
#include "quant/order.h"

#include <algorithm>
#include <numeric>

namespace gptq {
namespace {

using Columns = std::vector<int32_t>;

void sort_by_falling(std::span<const float> values, Columns::iterator begin, Columns::iterator end) {
  std::stable_sort(begin, end, [&](int32_t a, int32_t b) {
    return values[static_cast<size_t>(a)] > values[static_cast<size_t>(b)];
  });
}

Columns group_aware_order(std::span<const float> diagonal, int64_t group_size) {
  const auto cols = static_cast<int64_t>(diagonal.size());
  const int64_t full_groups = cols / group_size;
  Columns within(diagonal.size());
  std::iota(within.begin(), within.end(), 0);
  std::vector<float> largest(static_cast<size_t>(full_groups));
  for (int64_t g = 0; g < full_groups; ++g) {
    const auto begin = within.begin() + g * group_size;
    sort_by_falling(diagonal, begin, begin + group_size);
    largest[static_cast<size_t>(g)] = diagonal[static_cast<size_t>(*begin)];
  }
  Columns groups(static_cast<size_t>(full_groups));
  std::iota(groups.begin(), groups.end(), 0);
  sort_by_falling(largest, groups.begin(), groups.end());

  Columns order;
  order.reserve(diagonal.size());
  for (int32_t g : groups) {
    const auto begin = within.begin() + g * group_size;
    order.insert(order.end(), begin, begin + group_size);
  }
  order.insert(order.end(), within.begin() + full_groups * group_size, within.end());
  return order;
}

}  // namespace

std::vector<int32_t> processing_order(Order order, std::span<const float> diagonal, int64_t group_size) {
  if (order == Order::gar) return group_aware_order(diagonal, group_size);
  Columns columns(diagonal.size());
  std::iota(columns.begin(), columns.end(), 0);
  if (order == Order::act) sort_by_falling(diagonal, columns.begin(), columns.end());
  return columns;
}

std::vector<int32_t> groups_in_sequence(int64_t cols, int64_t group_size) {
  Columns groups(static_cast<size_t>(cols));
  for (int64_t i = 0; i < cols; ++i) groups[static_cast<size_t>(i)] = static_cast<int32_t>(i / group_size);
  return groups;
}

}  // namespace gptq
