// The one list of what the GPU is asked to do. Each function launches kernels behind what is in a queue and returns;
// pointers are to the device's memory and stay valid until the queue has come so far.
//
// Matrices of activations are row-major, of fp16 or bf16 (Element), without gaps between rows, and start at multiples of
// 16 bytes, as all arrays do. Arithmetic is in fp32. Any size may be 0. What ops mean is said in backend/backend.h.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "cuda/layout.h"

namespace gptq::cuda {

class CommandList;

/// Called now and then between the launches of what takes many of them; may throw, and nothing more is launched then.
using Between = std::function<void()>;

/// Where work goes, and what the device behind it has.
struct Queue {
  void* stream = nullptr;  // a cudaStream_t
  int processors = 1;      // its SMs
  int architecture = 80;   // 10 major + minor
  CommandList* list =
      nullptr;  // where kernels are written down instead of being launched; null: they are launched
};

/// What activations are made of.
enum class Element : uint8_t { f16, bf16 };

/// Of products of matrices: whether an operand lies as its transpose, and what the result is added to.
enum class Turned : uint8_t { no, yes };
enum class Onto : uint8_t { nothing, what_is_there };

/// Packed weights in the device's memory (layout.h). Numbers of 16 bits are Elements of the activations' type.
struct Weights {
  Packing shape;
  const uint32_t* words = nullptr;
  const uint16_t* scales_f16 = nullptr;  // or scales_f32
  const float* scales_f32 = nullptr;
  const uint16_t* zeros = nullptr;  // null: all are 2^(bits - 1)
  const int32_t* order = nullptr;   // null: inputs are in order
  const float* bias = nullptr;      // [rows]; null: none

  /// Columns of the activations that it is multiplied with: gather_columns() makes them where there is an order.
  GPTQ_BOTH int64_t inputs() const { return order != nullptr ? shape.packed_inputs : shape.cols; }

  bool operator==(const Weights&) const = default;
};

// ---- elementwise.cu
/// out[i] = in[i], n elements
void narrow(const Queue& queue, Element element, const float* in, void* out, int64_t n);
void widen(const Queue& queue, Element element, const void* in, float* out, int64_t n);
/// x += factor y
void add(const Queue& queue, Element element, void* x, const void* y, float factor, int64_t n);
void scale(const Queue& queue, Element element, void* x, float factor, int64_t n);
void clamp(const Queue& queue, Element element, void* x, float limit, int64_t n);
void softcap(const Queue& queue, Element element, void* x, float cap, int64_t n);
/// out = act(gate) up, or act(gate) where up is null. out may be gate, or up.
void activate(const Queue& queue, Element element, const Activation& act, const void* gate, const void* up,
              void* out, int64_t n);

// ---- rows.cu
struct NormArguments {
  Norm kind = Norm::rms;
  int64_t rows = 0, cols = 0;
  const void* x = nullptr;
  const void* addend = nullptr;  // what is normalized is x + factor addend; null: x
  float factor = 1.0f;
  void* sum = nullptr;            // where that goes, if there is an addend; may be x
  const float* weight = nullptr;  // [parts, cols], row i has part i mod parts
  const float* bias = nullptr;    // likewise; null: none
  int64_t parts = 1;
  float eps = 0;
  void* out = nullptr;  // may be x, or sum

  bool operator==(const NormArguments&) const = default;
};
void norm(const Queue& queue, Element element, const NormArguments& arguments);
/// Row i of x times factors[i]; or factors of the element.
void scale_rows(const Queue& queue, Element element, void* x, const float* factors, int64_t rows,
                int64_t cols);
void scale_rows_by_elements(const Queue& queue, Element element, void* x, const void* factors, int64_t rows,
                            int64_t cols);
/// Row i of out is row rows[i] of x, or 0 where that is negative.
void gather_rows(const Queue& queue, Element element, const void* x, const int32_t* rows, int64_t count,
                 int64_t cols, void* out);
/// Column i of out [rows, columns] is column order[i] of x [rows, cols], or 0 where that is negative.
void gather_columns(const Queue& queue, Element element, const void* x, int64_t cols, const int32_t* order,
                    int64_t columns, int64_t rows, void* out);
/// Row rows[i] of x [x_rows, cols] += weights[i] times row i of y, for i < count in sequence; null: all are 1.
void scatter_add(const Queue& queue, Element element, void* x, int64_t x_rows, int64_t cols,
                 const int32_t* rows, const float* weights, const void* y, int64_t count);
/// out [rows, heads (m + n)]: each head is m elements of a [rows, heads m], then n of b [rows, heads n] or [rows, n].
enum class SharedTail : uint8_t { no, yes };
void join_heads(const Queue& queue, Element element, const void* a, int64_t m, const void* b, int64_t n,
                SharedTail shared, int64_t heads, int64_t rows, void* out);
/// Row i of out [count, cols] = row ids[i] of the weights.
void embed(const Queue& queue, Element element, const Weights& table, const int32_t* ids, int64_t count,
           void* out);

// ---- pack.cu
/// The words of rows [first, first + count) of packed weights, `first` a multiple of kStripRows, all of them with those that
/// are missing to a whole strip. `fields` [count, shape.cols] are codes of a byte, or numbers of 16 bits where the shape's are;
/// `order` and `words` are those of all rows.
void pack_rows(const Queue& queue, const Packing& shape, const void* fields, const int32_t* order,
               int64_t first, int64_t count, uint32_t* words);

// ---- matvec.cu, gemm.cu, gemm_parts.cu: y [rows, outputs] = x [rows, w.inputs()] W^T + bias
/// What one of several weights makes of the same rows.
struct Product {
  Weights w;
  void* y = nullptr;

  bool operator==(const Product&) const = default;
};
/// At most 8 rows. Weights, at most kMostProducts, are of one width and have as many inputs(). What a product is does not
/// depend on the others.
constexpr size_t kMostProducts = 8;
void multiply_few(const Queue& queue, Element element, std::span<const Product> products, const void* x,
                  int64_t rows);
/// Any number of them. `scratch` has scratch_of_product() bytes, the first kFlagBytes of which are 0, before and after.
void multiply(const Queue& queue, Element element, const Weights& w, const void* x, int64_t rows, void* y,
              void* scratch);
constexpr size_t kFlagBytes = 4096;
size_t scratch_of_product(const Queue& queue);
/// Weights, and where what they make of some rows of a batch goes; an expert's rows may have several.
struct LinearPart {
  Weights w;
  void* y = nullptr;                      // [rows of the batch, outputs]
  int expert = 0;                         // whose rows they are
  int output_tiles = 0, tile_stages = 0;  // join_parts() knows

  bool operator==(const LinearPart&) const = default;
};
/// A part's rows, and where it begins in the line of all stages (gemm.cuh), in which it ends where the next one begins. Behind
/// the last part is one that has no rows.
struct PartRows {
  int32_t first_row = 0, rows = 0, first_stage = 0;
};
/// What one launch multiplies, whatever rows there will be.
struct LinearParts {
  std::vector<LinearPart> parts;  // in the order of experts, which need not have one
  int bits = 0;
  int64_t inputs = 0, experts = 0;  // experts that have a part
  int64_t expert_stages = 0;        // of one tile of rows of all parts of an expert, at most
};
/// Those that have outputs. The weights are of one width, and have as many inputs(): Status::internal otherwise.
LinearParts join_parts(std::span<const LinearPart> parts);
/// What the host knows of the rows: how many all experts have, and one at most.
struct RowsOfParts {
  int64_t all = 0, most = 0;
};
/// out [parts + 1] where expert e has rows [begin[e], begin[e + 1]) of the batch; begin [experts + 1]. Both are in the device's
/// memory.
void plan_parts(const Queue& queue, const LinearParts& line, const LinearPart* parts, RowsOfParts rows,
                const int32_t* begin, PartRows* out);
/// The same by the host, where all parts have all rows.
std::vector<PartRows> plan_parts_of_all(const LinearParts& line, int64_t rows);
/// gather_columns() for the rows of each part, of x [rows, cols], by the part's order, which all have: rows.cu
void gather_columns_of_parts(const Queue& queue, Element element, const void* x, int64_t cols,
                             const LinearPart* parts, const PartRows* part_rows, int64_t count,
                             int64_t columns, int64_t rows, void* out);
/// As multiply() for each part, in one launch. `parts` are the line's in the device's memory, `part_rows` what plan_parts()
/// made there for as many rows.
void multiply_parts(const Queue& queue, Element element, const LinearParts& line, RowsOfParts rows,
                    const LinearPart* parts, const PartRows* part_rows, const void* x, void* scratch);

// ---- panels.cu: what a library that multiplies plain matrices needs besides
/// out [count, w.shape.packed_inputs] = outputs [first, first + count) of W, rounded to elements; `first` is a multiple of
/// kStripRows. Columns behind w.inputs() mean nothing.
void unpack_panel(const Queue& queue, Element element, const Weights& w, int64_t first, int64_t count,
                  void* out);
/// y [rows, pitch], of which `cols` columns are written, = sums [rows, cols] + bias [cols]
void add_bias(const Queue& queue, Element element, const float* sums, const float* bias, int64_t rows,
              int64_t cols, void* y, int64_t pitch);

// ---- rope.cu
/// Positions of a page of the cache.
constexpr int kPagePositions = 64;
/// Elements from one position of a head to the next; those behind the head's are 0.
GPTQ_BOTH constexpr int64_t cache_pitch(int64_t dim) { return (dim + 7) / 8 * 8; }

/// Keys and values of one layer: in each page, from its element `keys_at`, [kv_heads][kPagePositions][pitch of key_dim],
/// and from `values_at` on the same of value_dim. Both are multiples of 8.
struct CacheView {
  void* const* pages = nullptr;  // [sequences][most_pages]
  int64_t most_pages = 0;
  int64_t keys_at = 0, values_at = 0;
  int64_t kv_heads = 0, key_dim = 0, value_dim = 0;

  bool operator==(const CacheView&) const = default;
};

/// As RopeRows, in the device's memory.
struct RopeView {
  const float *cos = nullptr, *sin = nullptr;  // [rows, dim / 2]
  int64_t dim = 0;
  RopeLayout layout = RopeLayout::half;
  int64_t offset = 0;

  bool operator==(const RopeView&) const = default;
};

/// Rotates the heads of x [rows, heads head_dim] in place.
void rotate(const Queue& queue, Element element, const RopeView& rope, void* x, int64_t rows, int64_t heads,
            int64_t head_dim);
/// Rotates q [rows, heads key_dim] and k [rows, kv_heads key_dim] in place, and stores k and v in the cache.
void rope_store(const Queue& queue, Element element, const RopeView& rope, const Row* rows, int64_t count,
                int64_t heads, void* q, void* k, const void* v, const CacheView& cache);

// ---- attention.cu
/// As AttentionParams, in the device's memory.
struct AttentionView {
  int64_t heads = 0;
  float scale = 1.0f;
  int64_t window = 0, chunk = 0;
  float softcap = 0;
  const float *slopes = nullptr, *sinks = nullptr;  // [heads]
  SlopeKind slope_kind = SlopeKind::relative;
  float slope_factor = 1.0f;

  bool operator==(const AttentionView&) const = default;
};

/// Some rows of one sequence that stand side by side, and a part of the positions that they see. Without rows it is nothing.
struct AttentionItem {
  int32_t first_row = 0, rows = 0;
  int32_t begin = 0, end = 0;  // positions
  int32_t part = 0, parts = 1;
  int32_t first_result = -1;  // of the partial results of its rows, if there are several parts
};

/// What attention() is asked, made on the host.
struct AttentionPlan {
  std::vector<AttentionItem> narrow, wide;  // at most 16 queries of a head of keys, and more
  std::vector<AttentionItem> joins;         // the first part of each that has several
  int64_t results = 0;                      // partial ones
  /// fp32 elements of them.
  int64_t scratch_floats(int64_t value_dim) const { return results * (value_dim + 2); }
};
/// `busy_blocks`: how many the device runs at a time; rows see more positions than one block should when there are fewer.
AttentionPlan plan_attention(std::span<const Row> rows, const AttentionView& params, int64_t kv_heads,
                             int64_t busy_blocks);

/// out [rows, heads value_dim]. The lists of the plan, and rows, are in the device's memory.
struct AttentionArguments {
  AttentionView params;
  const Row* rows = nullptr;
  const AttentionItem *narrow = nullptr, *wide = nullptr, *joins = nullptr;
  int64_t narrow_count = 0, wide_count = 0, joins_count = 0;
  const void* q = nullptr;
  CacheView cache;
  float* scratch = nullptr;
  void* out = nullptr;

  bool operator==(const AttentionArguments&) const = default;
};
/// Heads of at most kMostHeadDim elements.
constexpr int64_t kMostHeadDim = 256;
void attention(const Queue& queue, Element element, const AttentionArguments& arguments);

// ---- delta.cu
/// As DeltaParams, in the device's memory.
struct DeltaView {
  int64_t heads = 0, key_heads = 0, key_dim = 0, value_dim = 0, kernel = 1;
  const float *conv = nullptr, *a_log = nullptr, *dt_bias = nullptr;

  bool operator==(const DeltaView&) const = default;
};
/// Consecutive rows of one sequence, from a position on, and the state of what was before: S of each head
/// [key_dim][value_dim], then the last kernel - 1 inputs of the convolution [kernel - 1][channels], that of position p in
/// row p mod (kernel - 1).
struct DeltaRun {
  int32_t first_row = 0, rows = 0;
  int64_t position = 0;
  float* state = nullptr;
};
constexpr int64_t kMostDeltaKernel = 8, kMostDeltaKeyDim = 512;
/// q and k [rows, key_heads key_dim], v and out [rows, heads value_dim], beta and decay [rows, heads]. `runs` is in the
/// device's memory; `scratch` has scratch_of_delta() bytes.
void delta_rule(const Queue& queue, Element element, const DeltaView& params, const DeltaRun* runs,
                int64_t count, int64_t rows, const void* q, const void* k, const void* v, const void* beta,
                const void* decay, void* scratch, void* out);
size_t scratch_of_delta(const DeltaView& params, int64_t rows);

// ---- products.cu
/// Products that are added in fp32 before their sum goes to C, and what tiles of C have of rows and columns.
constexpr int64_t kMostChain = 4096;
constexpr int kSumsTile = 128;
/// C [a_cols, b_cols] += sign A^T B in fp32 over the rows of a [rows, a_cols] and b [rows, b_cols]: products of fp16 and
/// bf16 are exact, and sums of more than kMostChain of them are made in pieces. `a` may be `b`. Of C rows from `first_row` on,
/// a multiple of kSumsTile.
enum class Wanted : uint8_t { all, upper };  // upper: at least what is on and above the diagonal
void add_products(const Queue& queue, Element element, const void* a, int64_t a_cols, const void* b,
                  int64_t b_cols, int64_t rows, float sign, Wanted wanted, float* c, int64_t first_row = 0);

// ---- factor.cu
/// U [n, n], upper triangular with 0 below, of which H'^-1 = U^T U for H'[i][j] = H[order[i]][order[j]] + (i == j ?
/// diagonal_add[i] : 0). Of H [n, n] what is on and above the diagonal is read. Three steps over `scratch`, which has
/// scratch_of_factor() bytes: it begins with F [n, n], row-major, of which what is on and below the diagonal counts.
size_t scratch_of_factor(int64_t n);
constexpr int64_t kMostFactor = 65535;
/// F = H', turned about its other diagonal.
void begin_factor(const Queue& queue, const float* h, int64_t n, const int32_t* order,
                  const float* diagonal_add, void* scratch);
/// L of F = L L^T in the place of F. *failed becomes 1 where H' is not positive definite in fp32, and U is nothing then.
void factor_blocks(const Queue& queue, int64_t n, void* scratch, uint32_t* failed, const Between& between);
/// Instead of that, where another has put L there.
void take_factor(const Queue& queue, int64_t n, void* scratch, uint32_t* failed);
void finish_factor(const Queue& queue, int64_t n, void* scratch, float* u, const Between& between);

// ---- largest.cu
/// Keys [rows, count], in the scratch memory of scratch_of_largest() bytes, of the `count` largest elements of each row of x
/// [rows, cols], in the order that Stream::largest() says. count <= cols, kMostLargest.
const uint64_t* largest(const Queue& queue, Element element, const void* x, int64_t rows, int64_t cols,
                        int64_t count, void* scratch);
size_t scratch_of_largest(int64_t rows, int64_t cols, int64_t count);
/// What a key stands for.
inline Ranked largest_of_key(uint64_t key) {
  const auto place = static_cast<uint32_t>(key >> 32);
  return {.column = static_cast<int32_t>(~static_cast<uint32_t>(key)),
          .value = std::bit_cast<float>((place >> 31) != 0 ? place ^ 1u << 31 : ~place)};
}

// ---- exp_sums.cu
/// Of a piece of a row: its largest element m, and the sum of exp((x - m) / temperature); 0 where m is -infinity.
struct ExpSum {
  double sum = 0;
  float most = 0;
};
int64_t pieces_of_exp_sum(int64_t cols);
/// out [rows, pieces_of_exp_sum(cols)] of x [rows, cols], temperatures [rows]
void exp_sums(const Queue& queue, Element element, const void* x, int64_t rows, int64_t cols,
              const double* temperatures, ExpSum* out);
/// Of the row that has them; on the host.
double exp_sum_of_pieces(std::span<const ExpSum> pieces, double temperature);

// ---- route.cu
/// As RouterParams, with its bias in the device's memory.
struct RouterView {
  RouterScore score = RouterScore::softmax;
  int64_t chosen = 1;
  Renormalize renormalize = Renormalize::no;
  const float* choice_bias = nullptr;
  int64_t groups = 1, groups_chosen = 1;
  GroupScore group_score = GroupScore::best;
  float factor = 1.0f, jitter = 0;

  bool operator==(const RouterView&) const = default;
};
constexpr int64_t kMostExperts = 4096;

/// From scores [rows, experts]: chosen experts and their weights [rows, chosen], and the same sorted by expert: Routing's
/// begin [experts + 1], rows and weights [rows chosen].
struct RoutingView {
  int32_t* experts = nullptr;
  float* expert_weights = nullptr;
  int32_t* begin = nullptr;
  int32_t* rows = nullptr;
  float* weights = nullptr;

  bool operator==(const RoutingView&) const = default;
};
void route(const Queue& queue, Element element, const RouterView& router, const void* scores, int64_t rows,
           int64_t experts, const RoutingView& routing);

}  // namespace gptq::cuda
