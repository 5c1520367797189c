// H = R R^T with R upper triangular is a Cholesky factorization from the last column to the first, and
// H^-1 = R^-T R^-1, so that U = R^-1: no inverse of H and no second factorization is needed.
#include "cpu/factor.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "cpu/hessian.h"
#include "cpu/panel_product.h"
#include "cpu/stream_cpu.h"

namespace gptq::cpu {
namespace {

/// Columns of one step, a multiple of a panel's.
constexpr int64_t kBlock = 128;
constexpr int64_t kWidth = kTileCols;

/// Columns [begin, end) and the same rows.
struct Block {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
  int64_t panels() const { return size() / kWidth; }
  int64_t first_panel() const { return begin / kWidth; }
};

/// The diagonal block and its inverse, transposed so that loops run along rows; fp64 costs little here.
class Corner {
 public:
  Corner() : rows_(kBlock * kBlock), inverse_(kBlock * kBlock) {}

  /// Factors the block of `a` and overwrites it with R^-1, zeros below the diagonal.
  Definite factor(UpperPanels& a, const Block& block) {
    size_ = block.size();
    for (int64_t j = 0; j < size_; ++j) {
      for (int64_t i = 0; i <= j; ++i) row(j)[i] = a.at(block.begin + i, block.begin + j);
    }
    if (cholesky() == Definite::no) return Definite::no;
    invert();
    for (int64_t j = 0; j < size_; ++j) {
      for (int64_t i = 0; i < size_; ++i) inverse_[at(j, i)] = i <= j ? static_cast<float>(row(j)[i]) : 0.0f;
    }
    for (int64_t j = 0; j < size_; ++j) {
      const int64_t stored = UpperPanels::panel_rows((block.begin + j) / kWidth) - block.begin;
      for (int64_t i = 0; i < stored; ++i) a.at(block.begin + i, block.begin + j) = inverse_[at(j, i)];
    }
    return Definite::yes;
  }

  /// (R^-1)^T [size][kBlock], lower triangular
  const float* inverse_transposed() const { return inverse_.data(); }

 private:
  static size_t at(int64_t i, int64_t j) { return static_cast<size_t>(i * kBlock + j); }
  double* row(int64_t j) { return rows_.data() + j * kBlock; }

  Definite cholesky() {
    for (int64_t j = size_ - 1; j >= 0; --j) {
      double* column = row(j);
      const double pivot = column[j];
      if (!(static_cast<float>(pivot) > 0.0f) || !std::isfinite(pivot)) return Definite::no;
      const double root = std::sqrt(pivot);
      column[j] = root;
      for (int64_t i = 0; i < j; ++i) column[i] /= root;
      for (int64_t l = 0; l < j; ++l) subtract(column, column[l], l + 1, row(l));
    }
    return Definite::yes;
  }

  void invert() {
    double sums[kBlock];
    for (int64_t i = 0; i < size_; ++i) {
      std::fill(sums, sums + i, 0.0);
      for (int64_t k = 0; k < i; ++k) subtract(row(k), row(i)[k], k + 1, sums);
      const double pivot = row(i)[i];
      for (int64_t j = 0; j < i; ++j) row(i)[j] = sums[j] / pivot;
      row(i)[i] = 1.0 / pivot;
    }
  }

  /// y -= factor * x
  static void subtract(const double* __restrict x, double factor, int64_t n, double* __restrict y) {
    for (int64_t i = 0; i < n; ++i) y[i] -= factor * x[i];
  }

  int64_t size_ = 0;
  std::vector<double> rows_;
  std::vector<float> inverse_;
};

class Inversion {
 public:
  Inversion(const Workers& workers, UpperPanels& a)
      : workers_(workers),
        a_(a),
        tile_rows_(workers.kernels.tile_rows),
        pair_(workers.kernels, kBlock, a.padded_size()) {}

  Definite run() {
    const int64_t blocks = (a_.padded_size() + kBlock - 1) / kBlock;
    for (int64_t b = blocks - 1; b >= 0; --b) {
      if (eliminate(block(b)) == Definite::no) return Definite::no;
    }
    for (int64_t b = 0; b < blocks; ++b) expand(block(b));
    return Definite::yes;
  }

 private:
  Block block(int64_t b) const { return {b * kBlock, std::min((b + 1) * kBlock, a_.padded_size())}; }
  int64_t tiles(int64_t rows) const { return (rows + tile_rows_ - 1) / tile_rows_; }

  /// Columns of the block become those of R (its corner: of R^-1), and their products leave the columns before.
  Definite eliminate(const Block& b) {
    if (corner_.factor(a_, b) == Definite::no) return Definite::no;
    workers_.parallel_for(tiles(b.begin), 8, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        pack_left(b, t, b.begin);
        for (int64_t q = 0; q < b.panels(); ++q) {
          const int64_t skip = q * kWidth;  // rows of the triangle that are zero
          multiply(b, t, q, pair_.left(t) + skip * tile_rows_,
                   corner_.inverse_transposed() + skip * kBlock + skip, kBlock, b.size() - skip, 1.0f);
        }
      }
    });
    workers_.parallel_for(tiles(b.begin) + b.first_panel(), 8, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        if (i < tiles(b.begin)) {
          pack_left(b, i, b.begin);
        } else {
          pack(b, (i - tiles(b.begin)) * kWidth, b.begin, kWidth, pair_.right(i - tiles(b.begin)));
        }
      }
    });
    subtract_gram(workers_, pair_, b.size(), b.begin, a_);
    return Definite::yes;
  }

  /// Columns of the block, so far sums T = sum U R over the blocks before, become those of U = -T V, V the corner;
  /// then the block's rows of R are replaced by their part of the sums in the columns after.
  void expand(const Block& b) {
    workers_.parallel_for(tiles(b.end), 8, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        pack_left(b, t, b.begin);
        for (int64_t q = 0; q < b.panels() && t * tile_rows_ < b.begin; ++q) {
          multiply(b, t, q, pair_.left(t), a_.panel(b.first_panel() + q) + b.begin * kWidth, kWidth,
                   (q + 1) * kWidth, -1.0f);
        }
        pack_left(b, t, b.end);
      }
    });
    const int64_t later = b.end / kWidth;
    workers_.parallel_for(a_.panels() - later, 1, [&](int64_t begin, int64_t end) {
      float r[kBlock * kWidth];
      for (int64_t p = later + begin; p < later + end; ++p) {
        float* source = a_.panel(p) + b.begin * kWidth;
        std::copy(source, source + b.size() * kWidth, r);
        std::fill(source, source + b.size() * kWidth, 0.0f);
        for (int64_t t = 0; t < tiles(b.end); ++t) {
          workers_.kernels.tile(b.size(), pair_.left(t), r, kWidth, a_.panel(p) + t * tile_rows_ * kWidth,
                                kWidth, std::min(tile_rows_, b.end - t * tile_rows_), kWidth, 1.0f, true);
        }
      }
    });
  }

  /// Rows of tile t, up to `rows`, in panel q of the block = sign * left * right
  void multiply(const Block& b, int64_t t, int64_t q, const float* left, const float* right, int64_t ldb,
                int64_t k, float sign) {
    const int64_t first = t * tile_rows_;
    workers_.kernels.tile(k, left, right, ldb, a_.panel(b.first_panel() + q) + first * kWidth, kWidth,
                          std::min(tile_rows_, b.begin - first), kWidth, sign, false);
  }

  void pack_left(const Block& b, int64_t t, int64_t rows) {
    pack(b, t * tile_rows_, rows, tile_rows_, pair_.left(t));
  }

  /// out [block size][width]: the block's columns of rows [first, first + width), zeros from row `rows` on.
  void pack(const Block& b, int64_t first, int64_t rows, int64_t width, float* out) {
    for (int64_t q = 0; q < b.panels(); ++q, out += kWidth * width) {
      const int64_t p = b.first_panel() + q, last = std::min(rows, UpperPanels::panel_rows(p));
      const int64_t count = std::clamp<int64_t>(last - first, 0, width);
      workers_.kernels.pack(Dense::f32, a_.panel(p) + (count > 0 ? first : 0) * kWidth, kWidth, count, kWidth,
                            out, width);
    }
  }

  const Workers& workers_;
  UpperPanels& a_;
  int64_t tile_rows_;
  PackedPair pair_;
  Corner corner_;
};

/// H'[i][j] = H[order[i]][order[j]] + (i == j ? diagonal_add[i] : 0), identity in the padding.
UpperPanels permuted(const Workers& workers, const UpperPanels& h, std::span<const int32_t> order,
                     std::span<const float> diagonal_add) {
  UpperPanels result(h.size());
  workers.parallel_for(result.panels(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      for (int64_t i = 0; i < UpperPanels::panel_rows(p); ++i) {
        for (int64_t j = std::max(i, p * kWidth); j < (p + 1) * kWidth; ++j) {
          const auto from = static_cast<size_t>(i), to = static_cast<size_t>(j);
          float& out = result.at(i, j);
          if (j < h.size()) out = h.symmetric(order[from], order[to]);
          if (i == j) out = j < h.size() ? out + diagonal_add[from] : 1.0f;
        }
      }
    }
  });
  return result;
}

}  // namespace

Definite factor_inverse(const Workers& workers, UpperPanels& a) { return Inversion(workers, a).run(); }

std::unique_ptr<Factor> CpuStream::factor(const Hessian& hessian, std::span<const int32_t> order,
                                          std::span<const float> diagonal_add) {
  const UpperPanels& sums = static_cast<const CpuHessian&>(hessian).sums();
  const auto size = static_cast<size_t>(sums.size());
  if (order.size() != size || diagonal_add.size() != size) {
    throw Error(Status::internal,
                cat("factor of ", size, " columns got ", order.size(), " and ", diagonal_add.size()));
  }
  const Workers workers = workers_of(*this);
  UpperPanels u = permuted(workers, sums, order, diagonal_add);
  if (factor_inverse(workers, u) == Definite::no) return nullptr;
  return std::make_unique<CpuFactor>(std::move(u));
}

}  // namespace gptq::cpu
