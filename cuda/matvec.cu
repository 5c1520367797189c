// y = x W^T + b for up to 8 rows of x, which are the 8 columns of mma.m16n8k16: bound by the bytes of W, which go from
// memory to registers. Several W that read the same rows are one launch: the strips of a small one alone are too few for all
// processors.
//
//   block: a strip of 16 outputs, its slabs dealt out to 8 warps        warp: sums [16 outputs][8 rows] in fragments
//
//        slab 0   slab 1        slab 8
//      | warp 0 | warp 1 | ... | warp 0 | ...        then the warps' sums, in shared memory, are added in order
#include "cuda/elements.cuh"
#include "cuda/launch.cuh"
#include "cuda/weights.cuh"

namespace gptq::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;
constexpr int kRows = 8;  // of x at most

/// Slabs whose words a warp has in flight: 64 bytes or more for each lane.
template <int bits>
constexpr int kAhead = bits >= 16  ? 1
                       : bits >= 8 ? 2
                       : bits >= 3 ? 4
                                   : 8;

/// The lane's part of the right matrix for a step: inputs input .. input + 3 of row lane / 4.
template <class T>
GPTQ_DEVICE void load_inputs(const T* x, int64_t inputs, int rows, int64_t step_input, uint32_t (&b)[2]) {
  const int row = lane_of_thread() / 4;
  const int64_t input = step_input + lane_of_thread() % 4 * 4;
  const Words2 words = row < rows && input < inputs ? load8(x + row * inputs + input) : Words2{0, 0};
  b[0] = words.x;
  b[1] = words.y;
}

/// sums += scale * (x of the slab) (weights of the slab)
template <class T, int bits>
GPTQ_DEVICE void multiply_slab(const Weights& w, const Units& units, const uint32_t (&words)[bits],
                               int64_t strip, int64_t slab, const T* x, int64_t inputs, int rows,
                               float (&sums)[4]) {
  const int64_t first = strip * w.shape.pieces() * kStripRows + lane_of_thread() / 4;
  float group[4] = {}, scales[2] = {};
  uint32_t zeros[2] = {};
#pragma unroll
  for (int step = 0; step < kSlabSteps; ++step) {
    if (bits < 16 && units.begins(step)) {
      const int64_t piece = units.piece_of(slab, step);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        scales[i] = scale_at(w, first + piece * kStripRows + 8 * i);
        zeros[i] = prepare_zero<T, bits>(zero_at(w, first + piece * kStripRows + 8 * i));
      }
    }
    uint32_t a[4], b[2];
    load_inputs(x, inputs, rows, slab * kSlabInputs + step * kStepInputs, b);
    fragment_of<T, bits>(words, step, zeros, a);
    multiply_16816<T>(bits < 16 ? group : sums, a, b);
    if (bits < 16 && units.ends(step)) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        sums[i] += scales[i / 2] * group[i];
        group[i] = 0;
      }
    }
  }
}

/// Up to `most` products, and the block that has the first strip of each.
template <size_t most>
struct ProductList {
  Product of[most];
  int first_block[most] = {};
  int count = 0;

  bool operator==(const ProductList&) const = default;
};

template <class T, int bits, size_t most>
__global__ void __launch_bounds__(kThreads, 2)
    matvec(ProductList<most> list, const T* x, int64_t inputs, int rows) {
  int at = 0;
  if constexpr (most > 1) {
    while (at + 1 < list.count && list.first_block[at + 1] <= block_x()) ++at;
  }
  const Weights& w = list.of[at].w;
  const int64_t strip = block_x() - list.first_block[at], slabs = w.shape.slabs();
  const int lane = lane_of_thread();
  const uint32_t* const strip_words = w.words + w.shape.first_word(strip, 0);
  const Units units(w.shape);
  uint32_t words[kAhead<bits>][bits];
  const auto load = [&](int64_t first) {
#pragma unroll
    for (int i = 0; i < kAhead<bits>; ++i) {
      const int64_t slab = first + i * kWarps;
      if (slab < slabs)
        load_lane<bits, kSlabSteps, FromGlobal>(strip_words + slab * slab_words(bits), lane, 0, words[i]);
    }
  };
  load(warp_of_thread());  // nothing that an earlier kernel writes
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  float sums[4] = {};
  for (int64_t first = warp_of_thread(); first < slabs; first += kAhead<bits> * kWarps) {
#pragma unroll
    for (int i = 0; i < kAhead<bits>; ++i) {
      const int64_t slab = first + i * kWarps;
      if (slab < slabs) multiply_slab<T, bits>(w, units, words[i], strip, slab, x, inputs, rows, sums);
    }
    load(first + kAhead<bits> * kWarps);
  }
  auto* const of_warps = reinterpret_cast<float*>(shared_memory());  // [kWarps][kStripRows][kRows]
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int output = lane / 4 + i / 2 * 8, row = lane % 4 * 2 + i % 2;
    of_warps[(warp_of_thread() * kStripRows + output) * kRows + row] = sums[i];
  }
  sync_threads();
  const int output = thread_x() % kStripRows, row = thread_x() / kStripRows;
  const int64_t n = strip * kStripRows + output;
  if (row >= rows || n >= w.shape.rows) return;
  float sum = w.bias != nullptr ? w.bias[n] : 0.0f;
  for (int i = 0; i < kWarps; ++i) sum += of_warps[(i * kStripRows + output) * kRows + row];
  static_cast<T*>(list.of[at].y)[row * w.shape.rows + n] = from_float<T>(sum);
}

template <class T, int bits, size_t most>
void launch_matvec(const Queue& queue, std::span<const Product> products, const void* x, int64_t rows) {
  ProductList<most> list;
  int64_t blocks = 0;
  for (const Product& product : products) {
    const auto at = static_cast<size_t>(list.count++);
    list.of[at] = product;
    list.first_block[at] = static_cast<int>(blocks);
    blocks += product.w.shape.strips();
  }
  if (blocks > INT32_MAX)
    throw Error(Status::unsupported, cat("a product of ", blocks, " strips is too large"));
  launch(queue, matvec<T, bits, most>,
         {.x = rows > 0 ? blocks : 0,
          .threads = kThreads,
          .shared_bytes = sizeof(float) * kWarps * kStripRows * kRows},
         list, static_cast<const T*>(x), products.front().w.inputs(), static_cast<int>(rows));
}

}  // namespace

void multiply_few(const Queue& queue, Element element, std::span<const Product> products, const void* x,
                  int64_t rows) {
  if (products.empty()) return;
  const Weights& first = products.front().w;
  if (rows > kRows || products.size() > kMostProducts)
    throw Error(Status::internal, cat("multiply_few: ", rows, " rows, ", products.size(), " products"));
  for (const Product& product : products) {
    const Weights& w = product.w;
    if (w.shape.bits != first.shape.bits || w.inputs() != first.inputs()) {
      throw Error(Status::internal,
                  cat("a product of ", w.shape.bits, " bits, ", w.inputs(), " inputs, wanted ",
                      first.shape.bits, " and ", first.inputs(), " as the first has"));
    }
  }
  with_element(element, [&](auto kind) {
    using T = decltype(kind);
    with_bits(first.shape.bits, [&](auto width) {
      constexpr int bits = decltype(width)::value;
      if (products.size() == 1) {
        launch_matvec<T, bits, 1>(queue, products, x, rows);
      } else {
        launch_matvec<T, bits, kMostProducts>(queue, products, x, rows);
      }
    });
  });
}

}  // namespace gptq::cuda
