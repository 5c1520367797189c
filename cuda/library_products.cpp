#include "cuda/library_products.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "cuda/layout.h"

namespace gptq::cuda {
namespace {

constexpr size_t kNumberBytes = 2;

/// How a product is cut: outputs of a panel, and rows of one with sums in fp32.
struct Cut {
  int64_t outputs = 0, rows = 0;
  size_t panel_bytes = 0, sums_bytes = 0;

  Cut(const Weights& w, int64_t all_rows, const LibraryProducts::Limits& limits) {
    const size_t strip_bytes = static_cast<size_t>(w.shape.packed_inputs) * kStripRows * kNumberBytes;
    const auto most_strips = static_cast<int64_t>(limits.panel_bytes / strip_bytes);
    if (most_strips == 0) return;
    // of about the same size, since each is a product of its own
    const int64_t strips = w.shape.strips(), panels = divide_up(strips, most_strips),
                  of_panel = divide_up(strips, panels);
    outputs = std::min(of_panel * kStripRows, w.shape.rows);
    panel_bytes = static_cast<size_t>(of_panel) * strip_bytes;
    rows = all_rows;
    if (w.bias == nullptr) return;
    const size_t row_bytes = static_cast<size_t>(outputs) * sizeof(float);
    rows = std::clamp<int64_t>(static_cast<int64_t>(limits.sums_bytes / row_bytes), 1, all_rows);
    sums_bytes = static_cast<size_t>(rows) * row_bytes;
  }
};

}  // namespace

LibraryProducts::LibraryProducts(std::shared_ptr<MathLibrary> blas, std::shared_ptr<Device> device,
                                 DeviceQueue& queue, const Limits& limits)
    : device_(device), blas_(std::move(blas), std::move(device), queue), limits_(limits) {
  if (limits_.least_panel <= 0 || limits_.least_panel % kSumsTile != 0) {
    throw Error(Status::internal,
                cat("panels of ", limits_.least_panel, " rows, a multiple of ", kSumsTile, " wanted"));
  }
}

/// Where cuBLAS is not asked any more, nothing is kept for it.
bool LibraryProducts::is_ready() {
  if (blas_.is_ready()) return true;
  panel_ = {};
  sums_ = {};
  return false;
}

bool LibraryProducts::does(const BlasProduct& product) {
  if (blas_.multiply(product)) return true;
  static_cast<void>(is_ready());  // gives back what it has, if it was refused for good
  return false;
}

bool LibraryProducts::stop() noexcept {
  const bool had = panel_.bytes() > 0 || sums_.bytes() > 0;
  panel_ = {};
  sums_ = {};
  return blas_.stop() || had;
}

bool LibraryProducts::has_room(size_t panel_bytes, size_t sums_bytes) {
  const auto grow = [&](Block& block, size_t bytes) {
    if (bytes <= block.bytes()) return;
    block = {};
    block = Block(device_, bytes);
  };
  try {
    grow(panel_, panel_bytes);
    grow(sums_, sums_bytes);
    return true;
  } catch (const Error& error) {
    if (error.status() != Status::out_of_memory) throw;
    stop();
    log(LogLevel::info, cat("products of a stream are not by cuBLAS: ", error.what()));
    return false;
  }
}

bool LibraryProducts::multiply(const Queue& queue, Element element, const Weights& w, const void* x,
                               int64_t rows, void* y) {
  if (rows < limits_.least_rows || queue.list != nullptr || w.shape.rows == 0 || w.inputs() == 0)
    return false;
  const Cut cut(w, rows, limits_);
  if (cut.outputs == 0 || !is_ready() || !has_room(cut.panel_bytes, cut.sums_bytes)) return false;
  const int64_t inputs = w.inputs(), outputs = w.shape.rows;
  const auto* const from = static_cast<const std::byte*>(x);
  auto* const to = static_cast<std::byte*>(y);
  for (int64_t first = 0; first < outputs; first += cut.outputs) {
    const int64_t count = std::min(cut.outputs, outputs - first);
    unpack_panel(queue, element, w, first, count, panel_.data());
    for (int64_t row = 0; row < rows; row += cut.rows) {
      const int64_t some = std::min(cut.rows, rows - row);
      std::byte* const out = to + static_cast<size_t>(row * outputs + first) * kNumberBytes;
      BlasProduct product{
          .rows = some,
          .cols = count,
          .depth = inputs,
          .element = element,
          .left = {.data = from + static_cast<size_t>(row * inputs) * kNumberBytes, .pitch = inputs},
          .right = {.data = panel_.data(), .pitch = w.shape.packed_inputs, .turned = Turned::yes},
          .out = out,
          .pitch = outputs};
      if (w.bias != nullptr) {
        product.out = sums_.data();
        product.pitch = count;
        product.out_is = BlasProduct::Out::f32;
      }
      if (!does(product)) return false;
      if (w.bias != nullptr)
        add_bias(queue, element, sums_.as<const float>(), w.bias + first, some, count, out, outputs);
    }
  }
  return true;
}

void LibraryProducts::add_products(const Queue& queue, Element element, const void* a, int64_t a_cols,
                                   const void* b, int64_t b_cols, int64_t rows, float sign, Wanted wanted,
                                   float* c) {
  const auto at = [](const void* matrix, int64_t row, int64_t cols, int64_t col) {
    return static_cast<const std::byte*>(matrix) + static_cast<size_t>(row * cols + col) * kNumberBytes;
  };
  const auto own = [&](int64_t row, int64_t count, int64_t first) {
    cuda::add_products(queue, element, at(a, row, a_cols, 0), a_cols, at(b, row, b_cols, 0), b_cols, count,
                       sign, wanted, c, first);
  };
  if (rows < limits_.least_rows || queue.list != nullptr || a_cols == 0 || b_cols == 0 || !is_ready())
    return own(0, rows, 0);
  // of a triangle: eight panels have 9/16 of the whole
  const int64_t eighth = divide_up(divide_up(a_cols, 8), kSumsTile) * kSumsTile;
  const int64_t panel = wanted == Wanted::all ? a_cols : std::max(eighth, limits_.least_panel);
  for (int64_t row = 0; row < rows; row += kMostChain) {
    const int64_t some = std::min(kMostChain, rows - row);
    for (int64_t first = 0; first < a_cols; first += panel) {
      const int64_t from = wanted == Wanted::upper ? first : 0;
      if (does({.rows = std::min(panel, a_cols - first),
                .cols = b_cols - from,
                .depth = some,
                .element = element,
                .left = {.data = at(a, row, a_cols, first), .pitch = a_cols, .turned = Turned::yes},
                .right = {.data = at(b, row, b_cols, from), .pitch = b_cols},
                .factor = sign,
                .out = c + first * b_cols + from,
                .pitch = b_cols,
                .out_is = BlasProduct::Out::f32,
                .onto = Onto::what_is_there}))
        continue;
      own(row, some, first);
      if (row + some < rows) own(row + some, rows - row - some, 0);
      return;
    }
  }
}

}  // namespace gptq::cuda
