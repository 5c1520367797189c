// Quantization: sums, factors and solutions are made on the device (kernels.h, solve.h). Problems come from the host's
// memory and go back to it, some rows of a matrix at a time.
#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "cuda/solve.h"
#include "cuda/stream_cuda.h"
#include "cuda/sums_cuda.h"

namespace gptq::cuda {
namespace {

const CudaHessian& on_device(const Hessian& hessian) { return static_cast<const CudaHessian&>(hessian); }
const CudaFactor& on_device(const Factor& factor) { return static_cast<const CudaFactor&>(factor); }
const CudaDrift& on_device(const Drift& drift) { return static_cast<const CudaDrift&>(drift); }

size_t floats(int64_t rows, int64_t cols) {
  return static_cast<size_t>(rows) * static_cast<size_t>(cols) * sizeof(float);
}

void check(const Factor& factor, const Drift& drift, int64_t rows, std::span<const int32_t> order) {
  const int64_t cols = factor.size();
  if (drift.rows() != rows || drift.cols() != cols || static_cast<int64_t>(order.size()) != cols) {
    throw Error(Status::internal, cat("a drift of ", drift.rows(), " x ", drift.cols(), ", wanted ", rows,
                                      " x ", cols, " as the factor has them"));
  }
}

void check(const Hessian& hessian, std::span<const int32_t> order, std::span<const float> diagonal_add) {
  const auto size = static_cast<size_t>(hessian.size());
  if (order.size() != size || diagonal_add.size() != size) {
    throw Error(Status::internal, cat("a Hessian of ", size, " inputs, an order of ", order.size(),
                                      " and a diagonal of ", diagonal_add.size()));
  }
}

/// Columns by group: those of g are members[begin[g]] to members[begin[g + 1] - 1], in sequence.
struct Members {
  std::vector<int32_t> members, begin;

  Members(std::span<const int32_t> group_of, int64_t groups) {
    begin.resize(static_cast<size_t>(groups) + 1);
    for (const int32_t group : group_of) ++begin[static_cast<size_t>(group) + 1];
    for (size_t g = 1; g < begin.size(); ++g) begin[g] += begin[g - 1];
    members.resize(group_of.size());
    std::vector<int32_t> next = begin;
    for (size_t i = 0; i < group_of.size(); ++i)
      members[static_cast<size_t>(next[static_cast<size_t>(group_of[i])]++)] = static_cast<int32_t>(i);
  }
};

}  // namespace

Block CudaStream::copy_of(const void* host, size_t bytes) {
  Block block = room(bytes);
  queue_->upload(block.data(), host, bytes);
  return block;
}

std::unique_ptr<Hessian> CudaStream::create_hessian(int64_t size) {
  if (size > kMostFactor) {
    throw Error(Status::unsupported, cat("a Hessian of ", size, " inputs, at most ", kMostFactor, " wanted"));
  }
  const Turn turn = begin();
  return std::make_unique<CudaHessian>(
      needed([&] { return FloatSums(shared_->loader->device(), *queue_, size, size); }), size);
}

void CudaStream::hessian_add(Matrix x, Hessian& hessian) {
  if (x.cols != hessian.size()) {
    throw Error(Status::internal, cat("hessian of ", hessian.size(), " inputs got rows of ", x.cols));
  }
  if (x.rows == 0) return;
  const Turn turn = begin();
  pace(x.rows);
  auto& to = static_cast<CudaHessian&>(hessian);
  const void* const in = beside(x, 0).data;
  library_products_.add_products(turn.queue(), kElement, in, x.cols, in, x.cols, x.rows, 1.0f, Wanted::upper,
                                 to.data());
  to.count(x.rows);
}

std::vector<float> CudaStream::hessian_diagonal(const Hessian& hessian) {
  const Turn turn = begin();
  std::vector<float> diagonal(static_cast<size_t>(hessian.size()));
  const size_t bytes = diagonal.size() * sizeof(float);
  auto* const on_gpu = reinterpret_cast<float*>(scratch(bytes));
  diagonal_of(turn.queue(), on_device(hessian).data(), hessian.size(), on_gpu);
  queue_->download(diagonal.data(), on_gpu, bytes);
  return diagonal;
}

std::unique_ptr<Drift> CudaStream::create_drift(int64_t rows, int64_t cols) {
  const Turn turn = begin();
  return std::make_unique<CudaDrift>(
      needed([&] { return FloatSums(shared_->loader->device(), *queue_, rows, cols); }), rows, cols);
}

/// A0^T X - A^T X: products are exact, and so is their difference but for the rounding of sums.
void CudaStream::drift_add(Matrix a0, Matrix a, Matrix x, Drift& drift) {
  if (a.cols != drift.rows() || a0.cols != a.cols || x.cols != drift.cols() || a0.rows != a.rows ||
      a.rows != x.rows) {
    throw Error(Status::internal, cat("drift of ", drift.rows(), " x ", drift.cols(), " got rows of ",
                                      a0.cols, ", ", a.cols, " and ", x.cols));
  }
  if (x.rows == 0) return;
  const Turn turn = begin();
  pace(x.rows);
  const void *const inputs = beside(x, 0).data, *const original = beside(a0, 1).data,
                    *const now = beside(a, 2).data;
  const auto add = [&](const void* features, float sign) {
    library_products_.add_products(turn.queue(), kElement, features, a.cols, inputs, x.cols, x.rows, sign,
                                   Wanted::all, on_device(drift).data());
  };
  add(original, 1.0f);
  add(now, -1.0f);
}

std::unique_ptr<Factor> CudaStream::factor(const Hessian& hessian, std::span<const int32_t> order,
                                           std::span<const float> diagonal_add) {
  check(hessian, order, diagonal_add);
  const Turn turn = begin();
  const int64_t n = hessian.size();
  const Queue& queue = turn.queue();
  const Block order_on_gpu = copy_of(order), add = copy_of(diagonal_add), work = room(scratch_of_factor(n)),
              flag = room(sizeof(uint32_t));
  Block u = room(floats(n, n));
  queue_->clear(flag.data(), flag.bytes());
  const auto turn_hessian = [&] {
    begin_factor(queue, on_device(hessian).data(), n, order_on_gpu.as<const int32_t>(), add.as<const float>(),
                 work.data());
  };
  turn_hessian();
  auto outcome = Cusolver::Outcome::refused;
  if (solver_.is_ready()) {
    outcome = solver_.factor(work.as<float>(), n);
    if (outcome == Cusolver::Outcome::not_positive_definite) return nullptr;
    if (outcome == Cusolver::Outcome::refused) turn_hessian();
  }
  if (outcome == Cusolver::Outcome::done) {
    take_factor(queue, n, work.data(), flag.as<uint32_t>());
  } else {
    factor_blocks(queue, n, work.data(), flag.as<uint32_t>(), [&] { pause(); });
  }
  finish_factor(queue, n, work.data(), u.as<float>(), [&] { pause(); });
  uint32_t failed = 0;
  queue_->download(&failed, flag.data(), sizeof failed);
  return failed != 0 ? nullptr : std::make_unique<CudaFactor>(std::move(u), n);
}

void CudaStream::retarget_there(const Factor& factor, const Drifts& drifts, const DriftParts& parts,
                                std::span<const int32_t> order, int64_t first_row, int64_t rows,
                                const Block& weights) {
  const auto checked = [&](const Drift* drift, double part, int64_t most) {
    if (drift != nullptr) check(factor, *drift, most, order);
    return part == 0 ? nullptr : static_cast<const CudaDrift*>(drift);
  };
  const CudaDrift* inputs = checked(drifts.inputs.get(), parts.inputs, factor.size());
  const CudaDrift* residual =
      checked(drifts.residual.get(), parts.residual, drifts.residual ? drifts.residual->rows() : 0);
  if (residual != nullptr && first_row + rows > residual->rows()) {
    throw Error(Status::internal, cat("rows up to ", first_row + rows, " of a drift of ", residual->rows()));
  }
  if ((inputs == nullptr && residual == nullptr) || rows == 0 || factor.size() == 0) return;
  const int64_t cols = factor.size();
  const Block a = room(weights.bytes()), b = room(weights.bytes()), list = copy_of(order);
  const auto* const at = list.as<const int32_t>();
  const auto multiply = [&](const Block& left, const FloatOperand& right, Triangle right_is, float part,
                            Onto onto, const Block& out) {
    pause();
    multiply_floats(queue_->queue(), {.rows = rows,
                                      .cols = cols,
                                      .depth = cols,
                                      .left = {.data = left.as<const float>(), .pitch = cols},
                                      .right = right,
                                      .factor = part,
                                      .out = out.as<float>(),
                                      .pitch = cols,
                                      .onto = onto,
                                      .right_is = right_is});
  };
  queue_->clear(b.data(), b.bytes());
  if (inputs != nullptr) {
    multiply(weights, {.data = inputs->data(), .pitch = cols, .rows = at, .cols = at}, Triangle::all,
             static_cast<float>(parts.inputs), Onto::nothing, b);
  }
  if (residual != nullptr) {
    add_rows(queue_->queue(), residual->data() + first_row * cols, rows, cols, at,
             static_cast<float>(parts.residual), b.as<float>());
  }
  const float* const u = on_device(factor).u();
  multiply(b, {.data = u, .pitch = cols, .turned = Turned::yes}, Triangle::lower, 1.0f, Onto::nothing, a);
  multiply(a, {.data = u, .pitch = cols}, Triangle::upper, 1.0f, Onto::what_is_there, weights);
}

void CudaStream::retarget(const Factor& factor, const Drifts& drifts, const DriftParts& parts,
                          std::span<const int32_t> order, int64_t first_row, int64_t rows, float* weights) {
  const Turn turn = begin();
  const Block there = copy_of(weights, floats(rows, factor.size()));
  retarget_there(factor, drifts, parts, order, first_row, rows, there);
  queue_->download(weights, there.data(), there.bytes());
}

void CudaStream::spread_drift(Factor& factor, const Drift& drift, std::span<const int32_t> order,
                              double alpha) {
  check(factor, drift, factor.size(), order);
  const Turn turn = begin();
  auto& into = static_cast<CudaFactor&>(factor);
  const int64_t n = into.size();
  const Block list = copy_of(order), product = room(floats(n, n));
  Block p = room(floats(n, n));
  const auto* const at = list.as<const int32_t>();
  const auto multiply = [&](const FloatOperand& left, Turned turned, Triangle right_is, float part,
                            const Block& out) {
    pause();
    multiply_floats(turn.queue(), {.rows = n,
                                   .cols = n,
                                   .depth = n,
                                   .left = left,
                                   .right = {.data = into.u(), .pitch = n, .turned = turned},
                                   .factor = part,
                                   .out = out.as<float>(),
                                   .pitch = n,
                                   .right_is = right_is,
                                   .wanted = Triangle::above});
  };
  multiply({.data = on_device(drift).data(), .pitch = n, .rows = at, .cols = at}, Turned::yes,
           Triangle::lower, 1.0f, product);
  multiply({.data = product.as<const float>(), .pitch = n}, Turned::no, Triangle::upper,
           static_cast<float>(alpha), p);
  into.set_spread(std::move(p));
}

CudaStream::RowsThere CudaStream::room_for_rows(int64_t rows, int64_t cols, int64_t groups) {
  const auto ranges = static_cast<size_t>(rows * groups);
  RowsThere there{.rows = rows, .cols = cols, .groups = groups};
  there.codes = room(static_cast<size_t>(rows * cols));
  there.scales = room(ranges * sizeof(float));
  there.zeros = room(ranges * sizeof(uint16_t));
  return there;
}

void CudaStream::solve_there(const Factor* factor, const SolveParams& params,
                             std::span<const int32_t> group_of, const RowsThere& rows) {
  if (factor != nullptr && factor->size() != rows.cols)
    throw Error(Status::internal, cat("solve: ", rows.cols, " columns, a factor of ", factor->size()));
  const bool fixed = params.static_groups == StaticGroups::yes;
  const auto* const on_gpu = static_cast<const CudaFactor*>(factor);
  const size_t of_block = floats(rows.rows, kMostSolvedColumns);
  const Block groups = copy_of(group_of), errors = room(of_block);
  Block turns, members, begins;
  if (fixed) {
    const Members by_group(group_of, rows.groups);
    members = copy_of(std::span(by_group.members));
    begins = copy_of(std::span(by_group.begin));
  }
  if (on_gpu != nullptr && on_gpu->spread() != nullptr) turns = room(of_block);
  cuda::solve(queue_->queue(),
              {.params = params,
               .rows = rows.rows,
               .cols = rows.cols,
               .groups = rows.groups,
               .weights = rows.weights.as<float>(),
               .group_of = groups.as<const int32_t>(),
               .u = on_gpu != nullptr ? on_gpu->u() : nullptr,
               .p = on_gpu != nullptr ? on_gpu->spread() : nullptr,
               .codes = rows.codes.as<uint8_t>(),
               .scales = rows.scales.as<float>(),
               .zeros = rows.zeros.as<uint16_t>(),
               .row_loss = rows.loss.as<double>(),
               .errors = errors.as<float>(),
               .turns = turns.as<float>(),
               .members = members.as<const int32_t>(),
               .begin = begins.as<const int32_t>()},
              group_of, [&] { pause(); });
}

void CudaStream::solve(const Factor* factor, const SolveParams& params, SolveProblem& problem) {
  if (problem.rows == 0 || problem.cols == 0) return;
  const Turn turn = begin();
  RowsThere there = room_for_rows(problem.rows, problem.cols, problem.groups);
  there.weights = copy_of(problem.weights, floats(problem.rows, problem.cols));
  if (problem.row_loss != nullptr) there.loss = room(static_cast<size_t>(problem.rows) * sizeof(double));
  solve_there(factor, params, {problem.group_of, static_cast<size_t>(problem.cols)}, there);
  queue_->download(problem.weights, there.weights.data(), there.weights.bytes());
  queue_->download(problem.codes, there.codes.data(), there.codes.bytes());
  queue_->download(problem.scales, there.scales.data(), there.scales.bytes());
  queue_->download(problem.zeros, there.zeros.data(), there.zeros.bytes());
  if (problem.row_loss != nullptr) queue_->download(problem.row_loss, there.loss.data(), there.loss.bytes());
}

void CudaStream::refine_there(const Hessian& hessian, std::span<const int32_t> order,
                              std::span<const float> diagonal_add, const RefineParams& params,
                              std::span<const int32_t> group_of, std::span<const int32_t> stored,
                              const Block& target, const RowsThere& rows) {
  check(hessian, order, diagonal_add);
  if (hessian.size() != rows.cols)
    throw Error(Status::internal, cat("refine: ", rows.cols, " columns, a Hessian of ", hessian.size()));
  const Queue& queue = queue_->queue();
  const int64_t n = rows.cols;
  const size_t of_block = floats(rows.rows, kRefinedBlock);
  const Block h = room(floats(n, n)), groups = copy_of(group_of), list = copy_of(order),
              add = copy_of(diagonal_add), places = copy_of(stored);
  permute_hessian(queue, on_device(hessian).data(), n, list.as<const int32_t>(), add.as<const float>(),
                  h.as<float>());
  const auto* const at = places.as<const int32_t>();
  const Block wanted = room(target.bytes()), codes = room(rows.codes.bytes()), product = room(of_block);
  take_columns(queue, target.as<const float>(), rows.rows, n, at, wanted.as<float>());
  take_columns(queue, rows.codes.as<const uint8_t>(), rows.rows, n, at, codes.as<uint8_t>());
  Block numbers, numbers_product, fits;
  if (fits_large_groups(params, group_of)) {
    numbers = room(target.bytes());
    numbers_product = room(of_block);
    fits = room(2 * static_cast<size_t>(rows.rows) * sizeof(double));
  }
  cuda::refine(queue,
               {.params = params,
                .rows = rows.rows,
                .cols = n,
                .hessian = h.as<const float>(),
                .target = wanted.as<const float>(),
                .group_of = groups.as<const int32_t>(),
                .codes = codes.as<uint8_t>(),
                .scales = rows.scales.as<float>(),
                .zeros = rows.zeros.as<const uint16_t>(),
                .row_loss = rows.loss.as<double>(),
                .residual = target.as<float>(),
                .product = product.as<float>(),
                .numbers = numbers.as<float>(),
                .numbers_product = numbers_product.as<float>(),
                .fits = fits.as<double>()},
               group_of, [&] { pause(); });
  put_columns(queue, codes.as<const uint8_t>(), rows.rows, n, at, rows.codes.as<uint8_t>());
}

void CudaStream::refine(const Hessian& hessian, std::span<const int32_t> order,
                        std::span<const float> diagonal_add, const RefineParams& params,
                        RefineProblem& problem) {
  if (problem.rows == 0 || problem.cols == 0) return;
  const Turn turn = begin();
  const auto cols = static_cast<size_t>(problem.cols);
  const std::span group_of(problem.group_of, cols);
  RowsThere there = room_for_rows(problem.rows, problem.cols,
                                  int64_t{1} + *std::max_element(group_of.begin(), group_of.end()));
  const Block target = copy_of(problem.target, floats(problem.rows, problem.cols));
  queue_->upload(there.codes.data(), problem.codes, there.codes.bytes());
  queue_->upload(there.scales.data(), problem.scales, there.scales.bytes());
  queue_->upload(there.zeros.data(), problem.zeros, there.zeros.bytes());
  if (problem.row_loss != nullptr) there.loss = room(static_cast<size_t>(problem.rows) * sizeof(double));
  refine_there(hessian, order, diagonal_add, params, group_of, {problem.stored, cols}, target, there);
  queue_->download(problem.codes, there.codes.data(), there.codes.bytes());
  queue_->download(problem.scales, there.scales.data(), there.scales.bytes());
  if (problem.row_loss != nullptr) queue_->download(problem.row_loss, there.loss.data(), there.loss.bytes());
}

}  // namespace gptq::cuda
