// Rows in parts, each with weights of its own, as those of the experts of a layer, and rows that several weights read: one
// line of stages goes through all of them, so that one launch keeps every processor busy however rows and outputs are spread
// (gemm.cuh says what a stage is).
//
// How many rows an expert has is known where the router's choice is, in the device's memory. So there a kernel lays out the
// line, and the host only knows how long it is at most:
//
//   begin:  0     3 3     5        parts, gate and up of each:  g0 u0 g1 u1 g2 u2     first stages:  0 s 2s 2s 2s 3s | 4s
//           expert 0  1   2                                     (expert 1 has none)                  of s each       | all
#include <algorithm>

#include "cuda/gemm.cuh"
#include "cuda/parts.cuh"

namespace gptq::cuda {
namespace {

using namespace tiled;

constexpr int kPlanThreads = 256;

/// Stages of a tile of rows; of all tiles of a part.
GPTQ_BOTH constexpr int stages_of_tile(const LinearPart& part) {
  return part.output_tiles * part.tile_stages;
}
GPTQ_BOTH constexpr int stages_of(const LinearPart& part, int rows, int tile_rows) {
  return (rows + tile_rows - 1) / tile_rows * stages_of_tile(part);
}

/// One block: each thread has some parts, one behind the other, and what all threads before it have comes before them.
__global__ void __launch_bounds__(kPlanThreads)
    plan_rows(const LinearPart* parts, int count, const int32_t* begin, int tile_rows, PartRows* out) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  auto* const sums = reinterpret_cast<uint32_t*>(shared_memory());  // of warps
  const int each = (count + kPlanThreads - 1) / kPlanThreads, first = thread_x() * each;
  const int end = first + each < count ? first + each : count;
  uint32_t own = 0;
  for (int i = first; i < end; ++i) {
    const int expert = parts[i].expert;
    own += static_cast<uint32_t>(stages_of(parts[i], begin[expert + 1] - begin[expert], tile_rows));
  }
  uint32_t up_to = own;  // the thread's and those of lower lanes
  for (int by = 1; by < kWarp; by *= 2) {
    const uint32_t lower = shuffle_up(up_to, by);
    if (lane_of_thread() >= by) up_to += lower;
  }
  if (lane_of_thread() == kWarp - 1) sums[warp_of_thread()] = up_to;
  sync_threads();
  for (int warp = 0; warp < warp_of_thread(); ++warp) up_to += sums[warp];
  auto stage = static_cast<int32_t>(up_to - own);
  for (int i = first; i < end; ++i) {
    const int expert = parts[i].expert, first_row = begin[expert], rows = begin[expert + 1] - first_row;
    out[i] = {first_row, rows, stage};
    stage += stages_of(parts[i], rows, tile_rows);
  }
  if (thread_x() == kPlanThreads - 1) out[count] = {0, 0, stage};
}

/// Of the grid as many blocks have something to do as there are stages. The problem that one is at lies behind the stages in
/// shared memory.
template <class T, int bits, int tiles>
__global__ void __launch_bounds__(kThreads, 1)
    gemm_parts(const LinearPart* parts, const PartRows* part_rows, int count, const T* x, float* partials,
               uint32_t* flags) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  Problem& problem = *reinterpret_cast<Problem*>(shared_memory() + shared_bytes_of_stages<T, bits, tiles>());
  const int stages = part_rows[count].first_stage, blocks = stages < grid_x() ? stages : grid_x();
  if (block_x() >= blocks) return;
  const int end = first_of(stages, block_x() + 1, blocks);
  for (int at = first_of(stages, block_x(), blocks); at < end;) {
    const int number = last_part_at<&PartRows::first_stage>(part_rows, count, at);
    const int first = part_rows[number].first_stage, last = part_rows[number + 1].first_stage;
    sync_threads();
    if (thread_x() == 0) {
      const LinearPart& part = parts[number];
      const int64_t first_row = part_rows[number].first_row;
      problem.w = part.w;
      problem.x = x + first_row * part.w.inputs();
      problem.y = static_cast<T*>(part.y) + first_row * part.w.shape.rows;
      problem.rows = part_rows[number].rows;
      problem.inputs = static_cast<int>(part.w.inputs());
      problem.output_tiles = part.output_tiles;
      problem.tile_stages = part.tile_stages;
      problem.stages = stages;
      problem.blocks = blocks;
      problem.partials = partials;
      problem.flags = flags;
    }
    sync_threads();
    Block<T, bits, tiles> block(problem);
    while (at < end && at < last) at = multiply_tile(block, at, end, first);
  }
}

/// How many tiles of rows there are at most, and of how many rows each: where experts have few, more would be empty. Where a
/// router gave no numbers there may be more, for which the grid is none too small: blocks share what there is.
struct Tiles {
  int rows;
  int64_t count;
};
Tiles tiles_of(const LinearParts& line, RowsOfParts rows) {
  const bool few = rows.most <= kFewPartRows || rows.all <= kFewPartRows * line.experts;
  const int tile_rows = few ? kFewPartRows : kMostRows;
  // the last tile of an expert may have one row; and no expert has more than all rows of the batch
  const int64_t with_rows = rows.all < line.experts ? rows.all : line.experts;
  const int64_t by_all = (rows.all + (tile_rows - 1) * with_rows) / tile_rows,
                by_each = line.experts * divide_up(rows.most, tile_rows);
  return {tile_rows, by_all < by_each ? by_all : by_each};
}

int64_t most_stages(const LinearParts& line, RowsOfParts rows) {
  const int64_t tiles = tiles_of(line, rows).count;
  if (rows.all > INT32_MAX || (line.expert_stages > 0 && tiles > INT32_MAX / line.expert_stages))
    throw Error(Status::unsupported, cat("a product of ", rows.all, " rows is too large"));
  return tiles * line.expert_stages;
}

template <class T, int bits, int tiles>
void launch_parts(const Queue& queue, const LinearParts& line, int64_t stages, const LinearPart* parts,
                  const PartRows* part_rows, const void* x, void* scratch) {
  constexpr size_t shared = shared_bytes_of_stages<T, bits, tiles>() + (sizeof(Problem) + 15) / 16 * 16;
  static_assert(shared <= kMostSharedBytes);
  const auto kernel = gemm_parts<T, bits, tiles>;
  launch(queue, kernel, grid_of_line(queue, kernel, shared, stages), parts, part_rows,
         static_cast<int>(line.parts.size()), static_cast<const T*>(x),
         reinterpret_cast<float*>(static_cast<std::byte*>(scratch) + kFlagBytes),
         static_cast<uint32_t*>(scratch));
}

}  // namespace

LinearParts join_parts(std::span<const LinearPart> parts) {
  LinearParts line;
  int64_t of_expert = 0;
  for (const LinearPart& given : parts) {
    const Weights& w = given.w;
    if (w.shape.rows == 0) continue;
    const bool is_first = line.parts.empty();
    if (is_first) {
      line.bits = w.shape.bits;
      line.inputs = w.inputs();
    }
    if (w.shape.bits != line.bits || w.inputs() != line.inputs) {
      throw Error(Status::internal, cat("a part of ", w.shape.bits, " bits, ", w.inputs(), " inputs, wanted ",
                                        line.bits, " and ", line.inputs, " as the first has"));
    }
    if (is_first || line.parts.back().expert != given.expert) {
      ++line.experts;
      of_expert = 0;
    }
    LinearPart& part = line.parts.emplace_back(given);
    part.output_tiles = static_cast<int>(divide_up(w.shape.strips(), kTileStrips));
    part.tile_stages = static_cast<int>(divide_up(w.shape.slabs(), w.shape.bits <= 4 ? 2 : 1));
    of_expert += int64_t{part.output_tiles} * part.tile_stages;
    line.expert_stages = of_expert > line.expert_stages ? of_expert : line.expert_stages;
  }
  return line;
}

void plan_parts(const Queue& queue, const LinearParts& line, const LinearPart* parts, RowsOfParts rows,
                const int32_t* begin, PartRows* out) {
  if (most_stages(line, rows) == 0) return;
  launch(queue, plan_rows, {.threads = kPlanThreads, .shared_bytes = kPlanThreads / kWarp * sizeof(uint32_t)},
         parts, static_cast<int>(line.parts.size()), begin, tiles_of(line, rows).rows, out);
}

std::vector<PartRows> plan_parts_of_all(const LinearParts& line, int64_t rows) {
  std::vector<PartRows> out;
  if (most_stages(line, {rows, rows}) == 0) return out;
  const int tile_rows = tiles_of(line, {rows, rows}).rows, count = static_cast<int>(rows);
  int32_t stage = 0;
  for (const LinearPart& part : line.parts) {
    out.push_back({0, count, stage});
    stage += stages_of(part, count, tile_rows);
  }
  out.push_back({0, 0, stage});
  return out;
}

void multiply_parts(const Queue& queue, Element element, const LinearParts& line, RowsOfParts rows,
                    const LinearPart* parts, const PartRows* part_rows, const void* x, void* scratch) {
  const int64_t stages = most_stages(line, rows);
  if (stages == 0) return;
  with_element(element, [&](auto kind) {
    using T = decltype(kind);
    with_bits(line.bits, [&](auto width) {
      constexpr int bits = decltype(width)::value;
      if (tiles_of(line, rows).rows == kFewPartRows) {
        launch_parts<T, bits, kFewPartRows / 8>(queue, line, stages, parts, part_rows, x, scratch);
      } else {
        launch_parts<T, bits, kMostRows / 8>(queue, line, stages, parts, part_rows, x, scratch);
      }
    });
  });
}

}  // namespace gptq::cuda
