#include "backend/trace.h"

#include "backend/trace_cost.h"
#include "base/json_writer.h"
#include "base/text.h"

namespace gptq {
namespace {

/// Its steps are done op by op, so that each has its own time.
class TracedStream final : public Stream {
 public:
  TracedStream(std::unique_ptr<Stream> stream, std::shared_ptr<TraceFile> file)
      : stream_(std::move(stream)), file_(std::move(file)), cost_(stream_->element_bytes()) {}
  TracedStream(const TracedStream&) = delete;
  TracedStream& operator=(const TracedStream&) = delete;
  ~TracedStream() override { file_->flush(); }

  size_t element_bytes() const override { return stream_->element_bytes(); }
  bool in_host_memory() const override { return stream_->in_host_memory(); }
  std::unique_ptr<Memory> allocate(size_t bytes) override { return stream_->allocate(bytes); }
  void wait() override { stream_->wait(); }

  void upload(const float* host, Matrix out) override {
    const Op op(*this, "upload", cost_.copy(out));
    stream_->upload(host, out);
  }
  void download(Matrix x, float* host) override {
    const Op op(*this, "download", cost_.copy(x));
    stream_->download(x, host);
  }
  void copy(Matrix x, Matrix out) override {
    const Op op(*this, "copy", cost_.elementwise({x, out}));
    stream_->copy(x, out);
  }
  void embed(const Linear& table, std::span<const int32_t> ids, Matrix out) override {
    const Op op(*this, "embed", cost_.embed(table, out));
    stream_->embed(table, ids, out);
  }
  void norm(Norm kind, Matrix x, const Vector& weight, const Vector* bias, float eps, Matrix out) override {
    const Op op(*this, "norm", cost_.elementwise({x, out}));
    stream_->norm(kind, x, weight, bias, eps, out);
  }
  void add_norm(Matrix x, Matrix y, float factor, Norm kind, const Vector& weight, const Vector* bias,
                float eps, Matrix out) override {
    const Op op(*this, "add_norm", cost_.elementwise({x, x, y, out}));
    stream_->add_norm(x, y, factor, kind, weight, bias, eps, out);
  }
  void linear(const Linear& w, Matrix x, Matrix y) override {
    const Projection one{&w, y};
    const Op op(*this, "linear", cost_.linears(x, {&one, 1}));
    stream_->linear(w, x, y);
  }
  void linears(Matrix x, std::span<const Projection> projections) override {
    const Op op(*this, "linear", cost_.linears(x, projections));
    stream_->linears(x, projections);
  }
  void linear_parts(Matrix x, const Routing& routing, std::span<const PartsProjection> projections) override {
    const Op op(*this, "linear_parts", cost_.linear_parts(x, routing, projections));
    stream_->linear_parts(x, routing, projections);
  }
  void rope_store(const RopeRows& rope, std::span<const Row> rows, Matrix q, Matrix k, Matrix v,
                  KvCache& cache, int64_t layer) override {
    const Op op(*this, "rope_store", cost_.elementwise({q, q, k, k, v, v}));
    stream_->rope_store(rope, rows, q, k, v, cache, layer);
  }
  void rotate(const RopeRows& rope, Matrix x, int64_t head_dim) override {
    const Op op(*this, "rotate", cost_.elementwise({x, x}));
    stream_->rotate(rope, x, head_dim);
  }
  void join_heads(Matrix a, Matrix b, int64_t heads, Matrix out) override {
    const Op op(*this, "join_heads", cost_.elementwise({a, b, out}));
    stream_->join_heads(a, b, heads, out);
  }
  void attention(const AttentionParams& params, std::span<const Row> rows, Matrix q, const KvCache& cache,
                 int64_t layer, Matrix out) override {
    const Op op(*this, "attention", cost_.attention(params, rows, q, cache.position_bytes(layer), out));
    stream_->attention(params, rows, q, cache, layer, out);
  }
  void delta_rule(const DeltaParams& params, std::span<const Row> rows, Matrix q, Matrix k, Matrix v,
                  Matrix beta, Matrix decay, KvCache& cache, int64_t layer, Matrix out) override {
    const Op op(*this, "delta_rule", cost_.delta_rule(params, rows, {q, k, v, beta, decay, out}));
    stream_->delta_rule(params, rows, q, k, v, beta, decay, cache, layer, out);
  }
  void activate(const Activation& act, Matrix gate, const Matrix* up, Matrix out) override {
    const Op op(*this, "activate", up ? cost_.elementwise({gate, *up, out}) : cost_.elementwise({gate, out}));
    stream_->activate(act, gate, up, out);
  }
  void add(Matrix x, Matrix y, float factor) override {
    const Op op(*this, "add", cost_.elementwise({x, x, y}));
    stream_->add(x, y, factor);
  }
  void clear(Matrix x) override {
    const Op op(*this, "clear", cost_.elementwise({x}));
    stream_->clear(x);
  }
  void scale(Matrix x, float factor) override {
    const Op op(*this, "scale", cost_.elementwise({x, x}));
    stream_->scale(x, factor);
  }
  void scale_rows(Matrix x, std::span<const float> factors) override {
    const Op op(*this, "scale_rows", cost_.elementwise({x, x}));
    stream_->scale_rows(x, factors);
  }
  void scale_rows(Matrix x, Matrix factors) override {
    const Op op(*this, "scale_rows", cost_.elementwise({x, x, factors}));
    stream_->scale_rows(x, factors);
  }
  void clamp(Matrix x, float limit) override {
    const Op op(*this, "clamp", cost_.elementwise({x, x}));
    stream_->clamp(x, limit);
  }
  void softcap(Matrix x, float cap) override {
    const Op op(*this, "softcap", cost_.elementwise({x, x}));
    stream_->softcap(x, cap);
  }
  void largest(Matrix x, int64_t count, std::span<Ranked> out) override {
    const Op op(*this, "largest", cost_.elementwise({x}));
    stream_->largest(x, count, out);
  }
  void exp_sums(Matrix x, std::span<const double> temperatures, std::span<double> out) override {
    const Op op(*this, "exp_sums", cost_.elementwise({x}));
    stream_->exp_sums(x, temperatures, out);
  }
  void gather(Matrix x, std::span<const int32_t> rows, Matrix out) override {
    const Op op(*this, "gather", cost_.elementwise({out, out}));
    stream_->gather(x, rows, out);
  }
  void route(const RouterParams& params, Matrix scores, Routing& routing) override {
    const Op op(*this, "route", cost_.elementwise({scores}));
    stream_->route(params, scores, routing);
  }
  void fetch(Routing& routing) override {
    if (routing.known()) return;
    const Op op(*this, "fetch", {});
    stream_->fetch(routing);
  }
  void gather(Matrix x, const Routing& routing, Matrix out) override {
    const Op op(*this, "gather", cost_.elementwise({out, out}));
    stream_->gather(x, routing, out);
  }
  void weigh(Matrix x, const Routing& routing) override {
    const Op op(*this, "weigh", cost_.elementwise({x, x}));
    stream_->weigh(x, routing);
  }
  void scatter_add(Matrix x, const Routing& routing, Weigh weigh, Matrix y) override {
    const Op op(*this, "scatter_add", cost_.elementwise({y, y, y}));
    stream_->scatter_add(x, routing, weigh, y);
  }

  std::unique_ptr<Hessian> create_hessian(int64_t size) override { return stream_->create_hessian(size); }
  void hessian_add(Matrix x, Hessian& hessian) override {
    const Op op(*this, "hessian_add", cost_.hessian_add(x));
    stream_->hessian_add(x, hessian);
  }
  std::vector<float> hessian_diagonal(const Hessian& hessian) override {
    return stream_->hessian_diagonal(hessian);
  }
  std::unique_ptr<Drift> create_drift(int64_t rows, int64_t cols) override {
    return stream_->create_drift(rows, cols);
  }
  void drift_add(Matrix a0, Matrix a, Matrix x, Drift& drift) override {
    const Op op(*this, "drift_add", cost_.drift_add(a0, a, x));
    stream_->drift_add(a0, a, x, drift);
  }
  std::unique_ptr<Factor> factor(const Hessian& hessian, std::span<const int32_t> order,
                                 std::span<const float> diagonal_add) override {
    const Op op(*this, "factor", cost_.factor(hessian.size()));
    return stream_->factor(hessian, order, diagonal_add);
  }
  void retarget(const Factor& factor, const Drifts& drifts, const DriftParts& parts,
                std::span<const int32_t> order, int64_t first_row, int64_t rows, float* weights) override {
    const Op op(*this, "retarget", cost_.retarget(drifts, rows, factor.size()));
    stream_->retarget(factor, drifts, parts, order, first_row, rows, weights);
  }
  void spread_drift(Factor& factor, const Drift& drift, std::span<const int32_t> order,
                    double alpha) override {
    const Op op(*this, "spread_drift", cost_.spread_drift(factor.size()));
    stream_->spread_drift(factor, drift, order, alpha);
  }
  void solve(const Factor* factor, const SolveParams& params, SolveProblem& problem) override {
    const Op op(*this, "solve", cost_.solve(factor != nullptr, problem.rows, problem.cols));
    stream_->solve(factor, params, problem);
  }
  void refine(const Hessian& hessian, std::span<const int32_t> order, std::span<const float> diagonal_add,
              const RefineParams& params, RefineProblem& problem) override {
    const Op op(*this, "refine", cost_.refine(params.sweeps, problem.rows, problem.cols));
    stream_->refine(hessian, order, diagonal_add, params, problem);
  }
  /// Its parts are ops. Of a device that is behind its host, some of a part's time is the next one's.
  std::optional<int64_t> quantize_rows(const Hessian& hessian, const Factor* factor,
                                       const RowsProblem& problem) override {
    const int64_t rows = problem.rows, cols = problem.cols;
    std::optional<Op> op;
    if (problem.drifts != nullptr) op.emplace(*this, "retarget", cost_.retarget(*problem.drifts, rows, cols));
    RowsProblem traced = problem;
    traced.moved = [&] {
      op.emplace(*this, "solve", cost_.solve(factor != nullptr, rows, cols));
      problem.moved();
    };
    traced.solved = [&] {
      op.reset();
      problem.solved();
      if (problem.refine.sweeps > 0)
        op.emplace(*this, "refine", cost_.refine(problem.refine.sweeps, rows, cols));
    };
    return stream_->quantize_rows(hessian, factor, traced);
  }

 private:
  /// From its making to its end, also where that is an exception.
  class Op {
   public:
    Op(const TracedStream& stream, const char* name, const OpCost& cost)
        : file_(*stream.file_), name_(name), cost_(cost), begin_(TraceFile::now()) {}
    Op(const Op&) = delete;
    Op& operator=(const Op&) = delete;
    ~Op() {
      const int64_t end = TraceFile::now();
      try {
        file_.add(name_, begin_, end, args());
      } catch (...) {  // no memory for a line of the trace: the line is lost
      }
    }

   private:
    std::string args() const {
      JsonWriter args;
      args.begin_object();
      args.member("rows", cost_.rows);
      args.member("bytes", cost_.bytes);
      args.member("flops", cost_.flops);
      if (cost_.inputs > 0) args.member("shape", cat(cost_.outputs, " x ", cost_.inputs));
      args.end_object();
      return args.take();
    }

    TraceFile& file_;
    const char* name_;
    OpCost cost_;
    int64_t begin_;
  };

  std::unique_ptr<Stream> stream_;
  std::shared_ptr<TraceFile> file_;
  CostModel cost_;
};

class TracedBackend final : public Backend {
 public:
  TracedBackend(std::shared_ptr<const Backend> backend, std::shared_ptr<TraceFile> file)
      : backend_(std::move(backend)), file_(std::move(file)) {}
  ~TracedBackend() override { file_->flush(); }

  std::string description() const override { return backend_->description(); }
  int threads() const override { return backend_->threads(); }
  void parallel_for(int64_t count, int64_t grain,
                    const std::function<void(int64_t, int64_t)>& body) const override {
    backend_->parallel_for(count, grain, body);
  }
  std::optional<uint64_t> free_memory() const override { return backend_->free_memory(); }
  int64_t weights_together() const override { return backend_->weights_together(); }
  std::unique_ptr<Linear> prepare(const QTensor& weight, const Tensor* bias) const override {
    return backend_->prepare(weight, bias);
  }
  std::unique_ptr<Linear> prepare(const Tensor& weight, const Tensor* bias) const override {
    return backend_->prepare(weight, bias);
  }
  std::unique_ptr<Vector> prepare_vector(const Tensor& values) const override {
    return backend_->prepare_vector(values);
  }
  std::unique_ptr<KvCache> create_cache(const CacheShape& shape) const override {
    return backend_->create_cache(shape);
  }
  std::unique_ptr<Stream> create_stream(const std::atomic<bool>* cancel) const override {
    return std::make_unique<TracedStream>(backend_->create_stream(cancel), file_);
  }

 private:
  std::shared_ptr<const Backend> backend_;
  std::shared_ptr<TraceFile> file_;
};

}  // namespace

std::shared_ptr<const Backend> trace(std::shared_ptr<const Backend> backend,
                                     std::shared_ptr<TraceFile> file) {
  return std::make_shared<TracedBackend>(std::move(backend), std::move(file));
}

}  // namespace gptq
