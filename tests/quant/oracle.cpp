// Columns are found by Gauss-Jordan and an upper Cholesky of the inverse; nothing is shared with the library but fp16.
#include "quant/oracle.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "base/half.h"

namespace gptq::test {
namespace {

using Table = std::vector<std::vector<double>>;

Table gauss_jordan(Table a) {
  const int n = static_cast<int>(a.size());
  Table inverse(n, std::vector<double>(n));
  for (int i = 0; i < n; ++i) inverse[i][i] = 1;
  for (int c = 0; c < n; ++c) {
    int best = c;
    for (int r = c; r < n; ++r) {
      if (std::fabs(a[r][c]) > std::fabs(a[best][c])) best = r;
    }
    std::swap(a[c], a[best]);
    std::swap(inverse[c], inverse[best]);
    if (a[c][c] == 0) throw std::runtime_error("singular");
    const double pivot = a[c][c];
    for (int j = 0; j < n; ++j) {
      a[c][j] /= pivot;
      inverse[c][j] /= pivot;
    }
    for (int r = 0; r < n; ++r) {
      const double f = a[r][c];
      if (r == c || f == 0) continue;
      for (int j = 0; j < n; ++j) {
        a[r][j] -= f * a[c][j];
        inverse[r][j] -= f * inverse[c][j];
      }
    }
  }
  return inverse;
}

/// U with U^T U = a
Table upper_cholesky(const Table& a) {
  const int n = static_cast<int>(a.size());
  Table u(n, std::vector<double>(n));
  for (int i = 0; i < n; ++i) {
    for (int j = i; j < n; ++j) {
      double sum = a[i][j];
      for (int k = 0; k < i; ++k) sum -= u[k][i] * u[k][j];
      u[i][j] = i == j ? std::sqrt(sum) : sum / u[i][i];
    }
  }
  return u;
}

std::vector<int> columns_in_order(OracleOrder order, const std::vector<double>& diagonal, int group) {
  const int n = static_cast<int>(diagonal.size());
  std::vector<int> columns(n);
  for (int i = 0; i < n; ++i) columns[i] = i;
  const auto larger = [&](int a, int b) { return diagonal[a] > diagonal[b]; };
  if (order == OracleOrder::act) std::stable_sort(columns.begin(), columns.end(), larger);
  if (order != OracleOrder::gar) return columns;
  std::vector<std::pair<double, int>> leaders;  // largest diagonal of each full group
  for (int g = 0; (g + 1) * group <= n; ++g) {
    leaders.emplace_back(*std::max_element(diagonal.begin() + g * group, diagonal.begin() + (g + 1) * group),
                         g);
  }
  std::stable_sort(leaders.begin(), leaders.end(), [](auto& a, auto& b) { return a.first > b.first; });
  std::vector<int> result;
  for (const auto& leader : leaders) {
    std::vector<int> members;
    for (int i = 0; i < group; ++i) members.push_back(leader.second * group + i);
    std::stable_sort(members.begin(), members.end(), larger);
    result.insert(result.end(), members.begin(), members.end());
  }
  for (int i = static_cast<int>(leaders.size()) * group; i < n; ++i) result.push_back(i);
  return result;
}

struct Grid {
  double scale;
  int zero;
};

Grid grid_for(const std::vector<double>& w, const OracleOptions& o) {
  const int top = (1 << o.bits) - 1;
  double low = 0, high = 0;
  for (double x : w) {
    low = std::min(low, x);
    high = std::max(high, x);
  }
  if (o.symmetric) {
    high = std::max(high, -low);
    low = -high;
  }
  if (low == high) low = -1, high = 1;
  double scale = (high - low) / top;
  if (o.half_scales) scale = fp16_to_float(float_to_fp16(static_cast<float>(scale)));
  const int zero = o.symmetric ? 1 << (o.bits - 1) : static_cast<int>(std::nearbyint(-low / scale));
  return {scale, std::clamp(zero, 0, top)};
}

}  // namespace

std::vector<std::vector<double>> gram(const std::vector<float>& x, int n) {
  Table h(n, std::vector<double>(n));
  for (size_t start = 0; start < x.size(); start += n) {
    for (int i = 0; i < n; ++i) {
      const double xi = x[start + i];
      for (int j = 0; j < n; ++j) h[i][j] += xi * x[start + j];
    }
  }
  return h;
}

OracleResult solve_by_the_book(const std::vector<float>& weights, Table h, int tokens,
                               const OracleOptions& o) {
  const int cols = static_cast<int>(h.size());
  const int rows = static_cast<int>(weights.size()) / cols, group = o.group_size == -1 ? cols : o.group_size;
  const int groups = (cols + group - 1) / group, top = (1 << o.bits) - 1;
  std::vector<double> diagonal(cols);
  double trace = 0;
  for (int i = 0; i < cols; ++i) trace += diagonal[i] = h[i][i];
  for (int i = 0; i < cols; ++i) h[i][i] += o.damp * trace / cols;
  const std::vector<int> order = columns_in_order(o.order, diagonal, group);
  Table permuted(cols, std::vector<double>(cols));
  for (int i = 0; i < cols; ++i) {
    for (int j = 0; j < cols; ++j) permuted[i][j] = h[order[i]][order[j]];
  }

  OracleResult result;
  result.u = upper_cholesky(gauss_jordan(permuted));
  result.codes.resize(weights.size());
  result.group_of.resize(cols);
  result.scales.resize(groups * rows);
  result.zeros.resize(groups * rows);
  const bool by_position = o.order == OracleOrder::act && !o.static_groups;
  std::vector<int> group_at(cols);
  for (int i = 0; i < cols; ++i) group_at[i] = (by_position ? i : order[i]) / group;
  for (int i = 0; i < cols; ++i) result.group_of[order[i]] = group_at[i];

  for (int r = 0; r < rows; ++r) {
    std::vector<double> w(cols), error(cols);
    for (int i = 0; i < cols; ++i) w[i] = weights[r * cols + order[i]];
    const auto members = [&](int g) {
      std::vector<double> values;
      for (int i = 0; i < cols; ++i) {
        if (group_at[i] == g) values.push_back(w[i]);
      }
      return values;
    };
    std::vector<Grid> grids(groups);
    std::vector<bool> known(groups, o.static_groups);
    for (int g = 0; g < groups && o.static_groups; ++g) grids[g] = grid_for(members(g), o);
    for (int i = 0; i < cols; ++i) {
      const int g = group_at[i];
      if (!known[g]) grids[g] = grid_for(members(g), o);
      known[g] = true;
      const double code = std::clamp(std::nearbyint(w[i] / grids[g].scale) + grids[g].zero, 0.0, double(top));
      const double value = grids[g].scale * (code - grids[g].zero);
      result.codes[r * cols + order[i]] = static_cast<int>(code);
      error[i] = weights[r * cols + order[i]] - value;
      const double step = (w[i] - value) / result.u[i][i];
      for (int j = i; j < cols; ++j) w[j] -= step * result.u[i][j];
    }
    for (int g = 0; g < groups; ++g) {
      result.scales[g * rows + r] = grids[g].scale;
      result.zeros[g * rows + r] = grids[g].zero;
    }
    for (int i = 0; i < cols; ++i) {
      for (int j = 0; j < cols; ++j) result.loss += error[i] * permuted[i][j] * error[j];
    }
  }
  result.loss /= tokens;
  return result;
}

}  // namespace gptq::test
