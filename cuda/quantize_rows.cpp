// Rows of a weight matrix from what a checkpoint has of them to their codes, without leaving the device.
#include <cmath>
#include <numeric>

#include "backend/rows_by_ops.h"
#include "cuda/solve.h"
#include "cuda/stream_cuda.h"

namespace gptq::cuda {
namespace {

bool is_taken(DType dtype) { return dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16; }

}  // namespace

Block CudaStream::weights_there(const RowsProblem& p, const int32_t* order) {
  std::vector<float> converted;
  DType dtype = p.weights.dtype;
  if (!is_taken(dtype)) {
    converted = to_float(p.weights);
    dtype = DType::f32;
  }
  const auto count = static_cast<size_t>(p.rows * p.cols);
  const Block stored =
                  copy_of(converted.empty() ? static_cast<const void*>(p.weights.data) : converted.data(),
                          count * static_cast<size_t>(dtype_bits(dtype) / 8)),
              flag = room(sizeof(uint32_t));
  Block dropped, weights = room(count * sizeof(float));
  if (!p.dropped.empty()) dropped = copy_of(p.dropped);
  queue_->clear(flag.data(), flag.bytes());
  take_weights(queue_->queue(), dtype, stored.data(), p.rows, p.cols, order, dropped.as<const uint8_t>(),
               weights.as<float>(), flag.as<uint32_t>());
  uint32_t failed = 0;
  queue_->download(&failed, flag.data(), sizeof failed);
  return failed != 0 ? Block() : std::move(weights);
}

std::optional<int64_t> CudaStream::quantize_rows(const Hessian& hessian, const Factor* factor,
                                                 const RowsProblem& p) {
  const Turn turn = begin();
  const Block order = copy_of(p.order);
  RowsThere there = room_for_rows(p.rows, p.cols, p.groups);
  there.loss = room(static_cast<size_t>(p.rows) * sizeof(double));
  there.weights = weights_there(p, order.as<const int32_t>());
  if (there.weights.bytes() == 0) return first_not_finite(p);
  if (p.drifts != nullptr)
    retarget_there(*factor, *p.drifts, p.parts, p.order, p.first_row, p.rows, there.weights);
  p.moved();
  bool refines = p.refine.sweeps > 0;
  Block target;
  if (refines) {
    target = room(there.weights.bytes());
    queue_->copy(target.data(), there.weights.data(), target.bytes());
  }
  solve_there(factor, p.solve, p.group_of, there);
  there.weights = {};
  p.solved();
  queue_->download(p.row_loss, there.loss.data(), there.loss.bytes());
  if (refines && std::isfinite(std::accumulate(p.row_loss, p.row_loss + p.rows, 0.0))) {
    refine_there(hessian, p.refine_order, p.refine_diagonal_add, p.refine, p.refine_group_of,
                 places_of_refined(p), target, there);
    queue_->download(p.row_loss, there.loss.data(), there.loss.bytes());
  }
  target = {};
  const Block codes = room(there.codes.bytes());
  put_columns(turn.queue(), there.codes.as<const uint8_t>(), p.rows, p.cols, order.as<const int32_t>(),
              codes.as<uint8_t>());
  queue_->download(p.codes, codes.data(), codes.bytes());
  queue_->download(p.scales, there.scales.data(), there.scales.bytes());
  queue_->download(p.zeros, there.zeros.data(), there.zeros.bytes());
  return std::nullopt;
}

}  // namespace gptq::cuda
