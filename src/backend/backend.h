// THE SEAM between the model and the machine. Above it nobody knows int4 from bf16 or a CPU from a GPU; below it
// nobody knows what a layer is.
//
// A Backend owns a device and is shared by all threads. Work is issued through a Stream: one per session, used by
// one thread at a time, with scratch memory and a cancel flag of its own. Every op takes a batch of rows (tokens),
// each with its own sequence and position, so that many sequences go through one step.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/routing.h"
#include "backend/solve.h"
#include "base/executor.h"
#include "base/qtensor.h"
#include "base/tensor.h"

namespace gptq {

/// A row-major matrix of activations in the backend's memory and element type; only the backend looks inside.
struct Matrix {
  std::byte* data = nullptr;
  int64_t rows = 0, cols = 0;
};

/// A block of the backend's memory.
class Memory {
 public:
  virtual ~Memory() = default;
  virtual std::byte* data() = 0;
  virtual size_t bytes() const = 0;
};

/// y = x W^T + b, packed for the backend's kernels. Immutable.
class Linear {
 public:
  virtual ~Linear() = default;
  virtual int64_t in_features() const = 0;
  virtual int64_t out_features() const = 0;
  /// Bytes of weights read per row in decoding.
  virtual uint64_t bytes() const = 0;
  /// The canonical form again, equal to what prepare() got, for a Linear prepared from a QTensor.
  virtual QTensor unpack() const = 0;
};

/// A vector of parameters (norm weights), kept in fp32.
class Vector {
 public:
  virtual ~Vector() = default;
  virtual int64_t size() const = 0;
};

/// What one of several Linears makes of the same rows.
struct Projection {
  const Linear* w;
  Matrix y;
};

/// What the Linears of a router's experts, of one shape, make of the rows of each.
struct PartsProjection {
  std::span<const Linear* const> w;
  Matrix y;
};

/// An element of a row.
struct Ranked {
  int32_t column = 0;
  float value = 0;
};
/// Most of them that Stream::largest() finds.
inline constexpr int64_t kMostLargest = 1024;

/// Where a row belongs: which sequence of the cache, and its place in it.
struct Row {
  int32_t sequence = 0;
  int32_t position = 0;
};

/// What one layer keeps: of each position keys and values, or of each sequence a state.
struct CacheLayer {
  int64_t kv_heads = 0, key_dim = 0, value_dim = 0;
  int64_t state =
      0;  // numbers of 32 bits, all 0 at first; only the op that has it knows their order (DeltaParams)

  bool operator==(const CacheLayer&) const = default;
};

enum class KvElements : uint8_t {
  automatic,  // what the backend computes with
  int8,       // whole numbers of 8 bits, for each position and head a scale of the key and one of the value
};

struct CacheShape {
  std::vector<CacheLayer> layers;
  int64_t sequences = 1;
  KvElements elements = KvElements::automatic;
};

/// Keys and values of some sequences, and states. Grows as rows are stored; used with one Stream at a time, and with another
/// once that one has waited (Stream::wait()).
class KvCache {
 public:
  virtual ~KvCache() = default;
  /// Takes the sequences of `caches`, one behind the other, in place of those it has: a step with this one stores what steps
  /// with each of them would. Room is made, and given back, by them, and not while they are joined. What throws leaves this one
  /// without sequences: Status::invalid_argument where another keeps something else of a position. No caches never throw.
  virtual void join(std::span<KvCache* const> caches) = 0;
  /// Makes room for positions [0, length) of `sequence` in every layer; Status::out_of_memory leaves it unchanged.
  virtual void reserve(int32_t sequence, int64_t length) = 0;
  /// truncate() can come back to where `sequence` is now. Of a state this takes a copy, which replaces the one before,
  /// if there is memory for it.
  virtual void mark(int32_t sequence) = 0;
  /// Forgets positions >= length and gives their memory back. Returns the positions that are left: `length`, or, where a
  /// layer has a state that has seen more, the last mark that is not behind it, or 0. The others are to go through the
  /// model again. Also for after an op that threw, which leaves a state that belongs to no position.
  [[nodiscard]] virtual int64_t truncate(int32_t sequence, int64_t length) = 0;
  virtual uint64_t bytes() const = 0;
  /// Of the keys and values of a position in one layer, as they are stored.
  virtual uint64_t position_bytes(int64_t layer) const = 0;
};

enum class Norm : uint8_t { rms, layer };
enum class Act : uint8_t {
  silu,
  gelu,       // x/2 (1 + erf(x/sqrt 2))
  gelu_tanh,  // its tanh approximation
  relu,
  relu2,         // relu(x)^2
  sigmoid,       // 1 / (1 + e^-x)
  xielu,         // x > 0: a x^2 + c x; else a' (e^min(x,d) - 1 - x) + c x (arXiv 2411.13010)
  clamped_silu,  // of x <= d: x / (1 + e^-ax), and up + 1 for |up| <= d (gpt-oss)
};

/// An activation and its parameters, for those that have some.
struct Activation {
  Act act = Act::silu;
  float a = 0, a_negative = 0, c = 0, d = 0;  // a_negative is a'

  Activation() = default;
  Activation(Act kind) : act(kind) {}  // NOLINT: an Act is one without parameters
};

/// How the pairs that rotate together lie in a head: i with i + dim/2, or 2i with 2i + 1.
enum class RopeLayout : uint8_t { half, pairs };

/// Rotation angles per row of the batch: cos and sin [rows, dim / 2] in host memory, scaling included.
/// `dim` elements of each head rotate, from element `offset` on. dim == 0: no rotation.
struct RopeRows {
  const float* cos = nullptr;
  const float* sin = nullptr;
  int64_t dim = 0;
  RopeLayout layout = RopeLayout::half;
  int64_t offset = 0;
};

/// What ALiBi (arXiv 2108.12409) adds to the score of position j as seen from p, up to a factor: slope * (j - p), or, as
/// Falcon has it, bf16(slope * j) with the slope in bf16, too.
enum class SlopeKind : uint8_t { relative, rounded };

struct AttentionParams {
  int64_t heads = 0, kv_heads = 0, key_dim = 0, value_dim = 0;
  float scale = 1.0f;              // on q.k
  int64_t window = 0;              // 0: all earlier positions; w: positions p - w < j <= p
  int64_t chunk = 0;               // 0: none; c: positions of the same chunk, p / c == j / c
  float softcap = 0;               // 0: none; c: scores become c tanh(score / c)
  const Vector* slopes = nullptr;  // [heads] of ALiBi; null: none
  const Vector* sinks =
      nullptr;  // [heads] a score that takes part in the softmax and has no value; null: none
  SlopeKind slope_kind = SlopeKind::relative;
  float slope_factor = 1.0f;

  /// The first position that `position` sees.
  int64_t first_seen(int64_t position) const {
    const int64_t in_window = window > 0 ? position - window + 1 : 0;
    const int64_t in_chunk = chunk > 0 ? position / chunk * chunk : 0;
    return in_window > in_chunk ? in_window : in_chunk;
  }
};

/// The gated delta rule (arXiv 2412.06464) behind a short convolution. For each row, c running over the channels, those of
/// queries, keys and values one behind the other, x what the Linears give, 0 before position 0:
///   y[c]  = silu(sum_i conv[c][i] x_(p - kernel + 1 + i)[c])
/// and for each head h of values, v of y, q and k those of head h / (heads / key_heads) of y, each divided by
/// sqrt(its squared length + 1e-6), S a state [key_dim, value_dim] that begins with 0, softplus(x) = ln(1 + e^x):
///   S     = exp(-exp(a_log) softplus(decay + dt_bias)) S
///   S    += k (sigmoid(beta) (v - k^T S))^T
///   out   = q^T S / sqrt(key_dim)
struct DeltaParams {
  int64_t heads = 0, key_heads = 0, key_dim = 0, value_dim = 0;
  int64_t kernel = 1;
  const Vector* conv = nullptr;                       // [channels, kernel]
  const Vector *a_log = nullptr, *dt_bias = nullptr;  // [heads]

  int64_t channels() const { return 2 * key_heads * key_dim + heads * value_dim; }
  /// Elements that a sequence's state has: S of each head, and what the convolution sees of earlier rows.
  int64_t state() const { return heads * key_dim * value_dim + (kernel - 1) * channels(); }
};

/// Execution on the device, in order, for one thread at a time. Ops throw Error(Status::cancelled) soon after the
/// flag given at creation becomes true; what they were writing is then undefined, everything else intact.
/// Host memory that an op is given (spans, RopeRows, problems) may be changed or freed as soon as the op returns.
class Stream {
 public:
  virtual ~Stream() = default;

  /// Bytes of one activation element.
  virtual size_t element_bytes() const = 0;
  virtual std::unique_ptr<Memory> allocate(size_t bytes) = 0;
  /// Until all that was asked for is done, cancelled or not. Ops that give something to the host have waited by themselves.
  virtual void wait() {}
  /// Whether activations are in the host's memory, where all of a matrix is as near as what an op finds in it.
  virtual bool in_host_memory() const { return true; }
  /// Host floats <-> activations, converting to and from the backend's element type.
  virtual void upload(const float* host, Matrix out) = 0;
  virtual void download(Matrix x, float* host) = 0;
  /// out = x, of the same shape; they do not overlap.
  virtual void copy(Matrix x, Matrix out) = 0;

  /// Calls `ops`, which asks for all that a step of so many rows is, as one thing: a backend may gather the ops and begin
  /// them together when it returns. What throws ends the step, as it does an op.
  virtual void step(int64_t rows, const std::function<void()>& ops) {
    static_cast<void>(rows);
    ops();
  }

  /// out[i] = row ids[i] of the table's weight matrix (bias ignored). Ids are checked by the caller.
  virtual void embed(const Linear& table, std::span<const int32_t> ids, Matrix out) = 0;
  /// out = norm(x) * weight + bias over each row; bias may be null. out may be x. Weight and bias may be n times as long
  /// as a row: row i then takes the part i mod n.
  virtual void norm(Norm kind, Matrix x, const Vector& weight, const Vector* bias, float eps, Matrix out) = 0;
  /// x += factor y, then out = norm(x): add() and norm(), in one go where the backend gains by it.
  virtual void add_norm(Matrix x, Matrix y, float factor, Norm kind, const Vector& weight, const Vector* bias,
                        float eps, Matrix out) {
    add(x, y, factor);
    norm(kind, x, weight, bias, eps, out);
  }
  /// y = x W^T + b. x [M, in], y [M, out]; they do not overlap.
  virtual void linear(const Linear& w, Matrix x, Matrix y) = 0;
  /// linear() of each, in one go where the backend gains by it.
  virtual void linears(Matrix x, std::span<const Projection> projections) {
    for (const Projection& p : projections) linear(*p.w, x, p.y);
  }
  /// For each projection: the rows of y that are entries of expert e are linear() of w[e] and the same rows of x. Both have
  /// a row for each entry.
  virtual void linear_parts(Matrix x, const Routing& routing,
                            std::span<const PartsProjection> projections) = 0;
  /// Rotates q [M, heads * key_dim] in place; rotates k [M, kv_heads * key_dim] in place and stores it, with
  /// v [M, kv_heads * value_dim], at (sequence, position) of `layer`. The cache has room (reserve()).
  virtual void rope_store(const RopeRows& rope, std::span<const Row> rows, Matrix q, Matrix k, Matrix v,
                          KvCache& cache, int64_t layer) = 0;
  /// Rotates the heads of x [M, heads * head_dim] in place.
  virtual void rotate(const RopeRows& rope, Matrix x, int64_t head_dim) = 0;
  /// out [M, heads * (m + n)]: each head is that of a [M, heads * m] followed by that of b [M, heads * n], or by the one
  /// of b [M, n].
  virtual void join_heads(Matrix a, Matrix b, int64_t heads, Matrix out) = 0;
  /// out [M, heads * value_dim] = softmax(scale q K^T) V, each row over positions <= its own, within window and chunk.
  virtual void attention(const AttentionParams& params, std::span<const Row> rows, Matrix q,
                         const KvCache& cache, int64_t layer, Matrix out) = 0;
  /// As DeltaParams says: q and k [M, key_heads * key_dim], v and out [M, heads * value_dim], beta and decay [M, heads].
  /// q, k and v are overwritten. Rows of a sequence stand side by side, from the first position on that its state has not
  /// seen: Status::internal otherwise, also when a step is taken twice.
  virtual void delta_rule(const DeltaParams& params, std::span<const Row> rows, Matrix q, Matrix k, Matrix v,
                          Matrix beta, Matrix decay, KvCache& cache, int64_t layer, Matrix out) = 0;
  /// out = act(gate) * up, or act(gate) when up is null. out may be gate, or up.
  virtual void activate(const Activation& act, Matrix gate, const Matrix* up, Matrix out) = 0;
  /// x += factor y
  virtual void add(Matrix x, Matrix y, float factor = 1.0f) = 0;
  /// x = 0
  virtual void clear(Matrix x) = 0;
  /// x *= factor
  virtual void scale(Matrix x, float factor) = 0;
  /// Row i of x times factors[i].
  virtual void scale_rows(Matrix x, std::span<const float> factors) = 0;
  /// The same, of factors [rows, 1].
  virtual void scale_rows(Matrix x, Matrix factors) = 0;
  /// x = min(max(x, -limit), limit)
  virtual void clamp(Matrix x, float limit) = 0;
  /// x = cap tanh(x / cap)
  virtual void softcap(Matrix x, float cap) = 0;
  /// The `count` <= x.cols, kMostLargest largest elements of each row, out [rows, count]: of equals, as -0 and 0 are, the one
  /// of the lower column comes first, and what is no number before all numbers. In a step, `out` has them once that returns.
  virtual void largest(Matrix x, int64_t count, std::span<Ranked> out) = 0;
  /// out[i] = the sum of exp((x - m) / temperatures[i]) over row i, m being its largest element, in double: something only
  /// where m is finite and all others are numbers. In a step, as largest().
  virtual void exp_sums(Matrix x, std::span<const double> temperatures, std::span<double> out) = 0;

  /// Row i of out is row rows[i] of x.
  virtual void gather(Matrix x, std::span<const int32_t> rows, Matrix out) = 0;

  // Mixtures of experts. A routing is for the stream that made it.
  /// From what a router gives, scores [M, experts]. Ties go to the lower number; chosen <= experts.
  virtual void route(const RouterParams& params, Matrix scores, Routing& routing) = 0;
  /// The lists of a routing to the host's memory, which waits for them.
  virtual void fetch(Routing& routing) { static_cast<void>(routing); }
  /// Row i of out is the row of x that is entry i.
  virtual void gather(Matrix x, const Routing& routing, Matrix out) = 0;
  /// Row i of x times the weight of entry i.
  virtual void weigh(Matrix x, const Routing& routing) = 0;
  /// The row of x that is entry i += row i of y, times the entry's weight if so asked, in the order of i.
  virtual void scatter_add(Matrix x, const Routing& routing, Weigh weigh, Matrix y) = 0;

  // Quantization
  virtual std::unique_ptr<Hessian> create_hessian(int64_t size) = 0;
  /// H += X^T X over the rows of x [M, size].
  virtual void hessian_add(Matrix x, Hessian& hessian) = 0;
  virtual std::vector<float> hessian_diagonal(const Hessian& hessian) = 0;
  virtual std::unique_ptr<Drift> create_drift(int64_t rows, int64_t cols) = 0;
  /// D += (A0 - A)^T X over the rows of a0 and a [M, rows] and x [M, cols].
  virtual void drift_add(Matrix a0, Matrix a, Matrix x, Drift& drift) = 0;
  /// U of H' where H'[i][j] = H[order[i]][order[j]] + (i == j ? diagonal_add[i] : 0); null when H' is not positive
  /// definite in fp32. The Hessian itself is unchanged.
  virtual std::unique_ptr<Factor> factor(const Hessian& hessian, std::span<const int32_t> order,
                                         std::span<const float> diagonal_add) = 0;
  /// W += (a W D + b E) H'^-1 for weights W, rows [first_row, first_row + rows) of a matrix, in the factor's order, which
  /// is `order`; D and E are the drifts, a and b the parts of them. With both 1: the weights whose outputs on X, with the
  /// residual stream as it is, are nearest to those of W on X0 with the original stream, in least squares damped as H' is
  /// (arXiv 2504.09629 for D).
  virtual void retarget(const Factor& factor, const Drifts& drifts, const DriftParts& parts,
                        std::span<const int32_t> order, int64_t first_row, int64_t rows, float* weights) = 0;
  /// From now on solve() spreads each weight's share of the drift over later columns, too: GPTAQ (arXiv 2504.02692),
  /// by P = alpha triu(D U^T, 1) U.
  virtual void spread_drift(Factor& factor, const Drift& drift, std::span<const int32_t> order,
                            double alpha) = 0;
  /// GPTQ (arXiv 2210.17323): columns left to right, each rounded and its error spread over later columns by U.
  /// A null factor rounds to nearest without feedback (row_loss is then the plain squared error / 2).
  virtual void solve(const Factor* factor, const SolveParams& params, SolveProblem& problem) = 0;
  /// Makes (W - Q) H' (W - Q)^T less, row by row, by changing one code at a time (see RefineParams).
  virtual void refine(const Hessian& hessian, std::span<const int32_t> order,
                      std::span<const float> diagonal_add, const RefineParams& params,
                      RefineProblem& problem) = 0;
  /// retarget(), solve() and refine() of some rows, one behind the other, as far as the problem asks for them. A null factor
  /// as for solve(). Where a weight is no number nothing is made, and row * cols + column of the first one is returned, by row
  /// and then by the order of processing.
  [[nodiscard]] virtual std::optional<int64_t> quantize_rows(const Hessian& hessian, const Factor* factor,
                                                             const RowsProblem& problem) = 0;
};

enum class Compute : uint8_t {
  exact,  // fp32 activations and accumulation
  fast,   // for running models: whatever the backend finds fastest within its stated error
  calibration,  // for quantizing them: as fast, but products near enough to exact ones for weights of 8 bits to show no trace
  coarse_calibration,  // likewise for weights of up to 4 bits: both sides of products may be rounded to bf16
};

class Backend {
 public:
  virtual ~Backend() = default;

  /// "cpu (avx512)", for people.
  virtual std::string description() const = 0;
  /// Threads of the host that it computes with.
  virtual int threads() const = 0;
  /// A ParallelFor (base/parallel.h) on these threads; no flag cancels it.
  virtual void parallel_for(int64_t count, int64_t grain,
                            const std::function<void(int64_t begin, int64_t end)>& body) const = 0;
  /// Bytes of the device's own memory that are free now; none where it has no memory of its own, or can't tell.
  virtual std::optional<uint64_t> free_memory() const { return std::nullopt; }
  /// Weights that quantize_rows() should be given at a time: each takes some 24 bytes meanwhile. The same at any time.
  virtual int64_t weights_together() const { return int64_t{1} << 24; }
  /// `bias` is null or has `rows` elements. Dense weights are f32, f16 or bf16 [N, K]; the tensor's memory is kept
  /// and used in place where the backend can.
  virtual std::unique_ptr<Linear> prepare(const QTensor& weight, const Tensor* bias) const = 0;
  virtual std::unique_ptr<Linear> prepare(const Tensor& weight, const Tensor* bias) const = 0;
  virtual std::unique_ptr<Vector> prepare_vector(const Tensor& values) const = 0;

  /// Status::unsupported for elements that the backend does not have.
  virtual std::unique_ptr<KvCache> create_cache(const CacheShape& shape) const = 0;
  /// `cancel` may be null, else outlives the stream.
  virtual std::unique_ptr<Stream> create_stream(const std::atomic<bool>* cancel) const = 0;
};

struct BackendOptions {
  int threads = 0;      // 0: all CPUs available to the process
  Executor executor{};  // the host's threads, to be used instead of own ones
  Compute compute = Compute::exact;
};

/// "cpu" (also ""), "cuda" or "cuda:N", the latter by the plugin (backend/plugin.h). Throws as check_device() does.
std::shared_ptr<const Backend> create_backend(std::string_view device, const BackendOptions& options);

/// One of a list: "cpu", "cuda:1".
struct ListedDevice {
  std::string name;
  std::shared_ptr<const Backend> backend;
};

/// A list of devices, "cuda:0,cpu", in its order; one that comes twice has the same backend both times. All names are looked
/// at before the first device is opened. A name alone is a list of one.
std::vector<ListedDevice> create_backends(std::string_view devices, const BackendOptions& options);

/// Throws Error saying why a device, or one of a list, can't be used: Status::invalid_argument for a name or number that
/// is not known, ::not_found and ::unsupported for what is wrong with the plugin, ::device for the driver and the device
/// itself.
void check_device(std::string_view devices);

/// How many devices a list has: one more than commas.
size_t device_count(std::string_view devices);

/// Defined by src/cpu; the registry knows no more of it than this.
std::shared_ptr<const Backend> create_cpu_backend(const BackendOptions& options);

}  // namespace gptq
