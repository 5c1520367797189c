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

Grid grid_between(double low, double high, const OracleOptions& o) {
  const int top = (1 << o.bits) - 1;
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

double rounded(double w, const Grid& grid, const OracleOptions& o) {
  const int top = (1 << o.bits) - 1;
  return grid.scale * (std::clamp(std::nearbyint(w / grid.scale) + grid.zero, 0.0, double(top)) - grid.zero);
}

/// What GPTQ loses in a group of its own, U given.
double loss_with_feedback(std::vector<double> w, const Table& u, const Grid& grid, const OracleOptions& o) {
  double loss = 0;
  for (size_t j = 0; j < w.size(); ++j) {
    const double step = (w[j] - rounded(w[j], grid, o)) / u[j][j];
    loss += step * step;
    for (size_t i = j + 1; i < w.size(); ++i) w[i] -= step * u[j][i];
  }
  return loss;
}

/// `u` is U of the weights' columns.
Grid grid_for(const std::vector<double>& w, const Table& u, const OracleOptions& o) {
  double low = 0, high = 0;
  for (double x : w) {
    low = std::min(low, x);
    high = std::max(high, x);
  }
  const Grid whole = grid_between(low, high, o);
  if (o.range == OracleRange::minmax) return whole;
  std::vector<std::pair<double, Grid>> tried;
  const auto consider = [&](const Grid& grid) {
    double error = 0;
    for (size_t j = 0; j < w.size(); ++j) {
      const double difference = std::fabs(w[j] - rounded(w[j], grid, o));
      error += o.range == OracleRange::mse ? std::pow(difference, o.norm)
                                           : difference * difference / (u[j][j] * u[j][j]);
    }
    tried.emplace_back(error, grid);
  };
  std::vector<double> parts{1};
  if (o.range == OracleRange::mse) {
    for (int i = 0; i < 80; ++i) parts.push_back(1 - i / 100.0);
  } else {
    for (int i = 0; i < 33; ++i) parts.push_back(1.05 - 0.02 * i);
  }
  const bool moves = !o.symmetric && (o.range == OracleRange::hessian || o.bits == 2);
  for (size_t i = 0; i < parts.size(); ++i) {
    const Grid grid = grid_between(parts[i] * low, parts[i] * high, o);
    consider(grid);
    for (int by : {-1, 1}) {
      if (moves && i > 0) consider({grid.scale, std::clamp(grid.zero + by, 0, (1 << o.bits) - 1)});
    }
  }
  const auto less = [](const auto& a, const auto& b) { return a.first < b.first; };
  std::stable_sort(tried.begin(), tried.end(), less);
  if (o.range != OracleRange::hessian || o.static_groups || w.size() > 128) return tried[0].second;
  tried.resize(std::min<size_t>(tried.size(), 8));
  for (auto& [loss, grid] : tried) loss = loss_with_feedback(w, u, grid, o);
  return std::min_element(tried.begin(), tried.end(), less)->second;
}

Table product(const Table& a, const Table& b, bool transpose_b = false) {
  const size_t n = a.size(), m = transpose_b ? b.size() : b[0].size(), k = a[0].size();
  Table c(n, std::vector<double>(m));
  for (size_t i = 0; i < n; ++i) {
    for (size_t l = 0; l < k; ++l) {
      for (size_t j = 0; j < m; ++j) c[i][j] += a[i][l] * (transpose_b ? b[j][l] : b[l][j]);
    }
  }
  return c;
}

Table permuted(const Table& a, const std::vector<int>& order) {
  Table result(a.size(), std::vector<double>(a.size()));
  for (size_t i = 0; i < a.size(); ++i) {
    for (size_t j = 0; j < a.size(); ++j) result[i][j] = a[order[i]][order[j]];
  }
  return result;
}

/// W + (alpha W D + beta E) H^-1
Table moved(const std::vector<float>& weights, const Table& drift, double alpha, const Table& residual,
            double beta, const Table& h) {
  const size_t cols = h.size();
  Table w(weights.size() / cols, std::vector<double>(cols));
  for (size_t i = 0; i < weights.size(); ++i) w[i / cols][i % cols] = weights[i];
  if (drift.empty()) return w;
  Table sum = product(w, drift);
  for (size_t r = 0; r < sum.size(); ++r) {
    for (size_t i = 0; i < cols; ++i)
      sum[r][i] = alpha * sum[r][i] + (residual.empty() ? 0 : beta * residual[r][i]);
  }
  const Table by = product(sum, gauss_jordan(h));
  for (size_t i = 0; i < weights.size(); ++i) w[i / cols][i % cols] += by[i / cols][i % cols];
  return w;
}

/// P of GPTAQ
Table spread(const Table& drift, const Table& u, double alpha) {
  Table p = product(drift, u, true);
  for (size_t i = 0; i < p.size(); ++i) {
    for (size_t j = 0; j < p.size(); ++j) p[i][j] = j > i ? alpha * p[i][j] : 0;
  }
  return product(p, u);
}

/// One row on its way through the sweeps. Columns are in an order that keeps groups together.
struct Descent {
  const OracleOptions& o;
  const Table& h;
  const std::vector<int>& group_at;
  std::vector<double> target;
  std::vector<double> codes;
  std::vector<Grid>& grids;
  std::vector<double> residual{};

  const Grid& grid(size_t j) const { return grids[group_at[j]]; }
  void find_residual() {
    residual = target;
    for (size_t j = 0; j < codes.size(); ++j) residual[j] -= grid(j).scale * (codes[j] - grid(j).zero);
  }
  double gradient(size_t j) const {
    double sum = 0;
    for (size_t i = 0; i < residual.size(); ++i) sum += residual[i] * h[i][j];
    return sum;
  }
  void move(size_t j) {
    const double step = gradient(j) / h[j][j] / grid(j).scale;
    codes[j] = std::nearbyint(std::clamp(codes[j] + step, 0.0, double((1 << o.bits) - 1)));
    find_residual();
  }
  /// Least squares, unless it ends far from where it began.
  void refit(int group) {
    double numerator = 0, denominator = 0;
    for (size_t i = 0; i < codes.size(); ++i) {
      if (group_at[i] != group) continue;
      const double c = codes[i] - grid(i).zero;
      numerator += c * gradient(i);
      for (size_t j = 0; j < codes.size(); ++j) {
        if (group_at[j] == group) denominator += c * h[i][j] * (codes[j] - grid(j).zero);
      }
    }
    double& scale = grids[group].scale;
    const double fitted = scale + numerator / denominator;
    if (denominator <= 0 || fitted < 0.5 * scale || fitted > 2 * scale) return;
    scale = o.half_scales ? fp16_to_float(float_to_fp16(static_cast<float>(fitted))) : fitted;
    find_residual();
  }
  /// Groups that have at most 128 columns together get their scales one after another behind the last of them.
  void sweep(bool refits) {
    find_residual();
    for (size_t begin = 0, end = 0; begin < codes.size(); begin = end) {
      const auto end_of_group = [&](size_t at) {
        size_t next = at;
        while (next < codes.size() && group_at[next] == group_at[at]) ++next;
        return next;
      };
      end = end_of_group(begin);
      while (end < codes.size() && end_of_group(end) - begin <= 128) end = end_of_group(end);
      for (size_t j = begin; j < end; ++j) move(j);
      for (size_t j = begin; refits && j < end; j = end_of_group(j)) refit(group_at[j]);
    }
  }
  double loss() const {
    double sum = 0;
    for (size_t j = 0; j < residual.size(); ++j) sum += residual[j] * gradient(j);
    return sum;
  }
};

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

std::vector<std::vector<double>> drift(const std::vector<float>& originals, const std::vector<float>& now,
                                       int m, const std::vector<float>& x, int n) {
  Table d(m, std::vector<double>(n));
  for (size_t token = 0; token < x.size() / n; ++token) {
    for (int i = 0; i < m; ++i) {
      const double by = double{originals[token * m + i]} - now[token * m + i];
      for (int j = 0; j < n; ++j) d[i][j] += by * x[token * n + j];
    }
  }
  return d;
}

OracleResult solve_by_the_book(const std::vector<float>& weights, Table h, int tokens, const OracleOptions& o,
                               const Table& drift, const Table& residual) {
  const int cols = static_cast<int>(h.size());
  const int rows = static_cast<int>(weights.size()) / cols, group = o.group_size == -1 ? cols : o.group_size;
  const int groups = (cols + group - 1) / group, top = (1 << o.bits) - 1;
  std::vector<double> diagonal(cols);
  double trace = 0;
  for (int i = 0; i < cols; ++i) trace += diagonal[i] = h[i][i];
  Table refined_h = h;
  for (int i = 0; i < cols; ++i) refined_h[i][i] += 1e-4 * trace / cols;
  for (int i = 0; i < cols; ++i) h[i][i] += o.damp * trace / cols;
  const std::vector<int> order = columns_in_order(o.order, diagonal, group);
  const Table ordered = permuted(h, order);
  const Table target = moved(weights, o.target == OracleTarget::exact ? drift : Table{}, o.alpha, residual,
                             o.residual_alpha, h);

  OracleResult result;
  result.u = upper_cholesky(gauss_jordan(ordered));
  Table p;
  if (o.target == OracleTarget::gptaq) p = spread(permuted(drift, order), result.u, o.alpha);
  result.codes.resize(weights.size());
  result.group_of.resize(cols);
  result.scales.resize(groups * rows);
  result.zeros.resize(groups * rows);
  const bool by_position = o.order == OracleOrder::act && !o.static_groups;
  std::vector<int> group_at(cols);
  for (int i = 0; i < cols; ++i) group_at[i] = (by_position ? i : order[i]) / group;
  for (int i = 0; i < cols; ++i) result.group_of[order[i]] = group_at[i];
  std::vector<int> sweep_order = order;
  if (!by_position) std::sort(sweep_order.begin(), sweep_order.end());
  refined_h = permuted(refined_h, sweep_order);
  std::vector<int> sweep_groups;
  for (int column : sweep_order) sweep_groups.push_back(result.group_of[column]);

  double refined_loss = 0;
  for (int r = 0; r < rows; ++r) {
    std::vector<double> w(cols), error(cols);
    for (int i = 0; i < cols; ++i) w[i] = target[r][order[i]];
    const auto grid_of = [&](int g) {
      std::vector<int> members;
      for (int i = 0; i < cols; ++i) {
        if (group_at[i] == g) members.push_back(i);
      }
      std::vector<double> values;
      for (int i : members) values.push_back(w[i]);
      Table u(members.size(), std::vector<double>(members.size()));
      for (size_t i = 0; i < members.size(); ++i) {
        for (size_t j = 0; j < members.size(); ++j) u[i][j] = result.u[members[i]][members[j]];
      }
      return grid_for(values, u, o);
    };
    std::vector<Grid> grids(groups);
    std::vector<bool> known(groups, o.static_groups);
    for (int g = 0; g < groups && o.static_groups; ++g) grids[g] = grid_of(g);
    for (int i = 0; i < cols; ++i) {
      const int g = group_at[i];
      if (!known[g]) grids[g] = grid_of(g);
      known[g] = true;
      const double code = std::clamp(std::nearbyint(w[i] / grids[g].scale) + grids[g].zero, 0.0, double(top));
      const double value = grids[g].scale * (code - grids[g].zero);
      result.codes[r * cols + order[i]] = static_cast<int>(code);
      error[i] = target[r][order[i]] - value;
      const double before = w[i], step = (before - value) / result.u[i][i];
      if (!p.empty()) result.loss += step * step;  // the weights move, so that the errors below mean nothing
      for (int j = i; j < cols; ++j) w[j] -= step * result.u[i][j] - (p.empty() ? 0 : before * p[i][j]);
    }
    if (o.sweeps > 0) {
      Descent descent{o,    refined_h, sweep_groups, std::vector<double>(cols), std::vector<double>(cols),
                      grids};
      for (int i = 0; i < cols; ++i) {
        descent.target[i] = target[r][sweep_order[i]];
        descent.codes[i] = result.codes[r * cols + sweep_order[i]];
      }
      for (int i = 0; i < o.sweeps; ++i) descent.sweep(i >= o.sweeps - o.refits);
      for (int i = 0; i < cols; ++i)
        result.codes[r * cols + sweep_order[i]] = static_cast<int>(descent.codes[i]);
      refined_loss += descent.loss();
    }
    for (int g = 0; g < groups; ++g) {
      result.scales[g * rows + r] = grids[g].scale;
      result.zeros[g * rows + r] = grids[g].zero;
    }
    for (int i = 0; p.empty() && i < cols; ++i) {
      for (int j = 0; j < cols; ++j) result.loss += error[i] * ordered[i][j] * error[j];
    }
  }
  if (o.sweeps > 0) result.loss = refined_loss;
  result.loss /= tokens;
  return result;
}

}  // namespace gptq::test
