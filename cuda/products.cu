// C += sign A^T B over many rows, for Hessians and drifts: 128 x 128 tiles of C to a block, whose operands come 32 rows at
// a time through shared memory.
//
//   A [rows][128 columns] as it lies is the left matrix transposed, B the right one: ldmatrix.trans gives both.
//   Chunk c (16 bytes, of 16) of a row r is at c ^ (r mod 8).       8 warps: 2 x 4, each 64 x 32 of C in fp32
#include "cuda/elements.cuh"
#include "cuda/launch.cuh"

namespace gptq::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kTile = kSumsTile, kTileRows = 32, kStages = 3;
constexpr int kChunks = kTile / kVector;           // of a row of a tile
constexpr int kTileBytes = kTileRows * kTile * 2;  // of one operand
constexpr int kWarpRows = 64, kWarpColumns = 32;   // of C

constexpr size_t kSharedBytes = size_t{kStages} * 2 * kTileBytes;
static_assert(kSharedBytes <= kMostSharedBytes);

GPTQ_DEVICE int chunk_at(int row, int c) { return (row * kChunks + (c ^ (row & 7))) * 16; }

/// Columns [first, first + kTile) of 32 rows; zeros where there are none.
template <class T>
GPTQ_DEVICE void copy_tile(const T* from, int64_t cols, int64_t first, int64_t row, int64_t end,
                           unsigned char* to) {
  for (int i = thread_x(); i < kTileRows * kChunks; i += kThreads) {
    const int r = i / kChunks, c = i % kChunks;
    const int64_t column = first + c * kVector;
    unsigned char* const at = to + chunk_at(r, c);
    if (cols % kVector == 0) {
      const bool there = row + r < end && column < cols;
      copy_async16(at, from + (there ? (row + r) * cols + column : 0), there ? 16 : 0);
      continue;
    }
    for (int j = 0; j < kVector; ++j) {
      const bool there = row + r < end && column + j < cols;
      reinterpret_cast<T*>(at)[j] = there ? from[(row + r) * cols + column + j] : from_float<T>(0.0f);
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads, 1)
    add_tiles(const T* a, int64_t a_cols, const T* b, int64_t b_cols, int64_t rows, float sign, Wanted wanted,
              int first_tile, float* c) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const int tile_row = first_tile + block_y();
  if (wanted == Wanted::upper && tile_row > block_x()) return;
  const int64_t first_a = int64_t{tile_row} * kTile, first_b = int64_t{block_x()} * kTile;
  unsigned char* const shared = shared_memory();
  const int lane = lane_of_thread(), matrix = lane / 8, in_matrix = lane % 8;
  const int warp_row = warp_of_thread() / 4 * kWarpRows, warp_column = warp_of_thread() % 4 * kWarpColumns;
  for (int64_t begin = 0; begin < rows; begin += kMostChain) {
    const int64_t end = begin + kMostChain < rows ? begin + kMostChain : rows;
    const int tiles = static_cast<int>((end - begin + kTileRows - 1) / kTileRows);
    const auto copy = [&](int tile) {
      unsigned char* const to = shared + tile % kStages * 2 * kTileBytes;
      if (tile < tiles) {
        copy_tile(a, a_cols, first_a, begin + int64_t{tile} * kTileRows, end, to);
        copy_tile(b, b_cols, first_b, begin + int64_t{tile} * kTileRows, end, to + kTileBytes);
      }
      copies_commit();
    };
    float sums[kWarpRows / 16][kWarpColumns / 8][4] = {};
    for (int i = 0; i < kStages - 1; ++i) copy(i);
    for (int tile = 0; tile < tiles; ++tile) {
      copies_wait<kStages - 2>();
      sync_threads();
      copy(tile + kStages - 1);
      const unsigned char* const left = shared + tile % kStages * 2 * kTileBytes;
      const unsigned char* const right = left + kTileBytes;
#pragma unroll
      for (int k = 0; k < kTileRows / 16; ++k) {
        uint32_t bs[kWarpColumns / 16][4];
#pragma unroll
        for (int n = 0; n < kWarpColumns / 16; ++n)
          load_matrices_transposed(bs[n], right + chunk_at(k * 16 + matrix % 2 * 8 + in_matrix,
                                                           warp_column / 8 + n * 2 + matrix / 2));
#pragma unroll
        for (int m = 0; m < kWarpRows / 16; ++m) {
          uint32_t as[4];
          load_matrices_transposed(
              as, left + chunk_at(k * 16 + matrix / 2 * 8 + in_matrix, warp_row / 8 + m * 2 + matrix % 2));
#pragma unroll
          for (int n = 0; n < kWarpColumns / 8; ++n) {
            const uint32_t bf[2] = {bs[n / 2][n % 2 * 2], bs[n / 2][n % 2 * 2 + 1]};
            multiply_16816<T>(sums[m][n], as, bf);
          }
        }
      }
    }
    copies_wait<0>();
    sync_threads();
#pragma unroll
    for (int m = 0; m < kWarpRows / 16; ++m) {
#pragma unroll
      for (int n = 0; n < kWarpColumns / 8; ++n) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const int64_t row = first_a + warp_row + m * 16 + lane / 4 + j / 2 * 8;
          const int64_t column = first_b + warp_column + n * 8 + lane % 4 * 2 + j % 2;
          if (row < a_cols && column < b_cols) c[row * b_cols + column] += sign * sums[m][n][j];
        }
      }
    }
  }
}

}  // namespace

void add_products(const Queue& queue, Element element, const void* a, int64_t a_cols, const void* b,
                  int64_t b_cols, int64_t rows, float sign, Wanted wanted, float* c, int64_t first_row) {
  with_element(element, [&](auto kind) {
    using T = decltype(kind);
    launch(queue, add_tiles<T>,
           {.x = divide_up(b_cols, kTile),
            .y = divide_up(a_cols - first_row, kTile),
            .threads = kThreads,
            .shared_bytes = kSharedBytes},
           static_cast<const T*>(a), a_cols, static_cast<const T*>(b), b_cols, rows, sign, wanted,
           static_cast<int>(first_row / kTile), c);
  });
}

}  // namespace gptq::cuda
