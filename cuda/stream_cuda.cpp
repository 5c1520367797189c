#include "cuda/stream_cuda.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"

namespace gptq::cuda {
namespace {

constexpr int64_t kChunkElements = 1 << 20;  // of a matrix on its way to or from the host
constexpr int kBusyBlocks = 2;               // of attention on a processor
/// Of a product: what is ahead of the device must end within a cancel's 50 ms.
constexpr int64_t kPacedRows = 512;

class DeviceMemory final : public Memory {
 public:
  DeviceMemory(std::shared_ptr<Device> device, size_t bytes) : block_(std::move(device), bytes) {}
  std::byte* data() override { return block_.as<std::byte>(); }
  size_t bytes() const override { return block_.bytes(); }

 private:
  Block block_;
};

}  // namespace

CudaStream::CudaStream(std::shared_ptr<const Shared> shared, const std::atomic<bool>* cancel)
    : shared_(std::move(shared)),
      cancel_(cancel),
      queue_(std::make_unique<StepQueue>(shared_->loader->device())),
      library_products_(shared_->blas, shared_->loader->device(), *queue_, {}),
      solver_(shared_->solver, shared_->loader->device(), *queue_),
      cpu_(shared_->cpu->create_stream(cancel)) {}

void CudaStream::check_cancel() const {
  if (cancel_ != nullptr && cancel_->load(std::memory_order_relaxed))
    throw Error(Status::cancelled, "cancelled");
}

void CudaStream::pause() {
  check_cancel();
  queue_->pace();
}

void CudaStream::pace(int64_t rows) {
  // as many as may be ahead would be a wait for all that is
  const int64_t most = std::min(rows, kPacedRows * kMostAhead / 2);
  for (int64_t i = 0; i < most; i += kPacedRows) queue_->pace();
}

Turn CudaStream::begin() {
  check_cancel();
  return Turn(*queue_);
}

bool CudaStream::gives_back() {
  const bool products = library_products_.stop(), factors = solver_.stop();
  if (products || factors)
    log(LogLevel::info, "a stream goes on without cuBLAS and cuSOLVER: the GPU's memory is needed");
  return products || factors;
}

Block CudaStream::room(size_t bytes) {
  return needed([&] { return Block(shared_->loader->device(), bytes); });
}

std::byte* CudaStream::grown(Block& block, size_t bytes) {
  if (bytes > block.bytes()) {
    if (block.bytes() > 0) queue_->run_now();
    block = {};
    block = room(bytes);
  }
  return block.as<std::byte>();
}

std::byte* CudaStream::scratch(size_t bytes) {
  return bytes > scratch_.bytes() ? grown(scratch_, std::max(bytes, size_t{1} << 20))
                                  : scratch_.as<std::byte>();
}

void CudaStream::take_result(const ResultOf& of) {
  if (std::none_of(results_.begin(), results_.end(), [&](const Result& r) { return r.of == of; })) return;
  queue_->run_now();
  take_results();
}

std::byte* CudaStream::room_for_result(Block& block, size_t bytes) {
  take_result({&block});
  return grown(block, bytes);
}

void CudaStream::give_result(const ResultOf& of, std::function<void()> fetch) {
  if (queue_->writes()) {
    results_.push_back({of, std::move(fetch)});
  } else {
    fetch();
  }
}

void CudaStream::take_results() {
  for (const Result& result : results_) result.fetch();
  results_.clear();
}

std::unique_ptr<Memory> CudaStream::allocate(size_t bytes) {
  return needed([&] { return std::make_unique<DeviceMemory>(shared_->loader->device(), bytes); });
}

void CudaStream::wait() {
  const Turn turn(*queue_);
  queue_->wait();
}

void CudaStream::upload(const float* host, Matrix out) {
  for (int64_t i = 0; i < elements(out); i += kChunkElements) {
    const Turn turn = begin();
    const int64_t n = std::min(kChunkElements, elements(out) - i);
    const auto [values] = send(std::span<const float>(host + i, static_cast<size_t>(n)));
    narrow(turn.queue(), kElement, values, data_of(out) + static_cast<size_t>(i) * kElementBytes, n);
  }
}

void CudaStream::download(Matrix part, float* host) {
  const auto placed = [&] {
    const Turn turn = begin();
    return beside(part, 0);
  };
  const Matrix x = placed();
  for (int64_t i = 0; i < elements(x); i += kChunkElements) {
    const Turn turn = begin();
    const int64_t n = std::min(kChunkElements, elements(x) - i);
    const size_t bytes = static_cast<size_t>(n) * sizeof(float);
    auto* const values = reinterpret_cast<float*>(scratch(bytes));
    widen(turn.queue(), kElement, data_of(x) + static_cast<size_t>(i) * kElementBytes, values, n);
    queue_->download(host + i, values, bytes);
  }
}

void CudaStream::copy(Matrix x, Matrix out) {
  const Turn turn = begin();
  queue_->copy(out.data, x.data, static_cast<size_t>(elements(x)) * kElementBytes);
}

void CudaStream::step(int64_t rows, const std::function<void()>& ops) {
  if (rows > kMostStepRows) return ops();
  const Turn turn = begin();
  queue_->begin_step();
  try {
    ops();
    check_cancel();
    queue_->end_step();
    take_results();
  } catch (...) {
    queue_->drop_step();
    results_.clear();
    throw;
  }
}

void CudaStream::embed(const Linear& table, std::span<const int32_t> ids, Matrix out) {
  const Turn turn = begin();
  const auto [at] = send(ids);
  cuda::embed(turn.queue(), kElement, weights_of(table), at, static_cast<int64_t>(ids.size()), data_of(out));
}

NormArguments CudaStream::norm_of(Norm kind, Matrix x, const Vector& weight, const Vector* bias, float eps,
                                  Matrix out) {
  return {.kind = kind,
          .rows = x.rows,
          .cols = x.cols,
          .x = data_of(x),
          .weight = values_of(&weight),
          .bias = values_of(bias),
          .parts = x.cols > 0 ? std::max<int64_t>(weight.size() / x.cols, 1) : 1,
          .eps = eps,
          .out = data_of(out)};
}

void CudaStream::norm(Norm kind, Matrix x, const Vector& weight, const Vector* bias, float eps, Matrix out) {
  const Turn turn = begin();
  cuda::norm(turn.queue(), kElement, norm_of(kind, x, weight, bias, eps, out));
}

void CudaStream::add_norm(Matrix x, Matrix y, float factor, Norm kind, const Vector& weight,
                          const Vector* bias, float eps, Matrix out) {
  const Turn turn = begin();
  NormArguments arguments = norm_of(kind, x, weight, bias, eps, out);
  arguments.addend = data_of(y);
  arguments.factor = factor;
  arguments.sum = data_of(x);
  cuda::norm(turn.queue(), kElement, arguments);
}

void CudaStream::rope_store(const RopeRows& rope, std::span<const Row> rows, Matrix q, Matrix k, Matrix v,
                            KvCache& cache, int64_t layer) {
  const Turn turn = begin();
  const CacheView view = static_cast<CudaKvCache&>(cache).view(queue_->ahead(), layer);
  const size_t angles = rows.size() * static_cast<size_t>(rope.dim / 2);
  const auto [cos, sin, at] = send(std::span(rope.cos, angles), std::span(rope.sin, angles), rows);
  cuda::rope_store(turn.queue(), kElement, {cos, sin, rope.dim, rope.layout, rope.offset}, at,
                   static_cast<int64_t>(rows.size()), view.key_dim > 0 ? q.cols / view.key_dim : 0,
                   data_of(q), data_of(k), data_of(v), view);
}

void CudaStream::rotate(const RopeRows& rope, Matrix x, int64_t head_dim) {
  const Turn turn = begin();
  const size_t angles = static_cast<size_t>(x.rows * (rope.dim / 2));
  const auto [cos, sin] = send(std::span(rope.cos, angles), std::span(rope.sin, angles));
  cuda::rotate(turn.queue(), kElement, {cos, sin, rope.dim, rope.layout, rope.offset}, data_of(x), x.rows,
               x.cols / head_dim, head_dim);
}

void CudaStream::join_heads(Matrix a, Matrix b, int64_t heads, Matrix out) {
  const Turn turn = begin();
  const int64_t m = a.cols / heads, n = out.cols / heads - m;
  cuda::join_heads(turn.queue(), kElement, data_of(a), m, data_of(b), n,
                   b.cols == heads * n ? SharedTail::no : SharedTail::yes, heads, a.rows, data_of(out));
}

void CudaStream::attention(const AttentionParams& params, std::span<const Row> rows, Matrix q,
                           const KvCache& cache, int64_t layer, Matrix out) {
  if (std::max(params.key_dim, params.value_dim) > kMostHeadDim)
    return attention_on_cpu(params, rows, q, cache, layer, out);
  const AttentionView view{.heads = params.heads,
                           .scale = params.scale,
                           .window = params.window,
                           .chunk = params.chunk,
                           .softcap = params.softcap,
                           .slopes = values_of(params.slopes),
                           .sinks = values_of(params.sinks),
                           .slope_kind = params.slope_kind,
                           .slope_factor = params.slope_factor};
  const int64_t at_once = rows_of_attention(rows, view, shared_->limits);
  for (int64_t first = 0; first < q.rows; first += at_once) {
    const int64_t count = std::min(at_once, q.rows - first);
    const auto part = [&](Matrix m) {
      return Matrix{m.data + static_cast<size_t>(first * m.cols) * kElementBytes, count, m.cols};
    };
    attend(view, params, rows.subspan(static_cast<size_t>(first), static_cast<size_t>(count)), part(q), cache,
           layer, part(out));
  }
}

void CudaStream::attend(const AttentionView& view, const AttentionParams& params, std::span<const Row> rows,
                        Matrix q, const KvCache& cache, int64_t layer, Matrix out) {
  const Turn turn = begin();
  const AttentionPlan plan =
      plan_attention(rows, view, params.kv_heads, int64_t{kBusyBlocks} * turn.queue().processors);
  using Items = std::span<const AttentionItem>;
  const size_t partial = static_cast<size_t>(plan.scratch_floats(params.value_dim)) * sizeof(float);
  const auto [results, at, narrow, wide, joins] =
      send_behind(partial, rows, Items(plan.narrow), Items(plan.wide), Items(plan.joins));
  pace(q.rows);
  cuda::attention(turn.queue(), kElement,
                  {.params = view,
                   .rows = at,
                   .narrow = narrow,
                   .wide = wide,
                   .joins = joins,
                   .narrow_count = static_cast<int64_t>(plan.narrow.size()),
                   .wide_count = static_cast<int64_t>(plan.wide.size()),
                   .joins_count = static_cast<int64_t>(plan.joins.size()),
                   .q = data_of(q),
                   .cache = static_cast<const CudaKvCache&>(cache).view(queue_->ahead(), layer),
                   .scratch = partial > 0 ? reinterpret_cast<float*>(results) : nullptr,
                   .out = data_of(out)});
}

/// Runs of consecutive rows; the state of a sequence must have seen all positions before its first row.
std::vector<DeltaRun> CudaStream::delta_runs(std::span<const Row> rows, CudaKvCache& cache, int64_t layer) {
  std::vector<DeltaRun> runs;
  for (size_t i = 0; i < rows.size(); ++i) {
    const Row& row = rows[i];
    if (i == 0 || rows[i - 1].sequence != row.sequence) {
      float* const state = cache.state(queue_->ahead(), row, layer);
      runs.push_back({.first_row = static_cast<int32_t>(i),
                      .position = cache.state_positions(row.sequence, layer),
                      .state = state});
    }
    DeltaRun& run = runs.back();
    if (row.position != run.position + run.rows || row.position >= cache.capacity(row.sequence)) {
      throw Error(Status::internal, cat("position ", row.position, " of sequence ", row.sequence, ", wanted ",
                                        run.position + run.rows, ", the next of its state, and room for it"));
    }
    ++run.rows;
  }
  return runs;
}

void CudaStream::delta_rule(const DeltaParams& params, std::span<const Row> rows, Matrix q, Matrix k,
                            Matrix v, Matrix beta, Matrix decay, KvCache& cache, int64_t layer, Matrix out) {
  const Turn turn = begin();
  auto& kept = static_cast<CudaKvCache&>(cache);
  take_result({&cache, layer});
  const std::vector<DeltaRun> runs = delta_runs(rows, kept, layer);
  const DeltaView view{.heads = params.heads,
                       .key_heads = params.key_heads,
                       .key_dim = params.key_dim,
                       .value_dim = params.value_dim,
                       .kernel = params.kernel,
                       .conv = values_of(params.conv),
                       .a_log = values_of(params.a_log),
                       .dt_bias = values_of(params.dt_bias)};
  const auto count = static_cast<int64_t>(rows.size());
  const auto [work, at] = send_behind(scratch_of_delta(view, count), std::span(runs));
  pace(count);
  // until all is launched, with the step that it is in, no position counts: a state that is given up half-way is no longer
  // that of any
  std::vector<Row> ends;
  for (const DeltaRun& run : runs) {
    const int32_t sequence = rows[static_cast<size_t>(run.first_row)].sequence;
    ends.push_back({sequence, static_cast<int32_t>(run.position + run.rows)});
    kept.state_positions(sequence, layer) = -1;
  }
  cuda::delta_rule(turn.queue(), kElement, view, at, static_cast<int64_t>(runs.size()), count, data_of(q),
                   data_of(k), data_of(v), data_of(beta), data_of(decay), work, data_of(out));
  give_result({&cache, layer}, [&kept, layer, ends = std::move(ends)] {
    for (const Row& end : ends) kept.state_positions(end.sequence, layer) = end.position;
  });
}

void CudaStream::activate(const Activation& act, Matrix gate, const Matrix* up, Matrix out) {
  const Turn turn = begin();
  const Matrix first = beside(gate, 0), result = beside(out, 1);
  const void* second = up != nullptr ? data_of(beside(*up, 2)) : nullptr;
  cuda::activate(turn.queue(), kElement, act, data_of(first), second, data_of(result), elements(out));
  put_back(result, out);
}

void CudaStream::add(Matrix x, Matrix y, float factor) {
  const Turn turn = begin();
  cuda::add(turn.queue(), kElement, data_of(x), data_of(y), factor, elements(x));
}

void CudaStream::clear(Matrix x) {
  const Turn turn = begin();
  queue_->clear(data_of(x), static_cast<size_t>(elements(x)) * kElementBytes);
}

void CudaStream::scale(Matrix x, float factor) {
  const Turn turn = begin();
  cuda::scale(turn.queue(), kElement, data_of(x), factor, elements(x));
}

void CudaStream::scale_rows(Matrix x, std::span<const float> factors) {
  const Turn turn = begin();
  const auto [at] = send(factors);
  cuda::scale_rows(turn.queue(), kElement, data_of(x), at, x.rows, x.cols);
}

void CudaStream::scale_rows(Matrix x, Matrix factors) {
  const Turn turn = begin();
  scale_rows_by_elements(turn.queue(), kElement, data_of(x), data_of(beside(factors, 0)), x.rows, x.cols);
}

void CudaStream::clamp(Matrix x, float limit) {
  const Turn turn = begin();
  cuda::clamp(turn.queue(), kElement, data_of(x), limit, elements(x));
}

void CudaStream::softcap(Matrix x, float cap) {
  const Turn turn = begin();
  cuda::softcap(turn.queue(), kElement, data_of(x), cap, elements(x));
}

/// This and the next read element by element: rows may begin anywhere.
void CudaStream::largest(Matrix x, int64_t count, std::span<Ranked> out) {
  if (x.rows == 0 || count == 0) return;
  const Turn turn = begin();
  std::byte* const memory = room_for_result(largest_, scratch_of_largest(x.rows, x.cols, count));
  const uint64_t* const found = cuda::largest(turn.queue(), kElement, x.data, x.rows, x.cols, count, memory);
  give_result({&largest_}, [this, found, out, n = static_cast<size_t>(x.rows * count)] {
    std::vector<uint64_t> keys(n);
    queue_->download(keys.data(), found, keys.size() * sizeof(uint64_t));
    std::transform(keys.begin(), keys.end(), out.begin(), largest_of_key);
  });
}

void CudaStream::exp_sums(Matrix x, std::span<const double> temperatures, std::span<double> out) {
  const auto pieces = static_cast<size_t>(pieces_of_exp_sum(x.cols)), rows = static_cast<size_t>(x.rows);
  if (rows == 0) return;
  const Turn turn = begin();
  auto* const sums = reinterpret_cast<ExpSum*>(room_for_result(exp_sums_, rows * pieces * sizeof(ExpSum)));
  const auto [at] = send(temperatures);
  cuda::exp_sums(turn.queue(), kElement, x.data, x.rows, x.cols, at, sums);
  give_result({&exp_sums_}, [this, sums, pieces, out = out.first(rows),
                             of_rows = std::vector(temperatures.begin(), temperatures.end())] {
    std::vector<ExpSum> found(out.size() * pieces);
    if (!found.empty()) queue_->download(found.data(), sums, found.size() * sizeof(ExpSum));
    for (size_t i = 0; i < out.size(); ++i)
      out[i] = exp_sum_of_pieces(std::span(found).subspan(i * pieces, pieces), of_rows[i]);
  });
}

void CudaStream::gather(Matrix x, std::span<const int32_t> rows, Matrix out) {
  const Turn turn = begin();
  const auto [at] = send(rows);
  gather_rows(turn.queue(), kElement, data_of(beside(x, 0)), at, static_cast<int64_t>(rows.size()), x.cols,
              data_of(out));
}

}  // namespace gptq::cuda
