// The largest elements of each row, and how much all of them are beside it.
#include <algorithm>
#include <cmath>

#include "cpu/stream_cpu.h"

namespace gptq::cpu {
namespace {

bool comes_before(const Ranked& a, const Ranked& b) {
  const bool no_number = std::isnan(a.value), nor_other = std::isnan(b.value);
  if (no_number != nor_other) return no_number;
  if (!no_number && a.value != b.value) return a.value > b.value;
  return a.column < b.column;
}

/// A heap whose top is the last of those found so far.
void largest_of_row(const float* x, int64_t cols, std::span<Ranked> out) {
  int64_t column = 0;
  for (Ranked& e : out) {
    e = {static_cast<int32_t>(column), x[column]};
    ++column;
  }
  std::make_heap(out.begin(), out.end(), comes_before);
  for (; column < cols; ++column) {
    if (x[column] <= out.front().value) continue;  // what is equal came earlier; NaN goes on
    const Ranked e{static_cast<int32_t>(column), x[column]};
    if (!comes_before(e, out.front())) continue;
    std::pop_heap(out.begin(), out.end(), comes_before);
    out.back() = e;
    std::push_heap(out.begin(), out.end(), comes_before);
  }
  std::sort_heap(out.begin(), out.end(), comes_before);
}

}  // namespace

void CpuStream::largest(Matrix x, int64_t count, std::span<Ranked> out) {
  if (count == 0) return;
  parallel_for(x.rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      largest_of_row(row(x, i), x.cols,
                     out.subspan(static_cast<size_t>(i * count), static_cast<size_t>(count)));
  });
}

void CpuStream::exp_sums(Matrix x, std::span<const double> temperatures, std::span<double> out) {
  parallel_for(x.rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const std::span<const float> values(row(x, i), static_cast<size_t>(x.cols));
      const double most = values.empty() ? 0 : double{*std::max_element(values.begin(), values.end())};
      const double temperature = temperatures[static_cast<size_t>(i)];
      double sum = 0;
      for (float v : values) sum += std::exp((double{v} - most) / temperature);
      out[static_cast<size_t>(i)] = sum;
    }
  });
}

}  // namespace gptq::cpu
