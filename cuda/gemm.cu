// y = x W^T + b for any number of rows (gemm.cuh says how).
#include "cuda/gemm.cuh"

namespace gptq::cuda {
namespace {

using namespace tiled;

template <class T, int bits, int tiles>
__global__ void __launch_bounds__(kThreads, 1) gemm(Problem p) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  Block<T, bits, tiles> block(p);
  const int end = first_of(p.stages, block_x() + 1, p.blocks);
  for (int at = first_of(p.stages, block_x(), p.blocks); at < end;) at = multiply_tile(block, at, end, 0);
}

template <class T, int bits, int tiles>
void launch_gemm(const Queue& queue, Problem& p) {
  using P = Plan<T, bits, tiles>;
  const int64_t output_tiles = divide_up(p.w.shape.strips(), kTileStrips);
  const int64_t tile_stages = divide_up(p.w.shape.slabs(), P::kSlabs);
  const int64_t stages = output_tiles * divide_up(p.rows, P::kRows) * tile_stages;
  if (stages > INT32_MAX)
    throw Error(Status::unsupported, cat("a product of ", p.rows, " rows is too large"));
  p.output_tiles = static_cast<int>(output_tiles);
  p.tile_stages = static_cast<int>(tile_stages);
  p.stages = static_cast<int>(stages);
  const Grid grid =
      grid_of_line(queue, gemm<T, bits, tiles>, shared_bytes_of_stages<T, bits, tiles>(), stages);
  p.blocks = static_cast<int>(grid.x);
  launch(queue, gemm<T, bits, tiles>, grid, p);
}

}  // namespace

size_t scratch_of_product(const Queue& queue) {
  return kFlagBytes + static_cast<size_t>(queue.processors) * kTileOutputs * kMostRows * sizeof(float);
}

void multiply(const Queue& queue, Element element, const Weights& w, const void* x, int64_t rows, void* y,
              void* scratch) {
  if (rows == 0 || w.shape.rows == 0) return;
  Problem p;
  p.w = w;
  p.x = x;
  p.y = y;
  p.rows = static_cast<int>(rows);
  p.inputs = static_cast<int>(w.inputs());
  p.flags = static_cast<uint32_t*>(scratch);
  p.partials = reinterpret_cast<float*>(static_cast<std::byte*>(scratch) + kFlagBytes);
  with_element(element, [&](auto kind) {
    using T = decltype(kind);
    with_bits(w.shape.bits, [&](auto width) {
      constexpr int bits = decltype(width)::value;
      if (rows <= 16) {
        launch_gemm<T, bits, 2>(queue, p);
      } else {
        launch_gemm<T, bits, 4>(queue, p);
      }
    });
  });
}

}  // namespace gptq::cuda
