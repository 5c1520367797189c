// Attention with an online softmax on the tensor cores (arXiv 2205.14135, 2307.08691), over pages of the cache.
//
// Queries are rows times the heads that share a head of keys; 16 of them are the rows of an mma. Keys and values come in
// tiles of a page or half a page, two of which are in shared memory: one is multiplied while the other is on its way.
//
//   wide    a block has 64 queries: 4 warps with 16 each, which see all positions of the tile
//   narrow  a block has 16 queries, as in decoding: its warps have 16 positions each of the tile, and are joined at the end
//
//   S = Q K^T    [16][positions]    K [position][dim] is the right matrix as it lies
//   O += P V     [16][dim]          P = 2^(S - max), from the accumulators of S to fragments without leaving the lane;
//                                   V [position][dim] is the right matrix transposed, which ldmatrix does
//
// Chunk c (16 bytes) of row r of a tile is at chunk c ^ (r mod 8), so that eight rows are in eight groups of banks.
#include "cuda/attention.h"

#include "cuda/cache.cuh"
#include "cuda/elements.cuh"
#include "cuda/launch.cuh"

namespace gptq::cuda {
namespace {

constexpr float kLog2E = 1.4426950408889634f;

/// What a kernel for heads of at most `dim` elements is made of.
template <int dim, bool narrow>
struct Plan {
  static constexpr int kTile = dim <= 128 ? 64 : 32;  // positions
  static constexpr int kWarps = narrow ? kTile / 16 : 4, kThreads = kWarps * kWarp;
  static constexpr int kQueries = narrow ? kNarrowQueries : kWideQueries;
  static constexpr int kColumns = narrow ? 16 : kTile;  // positions of a warp
  static constexpr int kRowBytes = dim * 2, kTileBytes = kTile * kRowBytes;
  static constexpr int kResult = dim + 2;  // floats of a query when warps are joined: O, max, sum
  static constexpr int kSharedBytes = kQueries * kRowBytes + 4 * kTileBytes;
  static_assert(!narrow || kWarps * 16 * kResult * 4 <= kSharedBytes);
  static_assert(kSharedBytes <= kMostSharedBytes);
  static_assert(dim > 128 || fit(2, kSharedBytes, 164), "two blocks on an SM of sm_80");
};

/// Where chunk c of a row is in a tile.
template <int dim>
GPTQ_DEVICE int chunk_at(int row, int c) {
  return row * dim * 2 + (c ^ (row & 7)) * 16;
}

GPTQ_DEVICE float rounded_to_bf16(float x) { return to_float(from_float<BFloat>(x)); }

template <class T, int dim, bool narrow>
struct Block {
  using P = Plan<dim, narrow>;

  const AttentionArguments& a;
  const AttentionItem item;
  const int kv_head = block_y(), group, first_query, queries;
  unsigned char* const shared = shared_memory();
  const int lane = lane_of_thread(), warp = warp_of_thread();
  float out[dim / 8][4];  // lane's columns of rows lane / 4 and lane / 4 + 8, in each 8 elements of the head
  float most[2], sum[2];  // of those rows; of this lane's columns alone

  GPTQ_DEVICE Block(const AttentionArguments& arguments, const AttentionItem* items)
      : a(arguments),
        item(items[block_x()]),
        group(static_cast<int>(a.params.heads / a.cache.kv_heads)),
        first_query(block_z() * P::kQueries),
        queries(item.rows * group) {
#pragma unroll
    for (int i = 0; i < dim / 8; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) out[i][j] = 0;
    }
    most[0] = most[1] = -INFINITY;
    sum[0] = sum[1] = 0;
  }

  GPTQ_DEVICE unsigned char* keys_at(int stage) const {
    return shared + P::kQueries * P::kRowBytes + stage * 2 * P::kTileBytes;
  }
  GPTQ_DEVICE unsigned char* values_at(int stage) const { return keys_at(stage) + P::kTileBytes; }
  /// Number of the query in the block of rows that the lane's row i (0 or 1) of a fragment is.
  GPTQ_DEVICE int query_of(int i) const { return first_query + (narrow ? 0 : warp * 16) + lane / 4 + i * 8; }
  GPTQ_DEVICE int head_of(int query) const { return kv_head * group + query % group; }

  GPTQ_DEVICE void load_queries() const {
    const int key_dim = static_cast<int>(a.cache.key_dim);
    for (int i = thread_x(); i < P::kQueries * dim / 2; i += P::kThreads) {
      const int query = first_query + i / (dim / 2), c = i % (dim / 2) * 2;
      T pair[2] = {};
      const T* const from =
          static_cast<const T*>(a.q) +
          ((item.first_row + query / group) * a.params.heads + head_of(query)) * int64_t{key_dim} + c;
      if (query < queries && c < key_dim) pair[0] = from[0];
      if (query < queries && c + 1 < key_dim) pair[1] = from[1];
      auto* const to = reinterpret_cast<T*>(shared + chunk_at<dim>(i / (dim / 2), c / 8)) + c % 8;
      to[0] = pair[0];
      to[1] = pair[1];
    }
  }

  /// Zeros where there is nothing: they are multiplied, too.
  GPTQ_DEVICE void copy_heads(const T* from, int64_t head_dim, int first, unsigned char* to) const {
    const int pitch = static_cast<int>(cache_pitch(head_dim));
#pragma unroll 4
    for (int i = thread_x(); i < P::kTile * dim / 8; i += P::kThreads) {
      const int row = i / (dim / 8), c = i % (dim / 8), position = first + row;
      const bool there = position >= item.begin && position < item.end && c * 8 < pitch;
      copy_async16(to + chunk_at<dim>(row, c), from + (there ? position % kPagePositions * pitch + c * 8 : 0),
                   there ? 16 : 0);
    }
  }

  GPTQ_DEVICE void copy_tile(int first, int stage) const {
    if (first < item.end) {
      const Row at{a.rows[item.first_row].sequence, first};
      copy_heads(keys_of<T>(a.cache, at, kv_head), a.cache.key_dim, first, keys_at(stage));
      copy_heads(values_of<T>(a.cache, at, kv_head), a.cache.value_dim, first, values_at(stage));
    }
    copies_commit();
  }

  /// S of the warp's queries and positions.
  GPTQ_DEVICE void multiply_keys(int stage, float (&scores)[P::kColumns / 8][4]) const {
    const int matrix = lane / 8, in_matrix = lane % 8;
    const int first_row = narrow ? 0 : warp * 16, first_position = narrow ? warp * 16 : 0;
#pragma unroll
    for (int n = 0; n < P::kColumns / 8; ++n) {
#pragma unroll
      for (int j = 0; j < 4; ++j) scores[n][j] = 0;
    }
    const int steps = static_cast<int>(a.cache.key_dim + 15) / 16;
#pragma unroll
    for (int k = 0; k < dim / 16; ++k) {
      if (k >= steps) break;
      uint32_t q[4];
      load_matrices(q, shared + chunk_at<dim>(first_row + matrix % 2 * 8 + in_matrix, k * 2 + matrix / 2));
#pragma unroll
      for (int n = 0; n < P::kColumns / 16; ++n) {
        uint32_t keys[4];
        load_matrices(keys,
                      keys_at(stage) + chunk_at<dim>(first_position + n * 16 + matrix / 2 * 8 + in_matrix,
                                                     k * 2 + matrix % 2));
        const uint32_t left[2] = {keys[0], keys[1]}, right[2] = {keys[2], keys[3]};
        multiply_16816<T>(scores[2 * n], q, left);
        multiply_16816<T>(scores[2 * n + 1], q, right);
      }
    }
  }

  /// A score as the softmax takes it, times log2 e; -infinity where the row does not see the position.
  GPTQ_DEVICE float bend(float score, int position, Seen seen, float slope, int own) const {
    if (position < seen.begin || position >= seen.end || position < item.begin || position >= item.end)
      return -INFINITY;
    float s = score * a.params.scale;
    if (a.params.softcap > 0) s = a.params.softcap * tanhf(s / a.params.softcap);
    if (a.params.slopes != nullptr) {
      const float height = a.params.slope_kind == SlopeKind::rounded
                               ? rounded_to_bf16(rounded_to_bf16(slope) * static_cast<float>(position))
                               : slope * static_cast<float>(position - own);
      s += a.params.slope_factor * height;
    }
    return s * kLog2E;
  }

  /// Scores become 2^(score - max of the row); what there is of O and the sum is scaled to the new maximum.
  GPTQ_DEVICE void soften(int first, float (&scores)[P::kColumns / 8][4]) {
    const int first_position = first + (narrow ? warp * 16 : 0) + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int query = query_of(i);
      const bool there = query < queries;
      const int own = there ? a.rows[item.first_row + query / group].position : -1;
      const Seen seen = there ? seen_by(a.params, own) : Seen{0, 0};
      const float slope = a.params.slopes != nullptr ? a.params.slopes[head_of(query)] : 0.0f;
      float now = most[i];
#pragma unroll
      for (int n = 0; n < P::kColumns / 8; ++n) {
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          float& s = scores[n][2 * i + j];
          s = bend(s, first_position + n * 8 + j, seen, slope, own);
          now = s > now ? s : now;
        }
      }
#pragma unroll
      for (int lanes = 1; lanes < 4; lanes *= 2) {
        const float other = shuffle_xor(now, lanes);
        now = other > now ? other : now;
      }
      const float base = now == -INFINITY ? 0.0f : now, factor = fast_exp2(most[i] - base);
      most[i] = now;
      sum[i] *= factor;
#pragma unroll
      for (int n = 0; n < P::kColumns / 8; ++n) {
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          float& s = scores[n][2 * i + j];
          s = fast_exp2(s - base);
          sum[i] += s;
        }
      }
#pragma unroll
      for (int n = 0; n < dim / 8; ++n) {
        out[n][2 * i] *= factor;
        out[n][2 * i + 1] *= factor;
      }
    }
  }

  GPTQ_DEVICE void multiply_values(int stage, const float (&scores)[P::kColumns / 8][4]) {
    const int matrix = lane / 8, in_matrix = lane % 8, first_position = narrow ? warp * 16 : 0;
    const int columns = static_cast<int>(a.cache.value_dim + 15) / 16;
#pragma unroll
    for (int k = 0; k < P::kColumns / 16; ++k) {
      const float *const left = scores[2 * k], *const right = scores[2 * k + 1];
      const uint32_t p[4] = {pack2<T>(left[0], left[1]), pack2<T>(left[2], left[3]),
                             pack2<T>(right[0], right[1]), pack2<T>(right[2], right[3])};
#pragma unroll
      for (int n = 0; n < dim / 16; ++n) {
        if (n >= columns) break;
        uint32_t values[4];
        load_matrices_transposed(
            values, values_at(stage) + chunk_at<dim>(first_position + k * 16 + matrix % 2 * 8 + in_matrix,
                                                     n * 2 + matrix / 2));
        const uint32_t first[2] = {values[0], values[1]}, second[2] = {values[2], values[3]};
        multiply_16816<T>(out[2 * n], p, first);
        multiply_16816<T>(out[2 * n + 1], p, second);
      }
    }
  }

  GPTQ_DEVICE void run() {
    load_queries();
    const int first = item.begin / P::kTile * P::kTile;
    copy_tile(first, 0);
    for (int at = first, stage = 0; at < item.end; at += P::kTile, stage ^= 1) {
      copy_tile(at + P::kTile, stage ^ 1);
      copies_wait<1>();
      sync_threads();
      float scores[P::kColumns / 8][4];
      multiply_keys(stage, scores);
      soften(at, scores);
      multiply_values(stage, scores);
      sync_threads();
    }
    copies_wait<0>();
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int lanes = 1; lanes < 4; lanes *= 2) sum[i] += shuffle_xor(sum[i], lanes);
    }
    if (narrow) join_warps();
    write();
  }

  /// All warps have the same queries and other positions: the first one gets all of it.
  GPTQ_DEVICE void join_warps() {
    auto* const results = reinterpret_cast<float*>(shared);  // [warps][16][kResult]
    float* const mine = results + (warp * 16 + lane / 4) * P::kResult;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int n = 0; n < dim / 8; ++n) {
        mine[i * 8 * P::kResult + n * 8 + lane % 4 * 2] = out[n][2 * i];
        mine[i * 8 * P::kResult + n * 8 + lane % 4 * 2 + 1] = out[n][2 * i + 1];
      }
      if (lane % 4 > 0) continue;
      mine[i * 8 * P::kResult + dim] = most[i];
      mine[i * 8 * P::kResult + dim + 1] = sum[i];
    }
    sync_threads();
    if (warp > 0) return;
#pragma unroll
    for (int w = 1; w < P::kWarps; ++w) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float* const other = results + (w * 16 + lane / 4 + i * 8) * P::kResult;
        const float now = other[dim] > most[i] ? other[dim] : most[i], base = now == -INFINITY ? 0.0f : now;
        const float old_factor = fast_exp2(most[i] - base), factor = fast_exp2(other[dim] - base);
        most[i] = now;
        sum[i] = sum[i] * old_factor + other[dim + 1] * factor;
#pragma unroll
        for (int n = 0; n < dim / 8; ++n) {
#pragma unroll
          for (int j = 0; j < 2; ++j) {
            float& o = out[n][2 * i + j];
            o = o * old_factor + other[n * 8 + lane % 4 * 2 + j] * factor;
          }
        }
      }
    }
  }

  GPTQ_DEVICE void write() const {
    if (narrow && warp > 0) return;
    const int value_dim = static_cast<int>(a.cache.value_dim);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int query = query_of(i);
      if (query >= queries) continue;
      const bool whole = item.parts == 1;
      float factor = 1.0f;
      if (whole) factor = final_factor(a.params, head_of(query), most[i], sum[i]);
      float* const partial =
          whole ? nullptr : a.scratch + result_of(a, item, item.part, kv_head, query) * (value_dim + 2);
      T* const to = static_cast<T*>(a.out) +
                    ((item.first_row + query / group) * a.params.heads + head_of(query)) * int64_t{value_dim};
#pragma unroll
      for (int n = 0; n < dim / 8; ++n) {
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          const int c = n * 8 + lane % 4 * 2 + j;
          if (c >= value_dim) continue;
          if (whole) {
            to[c] = from_float<T>(out[n][2 * i + j] * factor);
          } else {
            partial[c] = out[n][2 * i + j];
          }
        }
      }
      if (whole || lane % 4 > 0) continue;
      partial[value_dim] = most[i];
      partial[value_dim + 1] = sum[i];
    }
  }

  /// What O is multiplied with at the end: a sink takes part in the sum.
  GPTQ_DEVICE static float final_factor(const AttentionView& params, int head, float most, float sum) {
    if (params.sinks == nullptr) return 1.0f / sum;
    const float sink = params.sinks[head] * kLog2E, base = most > sink ? most : sink;
    const float part = fast_exp2(most - base);
    return part / (sum * part + fast_exp2(sink - base));
  }
  GPTQ_DEVICE static int64_t result_of(const AttentionArguments& a, const AttentionItem& item, int part,
                                       int kv_head, int query) {
    const int64_t queries = item.rows * (a.params.heads / a.cache.kv_heads);
    return item.first_result + (part * a.cache.kv_heads + kv_head) * queries + query;
  }
};

template <class T, int dim, bool narrow>
__global__ void __launch_bounds__(Plan<dim, narrow>::kThreads) attend(AttentionArguments a) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  Block<T, dim, narrow> block(a, narrow ? a.narrow : a.wide);
  if (block.item.rows > 0) block.run();
}

/// A warp has a query: its parts are added in order.
template <class T>
__global__ void __launch_bounds__(kWarp) join_parts(AttentionArguments a) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  using Any = Block<T, 64, true>;
  const AttentionItem item = a.joins[block_x()];
  const int kv_head = block_y(), group = static_cast<int>(a.params.heads / a.cache.kv_heads);
  const int value_dim = static_cast<int>(a.cache.value_dim), lane = lane_of_thread();
  for (int query = block_z(); query < item.rows * group; query += kWideQueries) {
    const int head = kv_head * group + query % group;
    const auto partial = [&](int part) {
      return a.scratch + Any::result_of(a, item, part, kv_head, query) * (value_dim + 2);
    };
    float most = -INFINITY, sum = 0;
    for (int part = 0; part < item.parts; ++part) {
      const float m = partial(part)[value_dim];
      most = m > most ? m : most;
    }
    const float base = most == -INFINITY ? 0.0f : most;
    for (int part = 0; part < item.parts; ++part)
      sum += partial(part)[value_dim + 1] * fast_exp2(partial(part)[value_dim] - base);
    const float factor = Any::final_factor(a.params, head, most, sum);
    T* const to = static_cast<T*>(a.out) +
                  ((item.first_row + query / group) * a.params.heads + head) * int64_t{value_dim};
    for (int c = lane; c < value_dim; c += kWarp) {
      float total = 0;
      for (int part = 0; part < item.parts; ++part)
        total += partial(part)[c] * fast_exp2(partial(part)[value_dim] - base);
      to[c] = from_float<T>(total * factor);
    }
  }
}

template <class T, int dim>
void launch_attention(const Queue& queue, const AttentionArguments& a) {
  using Narrow = Plan<dim, true>;
  using Wide = Plan<dim, false>;
  const int64_t group = a.params.heads / a.cache.kv_heads;
  launch(queue, attend<T, dim, true>,
         {.x = a.narrow_count,
          .y = a.cache.kv_heads,
          .threads = Narrow::kThreads,
          .shared_bytes = Narrow::kSharedBytes},
         a);
  launch(queue, attend<T, dim, false>,
         {.x = a.wide_count,
          .y = a.cache.kv_heads,
          .z = divide_up(group, kWideQueries),
          .threads = Wide::kThreads,
          .shared_bytes = Wide::kSharedBytes},
         a);
  launch(queue, join_parts<T>,
         {.x = a.joins_count, .y = a.cache.kv_heads, .z = kWideQueries, .threads = kWarp}, a);
}

}  // namespace

void attention(const Queue& queue, Element element, const AttentionArguments& a) {
  const int64_t dim = a.cache.key_dim > a.cache.value_dim ? a.cache.key_dim : a.cache.value_dim;
  if (dim > kMostHeadDim)
    throw Error(Status::unsupported, cat("heads of ", dim, " elements, at most ", kMostHeadDim, " on a GPU"));
  with_element(element, [&](auto kind) {
    using T = decltype(kind);
    if (dim <= 64) {
      launch_attention<T, 64>(queue, a);
    } else if (dim <= 128) {
      launch_attention<T, 128>(queue, a);
    } else {
      launch_attention<T, 256>(queue, a);
    }
  });
}

}  // namespace gptq::cuda
