// The GPU's Stream: ops on bf16 activations in the device's memory, as kernels.h has them. Methods are defined in
// stream_cuda.cpp; products with weights in linears.cpp, mixtures of experts in experts.cpp, what is for quantization in
// quantization.cpp.
//
// What an op needs of the host's memory goes to `scratch_` of the device, which the next op overwrites: the queue's order
// keeps them apart. While a step is written down (step_queue.h) it goes to the step's block instead, where it stays to the
// end. Memory that written ops have is not given back before they are done: StepQueue::run_now(). What an op gives the host
// comes when the step is done, where nothing in the step waits for it (results_).
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <tuple>
#include <vector>

#include "backend/backend.h"
#include "base/error.h"
#include "cuda/attention.h"
#include "cuda/cusolver.h"
#include "cuda/kv_cache_cuda.h"
#include "cuda/library_products.h"
#include "cuda/linear_cuda.h"
#include "cuda/loader.h"
#include "cuda/step_queue.h"

namespace gptq::cuda {

inline constexpr Element kElement = Element::bf16;

inline int64_t elements(Matrix x) { return x.rows * x.cols; }
/// Whether kernels can have a matrix where it is (kernels.h), and where that is: Status::internal where they can't.
bool is_aligned(Matrix x);
std::byte* data_of(Matrix x);

/// What all streams of a backend share.
struct Shared {
  std::shared_ptr<Loader> loader;
  std::shared_ptr<const Backend> cpu;         // does what has no kernel
  std::shared_ptr<MathLibrary> blas, solver;  // where they are there, they do what is large
  AttentionLimits limits;
};

class CudaStream final : public Stream {
 public:
  CudaStream(std::shared_ptr<const Shared> shared, const std::atomic<bool>* cancel);

  size_t element_bytes() const override { return kElementBytes; }
  bool in_host_memory() const override { return false; }
  std::unique_ptr<Memory> allocate(size_t bytes) override;
  void wait() override;
  void upload(const float* host, Matrix out) override;
  void download(Matrix x, float* host) override;
  void copy(Matrix x, Matrix out) override;
  void step(int64_t rows, const std::function<void()>& ops) override;

  void embed(const Linear& table, std::span<const int32_t> ids, Matrix out) override;
  void norm(Norm kind, Matrix x, const Vector& weight, const Vector* bias, float eps, Matrix out) override;
  void add_norm(Matrix x, Matrix y, float factor, Norm kind, const Vector& weight, const Vector* bias,
                float eps, Matrix out) override;
  void linear(const Linear& w, Matrix x, Matrix y) override;
  void linears(Matrix x, std::span<const Projection> projections) override;
  void linear_parts(Matrix x, const Routing& routing, std::span<const PartsProjection> projections) override;
  void rope_store(const RopeRows& rope, std::span<const Row> rows, Matrix q, Matrix k, Matrix v,
                  KvCache& cache, int64_t layer) override;
  void rotate(const RopeRows& rope, Matrix x, int64_t head_dim) override;
  void join_heads(Matrix a, Matrix b, int64_t heads, Matrix out) override;
  void attention(const AttentionParams& params, std::span<const Row> rows, Matrix q, const KvCache& cache,
                 int64_t layer, Matrix out) override;
  void delta_rule(const DeltaParams& params, std::span<const Row> rows, Matrix q, Matrix k, Matrix v,
                  Matrix beta, Matrix decay, KvCache& cache, int64_t layer, Matrix out) override;
  void activate(const Activation& act, Matrix gate, const Matrix* up, Matrix out) override;
  void add(Matrix x, Matrix y, float factor) override;
  void clear(Matrix x) override;
  void scale(Matrix x, float factor) override;
  void scale_rows(Matrix x, std::span<const float> factors) override;
  void scale_rows(Matrix x, Matrix factors) override;
  void clamp(Matrix x, float limit) override;
  void softcap(Matrix x, float cap) override;
  void largest(Matrix x, int64_t count, std::span<Ranked> out) override;
  void exp_sums(Matrix x, std::span<const double> temperatures, std::span<double> out) override;
  void gather(Matrix x, std::span<const int32_t> rows, Matrix out) override;
  void route(const RouterParams& params, Matrix scores, Routing& routing) override;
  void fetch(Routing& routing) override;
  void gather(Matrix x, const Routing& routing, Matrix out) override;
  void weigh(Matrix x, const Routing& routing) override;
  void scatter_add(Matrix x, const Routing& routing, Weigh weigh, Matrix y) override;

  std::unique_ptr<Hessian> create_hessian(int64_t size) override;
  void hessian_add(Matrix x, Hessian& hessian) override;
  std::vector<float> hessian_diagonal(const Hessian& hessian) override;
  std::unique_ptr<Drift> create_drift(int64_t rows, int64_t cols) override;
  void drift_add(Matrix a0, Matrix a, Matrix x, Drift& drift) override;
  std::unique_ptr<Factor> factor(const Hessian& hessian, std::span<const int32_t> order,
                                 std::span<const float> diagonal_add) override;
  void retarget(const Factor& factor, const Drifts& drifts, const DriftParts& parts,
                std::span<const int32_t> order, int64_t first_row, int64_t rows, float* weights) override;
  void spread_drift(Factor& factor, const Drift& drift, std::span<const int32_t> order,
                    double alpha) override;
  void solve(const Factor* factor, const SolveParams& params, SolveProblem& problem) override;
  void refine(const Hessian& hessian, std::span<const int32_t> order, std::span<const float> diagonal_add,
              const RefineParams& params, RefineProblem& problem) override;
  std::optional<int64_t> quantize_rows(const Hessian& hessian, const Factor* factor,
                                       const RowsProblem& problem) override;

 private:
  /// Throws once the flag is set.
  void check_cancel() const;
  /// Between launches of an op that takes many: throws likewise, and waits where too much is ahead of the device.
  void pause();
  /// Ahead of launches for so many rows. What is ahead of the device, and keeps a cancel waiting, is no more for large batches.
  void pace(int64_t rows);
  /// Begins an op; throws likewise.
  Turn begin();
  /// Of at least that size; what was in it is lost.
  std::byte* scratch(size_t bytes);
  /// So many bytes of it, and behind them copies of the spans.
  template <class... T>
  std::tuple<std::byte*, const T*...> send_behind(size_t bytes, std::span<const T>... spans);
  /// Copies of the spans in the scratch memory.
  template <class... T>
  std::tuple<const T*...> send(std::span<const T>... spans);
  /// What `allocate` gives. Where the device has no more memory for it, what this stream has only to be faster is given back,
  /// and it is tried once more.
  template <class Allocate>
  auto needed(const Allocate& allocate);
  bool gives_back();
  /// Memory of the device; a copy of what the host has.
  Block room(size_t bytes);
  Block copy_of(const void* host, size_t bytes);
  template <class T>
  Block copy_of(std::span<const T> values) {
    return copy_of(values.data(), values.size_bytes());
  }
  /// Rows that are quantized, in the device's memory, as SolveProblem has them; `loss` only where it is wanted.
  struct RowsThere {
    int64_t rows = 0, cols = 0, groups = 0;
    Block weights{}, codes{}, scales{}, zeros{}, loss{};
  };
  RowsThere room_for_rows(int64_t rows, int64_t cols, int64_t groups);
  // The ops of these names there. retarget() and solve() change the weights; refine() makes its residual of the `target`.
  void retarget_there(const Factor& factor, const Drifts& drifts, const DriftParts& parts,
                      std::span<const int32_t> order, int64_t first_row, int64_t rows, const Block& weights);
  void solve_there(const Factor* factor, const SolveParams& params, std::span<const int32_t> group_of,
                   const RowsThere& rows);
  void refine_there(const Hessian& hessian, std::span<const int32_t> order,
                    std::span<const float> diagonal_add, const RefineParams& params,
                    std::span<const int32_t> group_of, std::span<const int32_t> stored, const Block& target,
                    const RowsThere& rows);
  /// The problem's weights in the order of processing; nothing where one is no number.
  Block weights_there(const RowsProblem& problem, const int32_t* order);
  std::vector<DeltaRun> delta_runs(std::span<const Row> rows, CudaKvCache& cache, int64_t layer);
  /// In one go.
  void attend(const AttentionView& view, const AttentionParams& params, std::span<const Row> rows, Matrix q,
              const KvCache& cache, int64_t layer, Matrix out);
  /// For heads that are too large for the kernel.
  void attention_on_cpu(const AttentionParams& params, std::span<const Row> rows, Matrix q,
                        const KvCache& cache, int64_t layer, Matrix out);
  static NormArguments norm_of(Norm kind, Matrix x, const Vector& weight, const Vector* bias, float eps,
                               Matrix out);
  /// x, or a copy of it (one of three) where it begins at no multiple of 16 bytes, as a part of a matrix may whose rows are
  /// no multiple of 8 elements; and back. Of published models logits alone have such rows.
  Matrix beside(Matrix x, size_t place);
  /// What a step finds for the host, and how it gets there: what is in a block, or what the states of a cache's layer have
  /// seen once all is begun.
  struct ResultOf {
    const void* of;
    int64_t layer = 0;
    bool operator==(const ResultOf&) const = default;
  };
  struct Result {
    ResultOf of;
    std::function<void()> fetch;
  };
  /// The block for a result of so many bytes; what is there is fetched before.
  std::byte* room_for_result(Block& block, size_t bytes);
  /// The result in it is fetched, now or once what is written down is done.
  void give_result(const ResultOf& of, std::function<void()> fetch);
  /// If it is one of what is written down, that is done now.
  void take_result(const ResultOf& of);
  void take_results();
  /// The block, of at least that size; what was in it is lost.
  std::byte* grown(Block& block, size_t bytes);
  void put_back(Matrix copy, Matrix x);
  /// Of one width and one order.
  void multiply_by(const Queue& queue, std::span<const Product> products, Matrix x);
  /// Weights of all rows.
  void multiply_by_parts(const Queue& queue, std::span<const LinearPart> parts, Matrix x);
  /// What linear_parts() was asked, and its lines of parts in the device's memory, where they stay: they are the same from
  /// step to step, and as many bytes as a step's block has no room for.
  struct KeptParts {
    std::vector<const Linear*> linears;  // of one projection behind the other
    std::vector<std::byte*> outputs;
    struct Line {
      LinearParts line;
      Block there;
    };
    std::vector<Line> lines;
  };
  const KeptParts& parts_of(std::span<const PartsProjection> projections);
  void add_lines(KeptParts& kept, std::vector<LinearPart>& parts);
  void multiply_line(const Queue& queue, const KeptParts::Line& line, const Routing& routing, Matrix x);
  /// scratch_of_product() bytes, as multiply() wants them.
  void* product_scratch(const Queue& queue);
  /// A matrix in the CPU backend's memory, `values`; and back.
  Matrix to_cpu(Matrix x, std::vector<float>& values);

  std::shared_ptr<const Shared> shared_;
  const std::atomic<bool>* cancel_;
  std::unique_ptr<StepQueue> queue_;
  LibraryProducts library_products_;
  Cusolver solver_;
  Block scratch_, product_, beside_[3];
  std::vector<KeptParts> kept_parts_;
  size_t next_parts_ = 0;        // where the next ones are, if all comes as it came before
  uint64_t linears_gone_ = 0;    // when they were kept
  Block largest_, exp_sums_;     // what these ops find, until the host has it
  std::vector<Result> results_;  // of the step that is written down
  std::unique_ptr<Stream> cpu_;
};

template <class... T>
std::tuple<std::byte*, const T*...> CudaStream::send_behind(size_t bytes, std::span<const T>... spans) {
  const size_t sent = (size_t{0} + ... + aligned(spans.size_bytes()));
  std::byte* first = scratch(bytes);
  if (queue_->keeps(sent))
    return {first, reinterpret_cast<const T*>(queue_->keep(spans.data(), spans.size_bytes()))...};
  first = scratch(aligned(bytes) + sent);
  std::byte* next = first + aligned(bytes);
  const auto copied = [&](auto span) {
    std::byte* const to = next;
    queue_->upload(to, span.data(), span.size_bytes());
    next += aligned(span.size_bytes());
    return reinterpret_cast<decltype(span.data())>(to);
  };
  return {first, copied(spans)...};
}

template <class... T>
std::tuple<const T*...> CudaStream::send(std::span<const T>... spans) {
  return std::apply([](std::byte*, const T*... sent) { return std::tuple(sent...); },
                    send_behind(0, spans...));
}

template <class Allocate>
auto CudaStream::needed(const Allocate& allocate) {
  try {
    return allocate();
  } catch (const Error& error) {
    if (error.status() != Status::out_of_memory || !gives_back()) throw;
  }
  return allocate();
}

}  // namespace gptq::cuda
