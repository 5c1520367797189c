// Rows in parts, each with weights of its own, as those of the experts of a layer, and rows that several weights read: one
// line of stages goes through all of them, so that one launch keeps every processor busy however rows and outputs are spread
// (gemm.cuh says what a stage is).
#include <algorithm>

#include "cuda/gemm.cuh"

namespace gptq::cuda {
namespace {

using namespace tiled;

/// The part that has a stage: the last one that begins at it or before.
GPTQ_DEVICE int part_of(const LinearPart* parts, int count, int stage) {
  int low = 0, high = count;  // [low, high) has it
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (parts[middle].first_stage <= stage) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return low;
}

/// The problem that a block is at lies behind the stages in shared memory.
template <class T, int bits, int tiles>
__global__ void __launch_bounds__(kThreads, 1)
    gemm_parts(const LinearPart* parts, int count, int stages, const T* x, float* partials, uint32_t* flags) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  Problem& problem = *reinterpret_cast<Problem*>(shared_memory() + shared_bytes_of_stages<T, bits, tiles>());
  const int end = first_of(stages, block_x() + 1);
  for (int at = first_of(stages, block_x()); at < end;) {
    const LinearPart& part = parts[part_of(parts, count, at)];
    const int last = part.first_stage + part.stages, first = part.first_stage;
    sync_threads();
    if (thread_x() == 0) {
      problem.w = part.w;
      problem.x = x + part.first_row * part.w.inputs();
      problem.y = part.y;
      problem.rows = static_cast<int>(part.rows);
      problem.inputs = static_cast<int>(part.w.inputs());
      problem.output_tiles = part.output_tiles;
      problem.tile_stages = part.tile_stages;
      problem.stages = part.stages;
      problem.partials = partials;
      problem.flags = flags;
    }
    sync_threads();
    Block<T, bits, tiles> block(problem);
    while (at < end && at < last) at = multiply_tile(block, at, end, first, stages);
  }
}

template <class T, int bits, int tiles>
void launch_parts(const Queue& queue, const LinearPartsPlan& plan, const LinearPart* parts, const void* x,
                  void* scratch) {
  constexpr size_t shared = shared_bytes_of_stages<T, bits, tiles>() + (sizeof(Problem) + 15) / 16 * 16;
  static_assert(shared <= kMostSharedBytes);
  const auto kernel = gemm_parts<T, bits, tiles>;
  launch(queue, kernel, grid_of_line(queue, kernel, shared, plan.stages), parts,
         static_cast<int>(plan.parts.size()), static_cast<int>(plan.stages), static_cast<const T*>(x),
         reinterpret_cast<float*>(static_cast<std::byte*>(scratch) + kFlagBytes),
         static_cast<uint32_t*>(scratch));
}

}  // namespace

LinearPartsPlan plan_linear_parts(std::span<const LinearPart> parts) {
  LinearPartsPlan plan;
  int64_t rows = 0;
  for (const LinearPart& given : parts) {
    if (given.rows == 0 || given.w.shape.rows == 0) continue;
    const Weights& w = given.w;
    const Weights& other = plan.parts.empty() ? w : plan.parts.front().w;
    if (w.shape.bits != other.shape.bits || w.inputs() != other.inputs()) {
      throw Error(Status::internal, cat("a part of ", w.shape.bits, " bits, ", w.inputs(), " inputs, wanted ",
                                        other.shape.bits, " and ", other.inputs(), " as the first has"));
    }
    plan.parts.push_back(given);
    rows += given.rows;
  }
  if (plan.parts.empty()) return plan;
  const Packing& shape = plan.parts.front().w.shape;
  const auto count = static_cast<int64_t>(plan.parts.size());
  plan.bits = shape.bits;
  plan.tile_rows = rows <= kFewPartRows * count ? kFewPartRows : kMostRows;
  const int64_t tile_stages = divide_up(shape.slabs(), shape.bits <= 4 ? 2 : 1);
  for (LinearPart& part : plan.parts) {
    const int64_t output_tiles = divide_up(part.w.shape.strips(), kTileStrips);
    const int64_t stages = output_tiles * divide_up(part.rows, plan.tile_rows) * tile_stages;
    if (plan.stages + stages > INT32_MAX)
      throw Error(Status::unsupported, cat("a product of ", rows, " rows is too large"));
    part.output_tiles = static_cast<int>(output_tiles);
    part.tile_stages = static_cast<int>(tile_stages);
    part.first_stage = static_cast<int>(plan.stages);
    part.stages = static_cast<int>(stages);
    plan.stages += stages;
  }
  return plan;
}

void multiply_parts(const Queue& queue, Element element, const LinearPartsPlan& plan, const LinearPart* parts,
                    const void* x, void* scratch) {
  if (plan.stages == 0) return;
  with_element(element, [&](auto kind) {
    using T = decltype(kind);
    with_bits(plan.bits, [&](auto width) {
      constexpr int bits = decltype(width)::value;
      if (plan.tile_rows == kFewPartRows) {
        launch_parts<T, bits, kFewPartRows / 8>(queue, plan, parts, x, scratch);
      } else {
        launch_parts<T, bits, kMostRows / 8>(queue, plan, parts, x, scratch);
      }
    });
  });
}

}  // namespace gptq::cuda
