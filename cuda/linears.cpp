// Products of the stream with packed weights: as few launches as there are kinds of weights among those that read the same
// rows. A kind is a width and an order of inputs: for each order the rows are gathered once.
#include <algorithm>

#include "base/text.h"
#include "cuda/stream_cuda.h"

namespace gptq::cuda {
namespace {

constexpr int64_t kFewRows = 8;           // as multiply_few() takes
constexpr size_t kElementAlignment = 16;  // of matrices (kernels.h)

}  // namespace

bool is_aligned(Matrix x) { return reinterpret_cast<uintptr_t>(x.data) % kElementAlignment == 0; }

std::byte* data_of(Matrix x) {
  if (!is_aligned(x)) throw Error(Status::internal, cat("a matrix of ", x.cols, " columns is not aligned"));
  return x.data;
}

Matrix CudaStream::beside(Matrix x, size_t place) {
  if (is_aligned(x)) return x;
  const size_t bytes = static_cast<size_t>(elements(x)) * kElementBytes;
  std::byte* const copy = grown(beside_[place], bytes);
  queue_->copy(copy, x.data, bytes);
  return {copy, x.rows, x.cols};
}

void CudaStream::put_back(Matrix copy, Matrix x) {
  if (copy.data != x.data) queue_->copy(x.data, copy.data, static_cast<size_t>(elements(x)) * kElementBytes);
}

void CudaStream::linear(const Linear& w, Matrix x, Matrix y) {
  const Projection one{&w, y};
  linears(x, {&one, 1});
}

void CudaStream::linears(Matrix x, std::span<const Projection> projections) {
  const Turn turn = begin();
  const Matrix in = beside(x, 0);
  std::vector<Product> products, kind;
  for (const Projection& p : projections) {
    if (is_aligned(p.y)) {
      products.push_back({weights_of(*p.w), p.y.data});
      continue;
    }
    const Matrix out = beside(p.y, 1);
    const Product one{weights_of(*p.w), out.data};
    multiply_by(turn.queue(), {&one, 1}, in);
    put_back(out, p.y);
  }
  while (!products.empty()) {
    const Weights first = products.front().w;
    const auto rest = std::stable_partition(products.begin(), products.end(), [&](const Product& product) {
      return product.w.shape.bits == first.shape.bits && product.w.order == first.order;
    });
    kind.assign(products.begin(), rest);
    products.erase(products.begin(), rest);
    multiply_by(turn.queue(), kind, in);
  }
}

void CudaStream::multiply_by(const Queue& queue, std::span<const Product> products, Matrix x) {
  const Weights& first = products.front().w;
  if (kFewRows < x.rows && x.rows < kLibraryRows && products.size() > 1) {
    std::vector<LinearPart> parts;
    for (const Product& product : products) parts.push_back({.w = product.w, .y = product.y});
    return multiply_by_parts(queue, parts, x);
  }
  const void* in = data_of(x);
  if (first.order != nullptr) {
    std::byte* const sorted = scratch(static_cast<size_t>(x.rows * first.inputs()) * kElementBytes);
    gather_columns(queue, kElement, in, x.cols, first.order, first.inputs(), x.rows, sorted);
    in = sorted;
  }
  if (x.rows <= kFewRows) {
    for (size_t i = 0; i < products.size(); i += kMostProducts)
      multiply_few(queue, kElement, products.subspan(i, std::min(kMostProducts, products.size() - i)), in,
                   x.rows);
    return;
  }
  for (const auto& [w, y] : products) {
    pace(x.rows);
    if (!library_products_.multiply(queue, kElement, w, in, x.rows, y))
      multiply(queue, kElement, w, in, x.rows, y, product_scratch(queue));
  }
}

void* CudaStream::product_scratch(const Queue& queue) {
  if (product_.bytes() == 0) {
    product_ = room(scratch_of_product(queue));
    queue_->ahead().clear(product_.data(), kFlagBytes);
  }
  return product_.data();
}

void CudaStream::multiply_by_parts(const Queue& queue, std::span<const LinearPart> parts, Matrix x) {
  const LinearParts line = join_parts(parts);
  const Weights& first = parts.front().w;
  const std::vector<PartRows> rows = plan_parts_of_all(line, x.rows);
  if (rows.empty()) return;
  const bool sorts = first.order != nullptr;
  const auto [sorted, at, rows_at] =
      send_behind(sorts ? static_cast<size_t>(x.rows * line.inputs) * kElementBytes : 0,
                  std::span<const LinearPart>(line.parts), std::span<const PartRows>(rows));
  const void* in = data_of(x);
  if (sorts) {
    gather_columns(queue, kElement, in, x.cols, first.order, line.inputs, x.rows, sorted);
    in = sorted;
  }
  pace(x.rows);
  multiply_parts(queue, kElement, line, {x.rows, x.rows}, at, rows_at, in, product_scratch(queue));
}

}  // namespace gptq::cuda
