// Mixtures of experts by the stream. What the router chooses stays in the device's memory (Routing::elsewhere), and so do
// the addresses of the experts' weights: the host says the same for each step, whatever is chosen.
#include <algorithm>
#include <bit>

#include "base/text.h"
#include "cuda/stream_cuda.h"

namespace gptq::cuda {
namespace {

constexpr size_t kLeastBytes = 4096;   // of a routing's lists
constexpr size_t kMostKept = 1 << 12;  // calls whose parts are kept: two for each layer of a decoder

/// The lists of a routing one behind the other.
struct Lists {
  size_t rows_at, weights_at, bytes;

  Lists(int64_t experts, int64_t entries)
      : rows_at(aligned(static_cast<size_t>(experts + 1) * sizeof(int32_t))),
        weights_at(rows_at + aligned(static_cast<size_t>(entries) * sizeof(int32_t))),
        bytes(weights_at + aligned(static_cast<size_t>(entries) * sizeof(float))) {}
  explicit Lists(const Routing& routing) : Lists(routing.experts, routing.entries) {}
};

RoutingView view_of(const Routing& routing) {
  std::byte* const lists = routing.elsewhere->data();
  const Lists at(routing);
  return {.begin = reinterpret_cast<int32_t*>(lists),
          .rows = reinterpret_cast<int32_t*>(lists + at.rows_at),
          .weights = reinterpret_cast<float*>(lists + at.weights_at)};
}

bool same_kind(const Weights& a, const Weights& b) {
  return a.shape.bits == b.shape.bits && a.inputs() == b.inputs() &&
         (a.order == nullptr) == (b.order == nullptr);
}

}  // namespace

void CudaStream::route(const RouterParams& params, Matrix scores, Routing& routing) {
  const Turn turn = begin();
  if (scores.cols > kMostExperts) {
    throw Error(Status::unsupported,
                cat("a router of ", scores.cols, " experts, at most ", kMostExperts, " wanted"));
  }
  const int64_t entries = scores.rows * params.chosen;
  const Lists lists(scores.cols, entries);
  if (routing.elsewhere == nullptr || routing.elsewhere->bytes() < lists.bytes) {
    if (routing.elsewhere != nullptr) queue_->run_now();
    routing = {};
    routing.elsewhere = allocate(std::max(kLeastBytes, std::bit_ceil(lists.bytes)));
  }
  routing.experts = scores.cols;
  routing.entries = entries;
  routing.most = scores.rows;
  routing.begin.clear();
  routing.rows.clear();
  routing.weights.clear();
  const size_t part = aligned(static_cast<size_t>(entries) * sizeof(float));
  std::byte* const memory = scratch(2 * part);
  RoutingView view = view_of(routing);
  view.experts = reinterpret_cast<int32_t*>(memory);
  view.expert_weights = reinterpret_cast<float*>(memory + part);
  cuda::route(turn.queue(), kElement,
              {.score = params.score,
               .chosen = params.chosen,
               .renormalize = params.renormalize,
               .choice_bias = values_of(params.choice_bias),
               .groups = params.groups,
               .groups_chosen = params.groups_chosen,
               .group_score = params.group_score,
               .factor = params.factor,
               .jitter = params.jitter},
              data_of(scores), scores.rows, scores.cols, view);
}

void CudaStream::fetch(Routing& routing) {
  if (routing.known() || routing.elsewhere == nullptr) return;
  const Turn turn = begin();
  const RoutingView view = view_of(routing);
  const auto entries = static_cast<size_t>(routing.entries);
  std::vector<int32_t> begin(static_cast<size_t>(routing.experts) + 1), rows(entries);
  std::vector<float> weights(entries);
  queue_->download(begin.data(), view.begin, begin.size() * sizeof(int32_t));
  if (entries > 0) {
    queue_->download(rows.data(), view.rows, entries * sizeof(int32_t));
    queue_->download(weights.data(), view.weights, entries * sizeof(float));
  }
  routing.begin.assign(begin.begin(), begin.end());
  routing.rows = std::move(rows);
  routing.weights = std::move(weights);
}

void CudaStream::gather(Matrix x, const Routing& routing, Matrix out) {
  const Turn turn = begin();
  gather_rows(turn.queue(), kElement, data_of(beside(x, 0)), view_of(routing).rows, routing.entries, x.cols,
              data_of(out));
}

void CudaStream::weigh(Matrix x, const Routing& routing) {
  const Turn turn = begin();
  cuda::scale_rows(turn.queue(), kElement, data_of(x), view_of(routing).weights, x.rows, x.cols);
}

void CudaStream::scatter_add(Matrix x, const Routing& routing, Weigh weigh, Matrix y) {
  const Turn turn = begin();
  const RoutingView view = view_of(routing);
  cuda::scatter_add(turn.queue(), kElement, data_of(x), x.rows, x.cols, view.rows,
                    weigh == Weigh::yes ? view.weights : nullptr, data_of(y), routing.entries);
}

void CudaStream::linear_parts(Matrix x, const Routing& routing,
                              std::span<const PartsProjection> projections) {
  const Turn turn = begin();
  if (routing.entries == 0 || projections.empty()) return;
  for (const KeptParts::Line& line : parts_of(projections).lines)
    multiply_line(turn.queue(), line, routing, x);
}

/// As they were kept, if Linears that are asked for are still those of then.
const CudaStream::KeptParts& CudaStream::parts_of(std::span<const PartsProjection> projections) {
  KeptParts asked;
  for (const PartsProjection& p : projections) {
    asked.linears.insert(asked.linears.end(), p.w.begin(), p.w.end());
    asked.outputs.push_back(data_of(p.y));
  }
  const uint64_t gone = shared_->loader->gone();
  if (gone != linears_gone_ || kept_parts_.size() == kMostKept) {
    if (!kept_parts_.empty()) queue_->run_now();
    kept_parts_.clear();
    linears_gone_ = gone;
  }
  for (size_t i = 0; i < kept_parts_.size(); ++i) {
    const size_t at = (next_parts_ + i) % kept_parts_.size();
    const KeptParts& kept = kept_parts_[at];
    if (kept.outputs != asked.outputs || kept.linears != asked.linears) continue;
    next_parts_ = at + 1;
    return kept;
  }
  // projections whose parts have the same orders as the first one's have launches in common with it
  std::vector<LinearPart> common, own;
  const size_t experts = projections.front().w.size();
  const auto part_of = [&](const PartsProjection& p, size_t expert) {
    return LinearPart{.w = weights_of(*p.w[expert]), .y = p.y.data, .expert = static_cast<int>(expert)};
  };
  std::vector<const PartsProjection*> as_first;
  for (const PartsProjection& p : projections) {
    own.clear();
    bool same = true;
    for (size_t e = 0; e < experts; ++e) {
      own.push_back(part_of(p, e));
      same = same && own.back().w.order == weights_of(*projections.front().w[e]).order;
    }
    same ? as_first.push_back(&p) : add_lines(asked, own);
  }
  for (size_t e = 0; e < experts; ++e) {
    for (const PartsProjection* p : as_first) common.push_back(part_of(*p, e));
  }
  add_lines(asked, common);
  next_parts_ = kept_parts_.size() + 1;
  return kept_parts_.emplace_back(std::move(asked));
}

/// One for each kind of weights. What is sent is ahead of what is written down, which knows nothing of it.
void CudaStream::add_lines(KeptParts& kept, std::vector<LinearPart>& parts) {
  while (!parts.empty()) {
    const Weights first = parts.front().w;
    const auto rest = std::stable_partition(parts.begin(), parts.end(),
                                            [&](const LinearPart& part) { return same_kind(part.w, first); });
    KeptParts::Line line{.line = join_parts({parts.begin(), rest}), .there = {}};
    parts.erase(parts.begin(), rest);
    if (line.line.parts.empty()) continue;
    const size_t bytes = line.line.parts.size() * sizeof(LinearPart);
    line.there = room(bytes);
    queue_->ahead().upload(line.there.data(), line.line.parts.data(), bytes);
    kept.lines.push_back(std::move(line));
  }
}

void CudaStream::multiply_line(const Queue& queue, const KeptParts::Line& kept, const Routing& routing,
                               Matrix x) {
  const LinearParts& line = kept.line;
  const auto* const parts = kept.there.as<const LinearPart>();
  const RowsOfParts rows{routing.entries, routing.most};
  const auto count = static_cast<int64_t>(line.parts.size());
  const bool sorts = line.parts.front().w.order != nullptr;
  const size_t sorted = sorts ? aligned(static_cast<size_t>(x.rows * line.inputs) * kElementBytes) : 0;
  std::byte* const memory = scratch(sorted + static_cast<size_t>(count + 1) * sizeof(PartRows));
  auto* const part_rows = reinterpret_cast<PartRows*>(memory + sorted);
  plan_parts(queue, line, parts, rows, view_of(routing).begin, part_rows);
  const void* in = data_of(x);
  if (sorts) {
    gather_columns_of_parts(queue, kElement, in, x.cols, parts, part_rows, count, line.inputs, x.rows,
                            memory);
    in = memory;
  }
  pace(x.rows);
  multiply_parts(queue, kElement, line, rows, parts, part_rows, in, product_scratch(queue));
}

}  // namespace gptq::cuda
