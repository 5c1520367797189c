// What products of tiles are made of: 128 outputs by 16 or 32 rows, whose inputs come in stages through shared memory
// (cp.async), weights as they are packed. After Marlin (arXiv 2408.11743), with the weights as the left matrix of
// mma.m16n8k16: so that 8 rows are one column of tiles, and weights never leave a lane's registers.
//
//   stage: 8 strips x 64 or 128 inputs     warp: 2 strips, half of the stage's inputs       x in shared memory: [slab][row]
//      strip 0,1   warp 0 | warp 4         sums: [2 strips][rows / 8] fragments in fp32     of 8 chunks of 16 bytes, chunk c
//      strip 2,3   warp 1 | warp 5         weights: registers -> code - zero -> mma         of row r at c ^ 2 (r mod 4)
//      strip 4,5   warp 2 | warp 6
//      strip 6,7   warp 3 | warp 7
//
// All stages of all tiles stand in one line, which is cut into equal parts, one for each block (stream-K). A block that
// begins a tile finishes it, with what later blocks, which did theirs first, leave in memory: in order, so that a
// product has the same bits each time.
#pragma once

#include "cuda/elements.cuh"
#include "cuda/launch.cuh"
#include "cuda/weights.cuh"

namespace gptq::cuda::tiled {

constexpr int kThreads = 256;
constexpr int kColumns = 4;  // of warps, each of which has two strips; one warp for each half of the inputs
constexpr int kTileStrips = 8, kTileOutputs = kTileStrips * kStripRows;
/// Of a tile: with more of them, sums and fragments don't fit into the registers.
constexpr int kMostRows = 32;
constexpr int kFewPartRows = 16;
constexpr size_t kSharedBytes = size_t{96} << 10;
static_assert(kSharedBytes <= kMostSharedBytes);

/// What a product of a type, width and number of columns of tiles (each of 8 rows) is made of.
template <class T, int bits, int tiles>
struct Plan {
  static constexpr int kRows = tiles * 8;
  static constexpr int kSlabs = bits <= 4 ? 2 : 1;                       // of a stage
  static constexpr int kInputs = kSlabs * kSlabInputs;                   // of a stage
  static constexpr int kWarpSteps = kSlabs * kSlabSteps / 2;             // of a warp and stage
  static constexpr int kWords = bits * kWarpSteps / 4;                   // of a lane, strip and stage
  static constexpr int kUnits = bits == 16 ? 0 : kInputs / kStepInputs;  // of parameters at most
  // bytes of a stage
  static constexpr int kWeightBytes = kTileStrips * kSlabs * slab_words(bits) * 4;
  static constexpr int kRowBytes = kRows * kInputs * 2;
  static constexpr int kScaleBytes = kTileStrips * kUnits * kStripRows * 4;
  static constexpr int kZeroBytes = kTileStrips * kUnits * kStripRows * 2;
  static constexpr int kStageBytes = kWeightBytes + kRowBytes + kScaleBytes + kZeroBytes;
  static constexpr int kStages = kSharedBytes / kStageBytes > 4
                                     ? 4
                                     : static_cast<int>(kSharedBytes / kStageBytes);
  static constexpr int kPitch = kTileOutputs + 4;  // of the finished tile [kRows][kPitch] in fp32
  static_assert(kStages >= 2 && kRows * kPitch * 4 <= static_cast<int>(kSharedBytes));
};

/// A product, and its line of stages.
struct Problem {
  Weights w;
  const void* x = nullptr;
  void* y = nullptr;
  int rows = 0, inputs = 0;
  int output_tiles = 0, tile_stages = 0;  // of a tile
  int stages = 0, blocks = 0;             // of the line; that have some of it
  float* partials = nullptr;              // [blocks][sums of a tile]
  uint32_t* flags = nullptr;              // [blocks] 1: its partial sums are there

  bool operator==(const Problem&) const = default;
};

/// A tile, and the stages of it that a block has.
struct Part {
  int first_strip, first_row;
  int begin, end;
};

template <class T, int bits, int tiles>
struct Block {
  using P = Plan<T, bits, tiles>;

  const Problem& p;
  unsigned char* const shared = shared_memory();
  const int lane = lane_of_thread(), column = warp_of_thread() % kColumns, half = warp_of_thread() / kColumns;
  const Units units;
  float sums[2][tiles][4];

  GPTQ_DEVICE explicit Block(const Problem& problem) : p(problem), units(problem.w.shape) {}

  // ---- a stage in shared memory
  GPTQ_DEVICE uint32_t* weights_at(int stage) const {
    return reinterpret_cast<uint32_t*>(shared + stage * P::kStageBytes);
  }
  GPTQ_DEVICE unsigned char* rows_at(int stage) const {
    return shared + stage * P::kStageBytes + P::kWeightBytes;
  }
  GPTQ_DEVICE unsigned char* scales_at(int stage) const { return rows_at(stage) + P::kRowBytes; }
  GPTQ_DEVICE unsigned char* zeros_at(int stage) const { return scales_at(stage) + P::kScaleBytes; }
  /// Where 16 bytes of x are: chunk c of a row's 8 in a slab.
  GPTQ_DEVICE static int chunk_at(int slab, int row, int c) {
    return ((slab * P::kRows + row) * 8 + (c ^ row % 4 * 2)) * 16;
  }
  GPTQ_DEVICE void copy_weights(const Part& part, int at, int stage) const {
    constexpr int chunks = slab_words(bits) / 4;  // of a slab
#pragma unroll 1  // addresses are cheaper than the registers that would keep them
    for (int i = thread_x(); i < kTileStrips * P::kSlabs * chunks; i += kThreads) {
      const int chunk = i % chunks, slab = i / chunks % P::kSlabs, strip = i / chunks / P::kSlabs;
      const int from_slab = at * P::kSlabs + slab, from_strip = part.first_strip + strip;
      uint32_t* const to = weights_at(stage) + (strip * P::kSlabs + slab) * slab_words(bits) + chunk * 4;
      if (from_slab < p.w.shape.slabs() && from_strip < p.w.shape.strips()) {
        copy_async16_once(to, p.w.words + p.w.shape.first_word(from_strip, from_slab) + chunk * 4);
      } else {
        copy_async16(to, p.w.words, 0);
      }
    }
  }

  GPTQ_DEVICE void copy_rows(const Part& part, int at, int stage) const {
#pragma unroll 1  // addresses are cheaper than the registers that would keep them
    for (int i = thread_x(); i < P::kRows * P::kSlabs * 8; i += kThreads) {
      const int chunk = i % 8, slab = i / 8 % P::kSlabs, row = i / 8 / P::kSlabs;
      const int64_t input = at * P::kInputs + slab * kSlabInputs + chunk * kVector,
                    from_row = part.first_row + row;
      const bool there = from_row < p.rows && input < p.inputs;
      copy_async16(rows_at(stage) + chunk_at(slab, row, chunk),
                   static_cast<const T*>(p.x) + (there ? int64_t{from_row} * p.inputs + input : 0),
                   there ? 16 : 0);
    }
  }

  /// Scales and zero points [unit of the stage][strip][16].
  GPTQ_DEVICE void copy_parameters(const Part& part, int at, int stage) const {
    const int count = P::kInputs / kStepInputs >> units.shift,
              wide = p.w.scales_f16 != nullptr ? 2 : 4;  // bytes of a scale
    const auto copy = [&](unsigned char* to, const void* from, int bytes) {
      const int chunks = kStripRows * bytes / 16;
#pragma unroll 1
      for (int i = thread_x(); i < count * kTileStrips * chunks; i += kThreads) {
        const int chunk = i % chunks, strip = i / chunks % kTileStrips, u = i / chunks / kTileStrips;
        const int step = at * (P::kInputs / kStepInputs) + (u << units.shift),
                  from_strip = part.first_strip + strip;
        const bool there = step * kStepInputs < p.w.shape.packed_inputs && from_strip < p.w.shape.strips();
        const int64_t parameter =
            there ? (from_strip * p.w.shape.pieces() + units.piece_of(step / kSlabSteps, step % kSlabSteps)) *
                        kStripRows
                  : 0;
        copy_async16(to + ((u * kTileStrips + strip) * chunks + chunk) * 16,
                     static_cast<const unsigned char*>(from) + parameter * bytes + (there ? chunk * 16 : 0),
                     there ? 16 : 0);
      }
    };
    copy(scales_at(stage), wide == 2 ? static_cast<const void*>(p.w.scales_f16) : p.w.scales_f32, wide);
    if (p.w.zeros != nullptr) copy(zeros_at(stage), p.w.zeros, 2);
  }

  /// Always makes a group of copies, so that waits count the same.
  GPTQ_DEVICE void copy_stage(const Part& part, int at) const {
    if (at < part.end) {
      const auto stage = (at - part.begin) % P::kStages;
      copy_weights(part, at, stage);
      copy_rows(part, at, stage);
      if constexpr (bits < 16) copy_parameters(part, at, stage);
    }
    copies_commit();
  }

  // ---- products
  /// Scale and prepared zero points of the lane's two rows of a strip.
  GPTQ_DEVICE void load_parameters(int stage, int u, int strip, float (&scales)[2],
                                   uint32_t (&zeros)[2]) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int at = (u * kTileStrips + column * 2 + strip) * kStripRows + lane / 4 + 8 * i;
      scales[i] = p.w.scales_f16 != nullptr ? to_float(reinterpret_cast<const Half*>(scales_at(stage))[at])
                                            : reinterpret_cast<const float*>(scales_at(stage))[at];
      const uint32_t zero = p.w.zeros != nullptr ? reinterpret_cast<const uint16_t*>(zeros_at(stage))[at]
                                                 : 1u << (bits - 1) % 16;
      zeros[i] = prepare_zero<T, bits>(zero);
    }
  }

  /// sums += scale * (x of the stage) (weights of the stage), where `unit` of the warp's steps have the same scale.
  template <int unit>
  GPTQ_DEVICE void multiply_stage(int stage) {
    constexpr int steps = P::kWarpSteps;
    const int slab = P::kSlabs == 2 ? half : 0, first = P::kSlabs == 2 ? 0 : half * steps;
    uint32_t a[2][steps][4];
    float scales[2][steps][2];  // of each unit
#pragma unroll
    for (int s = 0; s < 2; ++s) {
      uint32_t words[P::kWords], zeros[2] = {};
      load_lane<bits, steps, FromShared>(
          weights_at(stage) + ((column * 2 + s) * P::kSlabs + slab) * slab_words(bits), lane, first, words);
#pragma unroll
      for (int i = 0; i < steps; ++i) {
        if (bits < 16 && i % unit == 0)
          load_parameters(stage, units.of_step(slab * kSlabSteps + first + i), s, scales[s][i / unit], zeros);
        fragment_of<T, bits>(words, i, zeros, a[s][i]);
      }
    }
    // the lane's inputs of row lane / 4 and of each step; 8 rows on are a constant away
    const unsigned char* from[steps];
#pragma unroll
    for (int i = 0; i < steps; ++i)
      from[i] = rows_at(stage) + chunk_at(slab, lane / 4, (first + i) * 2 + lane % 4 / 2) + lane % 2 * 8;
#pragma unroll
    for (int t = 0; t < tiles; ++t) {
      float group[2][4] = {};
#pragma unroll
      for (int i = 0; i < steps; ++i) {
        const Words2 both = load_shared8(from[i] + t * 8 * 8 * 16);
        const uint32_t b[2] = {both.x, both.y};
#pragma unroll
        for (int s = 0; s < 2; ++s) {
          multiply_16816<T>(bits < 16 ? group[s] : sums[s][t], a[s][i], b);
          if constexpr (bits < 16) {
            if ((i + 1) % unit == 0) add_scaled(scales[s][i / unit], group[s], sums[s][t]);
          }
        }
      }
    }
  }

  /// sums += scales * group, which is 0 then
  GPTQ_DEVICE static void add_scaled(const float (&scales)[2], float (&group)[4], float (&sums)[4]) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      sums[j] += scales[j / 2] * group[j];
      group[j] = 0;
    }
  }

  GPTQ_DEVICE void multiply_stage_of_any_unit(int stage) {
    constexpr int most = P::kWarpSteps;
    if (bits == 16 || 1 << units.shift >= most) return multiply_stage<most>(stage);
    if (units.shift == 1) return multiply_stage<2>(stage);
    multiply_stage<1>(stage);
  }

  GPTQ_DEVICE void multiply_part(const Part& part) {
#pragma unroll
    for (int s = 0; s < 2; ++s) {
#pragma unroll
      for (int t = 0; t < tiles; ++t) {
#pragma unroll
        for (int j = 0; j < 4; ++j) sums[s][t][j] = 0;
      }
    }
    for (int i = 0; i < P::kStages - 1; ++i) copy_stage(part, part.begin + i);
    for (int at = part.begin; at < part.end; ++at) {
      copies_wait<P::kStages - 2>();
      sync_threads();  // the stage is there, and the one before it is free
      copy_stage(part, at + P::kStages - 1);
      multiply_stage_of_any_unit((at - part.begin) % P::kStages);
    }
    copies_wait<0>();
    sync_threads();
  }

  // ---- sums
  /// Calls f(sum, its number) for each of the lane's; numbers of a warp's 32 lanes are one after the other.
  template <class F>
  GPTQ_DEVICE void for_sums(F f) {
#pragma unroll
    for (int s = 0; s < 2; ++s) {
      sync_warp();  // the compiler is not to have all of them in registers twice
#pragma unroll
      for (int t = 0; t < tiles; ++t) {
#pragma unroll
        for (int j = 0; j < 4; ++j)
          f(sums[s][t][j], ((s * tiles + t) * 4 + j) * kColumns * kWarp + column * kWarp + lane);
      }
    }
  }
  static constexpr int kSums = kTileOutputs * P::kRows;

  /// The second half of the inputs to the first, whose warps have all of it then.
  GPTQ_DEVICE void join_halves() {
    auto* const other = reinterpret_cast<float*>(shared);
    if (half == 1) for_sums([&](float& sum, int i) { other[i] = sum; });
    sync_threads();
    if (half == 0) for_sums([&](float& sum, int i) { sum += other[i]; });
    sync_threads();
  }

  GPTQ_DEVICE void leave_partial() {
    float* const to = p.partials + int64_t{block_x()} * kSums;
    if (half == 0) for_sums([&](float& sum, int i) { to[i] = sum; });
    sync_threads();
    if (thread_x() == 0) add_release(p.flags + block_x(), 1);
  }

  GPTQ_DEVICE void take_partial(int block) {
    if (thread_x() == 0) {
      while (load_acquire(p.flags + block) == 0) pause();
    }
    sync_threads();
    const float* const from = p.partials + int64_t{block} * kSums;
    if (half == 0) for_sums([&](float& sum, int i) { sum += from[i]; });
    sync_threads();
    if (thread_x() == 0) store_release(p.flags + block, 0);
  }

  GPTQ_DEVICE void write_tile(const Part& part) {
    auto* const tile = reinterpret_cast<float*>(shared);  // [kRows][kPitch]
    if (half == 0) {
#pragma unroll
      for (int s = 0; s < 2; ++s) {
#pragma unroll
        for (int t = 0; t < tiles; ++t) {
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            const int output = (column * 2 + s) * kStripRows + lane / 4 + j / 2 * 8,
                      row = t * 8 + lane % 4 * 2 + j % 2;
            tile[row * P::kPitch + output] = sums[s][t][j];
          }
        }
      }
    }
    sync_threads();
    const int64_t outputs = p.w.shape.rows, first = part.first_strip * kStripRows;
    for (int i = thread_x(); i < P::kRows * kTileOutputs; i += kThreads) {
      const int row = i / kTileOutputs, output = i % kTileOutputs;
      if (part.first_row + row >= p.rows || first + output >= outputs) continue;
      const float bias = p.w.bias != nullptr ? p.w.bias[first + output] : 0.0f;
      static_cast<T*>(p.y)[(part.first_row + row) * outputs + first + output] =
          from_float<T>(tile[row * P::kPitch + output] + bias);
    }
    sync_threads();
  }
};

/// The first stage of a block in a line of them.
GPTQ_DEVICE int first_of(int stages, int block, int blocks) {
  return static_cast<int>(int64_t{stages} * block / blocks);
}

/// The block's part of the line that begins at stage `at`, of the problem whose stages begin at `first`, up to `end` at
/// most; gives the stage behind it.
template <class T, int bits, int tiles>
GPTQ_DEVICE int multiply_tile(Block<T, bits, tiles>& block, int at, int end, int first) {
  const Problem& p = block.p;
  const int tile = (at - first) / p.tile_stages, begin = first + tile * p.tile_stages,
            tile_end = begin + p.tile_stages;
  const int next = tile_end < end ? tile_end : end;
  const Part part{tile % p.output_tiles * kTileStrips, tile / p.output_tiles * tiles * 8, at - begin,
                  next - begin};
  block.multiply_part(part);
  block.join_halves();
  if (part.begin > 0) {
    block.leave_partial();
    return next;
  }
  for (int other = block_x() + 1; other < p.blocks && first_of(p.stages, other, p.blocks) < tile_end; ++other)
    block.take_partial(other);
  block.write_tile(part);
  return next;
}

/// Blocks have their places in memory for partial sums; there are no more of them than flags.
constexpr int64_t kMostBlocks = kFlagBytes / sizeof(uint32_t);

/// Bytes of shared memory for stages, and for the finished tile.
template <class T, int bits, int tiles>
GPTQ_BOTH constexpr size_t shared_bytes_of_stages() {
  using P = Plan<T, bits, tiles>;
  constexpr size_t stages = size_t{P::kStages} * P::kStageBytes, tile = size_t{P::kRows} * P::kPitch * 4;
  return stages > tile ? stages : tile;
}

/// Of a kernel over a line of so many stages, or of fewer: then some of the blocks have nothing to do.
template <class... Parameters>
Grid grid_of_line(const Queue& queue, void (*kernel)(Parameters...), size_t shared_bytes, int64_t stages) {
  int64_t blocks = resident_blocks(queue, kernel, kThreads, shared_bytes);
  for (int64_t most : {kMostBlocks, int64_t{queue.processors}, stages})
    blocks = blocks < most ? blocks : most;
  return {.x = blocks, .threads = kThreads, .shared_bytes = shared_bytes, .residency = Residency::all};
}

}  // namespace gptq::cuda::tiled
