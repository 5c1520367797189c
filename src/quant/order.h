// In which order the columns of a weight matrix are solved, and which group each belongs to.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace gptq {

/// none: left to right. act: by falling Hessian diagonal, groups cut from that order. gar: groups stay as they are;
/// those with the largest diagonal element first, columns by falling diagonal within each, a partial group last.
enum class Order : uint8_t { none, act, gar };

/// order[i] is the column solved as i-th. Equal diagonals keep their natural order.
std::vector<int32_t> processing_order(Order order, std::span<const float> diagonal, int64_t group_size);

/// [cols] i / group_size
std::vector<int32_t> groups_in_sequence(int64_t cols, int64_t group_size);

}  // namespace gptq
