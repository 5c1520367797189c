#include "model/pipeline.h"

#include <algorithm>
#include <exception>
#include <optional>

#include "base/error.h"
#include "model/segmented_cache.h"

namespace gptq {
namespace {

constexpr int64_t kManyRows = 2048;
constexpr uint64_t kMostBytes = uint64_t{1} << 30, kPartOfFree = 64;  // of their activations

uint64_t bytes_of_many(const Spec& spec) {
  return Decoder::workspace_bytes(spec, kManyRows, sizeof(uint16_t));
}

}  // namespace

int64_t rows_at_once(const Spec& spec, const Backend& backend, int64_t decoders) {
  if (!backend.free_memory()) return Decoder::kMaxRows;
  const uint64_t bytes = static_cast<uint64_t>(decoders) * bytes_of_many(spec);
  return bytes <= kMostBytes ? kManyRows : Decoder::kMaxRows;
}

int64_t session_rows(const Spec& spec, const Backend& backend) {
  const std::optional<uint64_t> free = backend.free_memory();
  const bool has_room = free && bytes_of_many(spec) <= *free / kPartOfFree;
  return has_room ? rows_at_once(spec, backend) : Decoder::kMaxRows;
}

int64_t session_rows(const Spec& spec, const LayerSegments& segments) {
  int64_t rows = kManyRows;
  for (const LayerSegment& segment : segments) rows = std::min(rows, session_rows(spec, *segment.backend));
  return rows;
}

Pipeline::Pipeline(const Spec& spec, const LayerSegments& segments, const std::atomic<bool>* cancel,
                   int64_t max_rows) {
  for (const LayerSegment& segment : segments) {
    Part part{.backend = segment.backend.get(),
              .device = segments.size() > 1 ? segment.device : "",
              .stream = segment.backend->create_stream(cancel),
              .decoder = nullptr};
    part.decoder = std::make_unique<Decoder>(spec, *segment.backend, *part.stream, max_rows, segment.layers);
    parts_.push_back(std::move(part));
  }
  if (parts_.size() > 1) hidden_.resize(static_cast<size_t>(max_rows * spec.hidden));
}

std::unique_ptr<KvCache> Pipeline::create_cache(int64_t sequences, KvElements elements) const {
  std::vector<SegmentedCache::Part> caches;
  for (const Part& part : parts_) {
    caches.push_back({.layers = part.decoder->layers(),
                      .device = part.device,
                      .cache = part.backend->create_cache(part.decoder->cache_shape(sequences, elements))});
  }
  if (caches.size() == 1) return std::move(caches.front().cache);
  return std::make_unique<SegmentedCache>(std::move(caches), sequences);
}

void Pipeline::wait() noexcept {
  for (const Part& part : parts_) {
    try {
      part.stream->wait();
    } catch (const std::exception&) {
    }
  }
}

void Pipeline::forward(const Weights& weights, const Batch& batch, KvCache& cache, const RowLogits* wanted) {
  if (parts_.size() == 1) return parts_.front().decoder->forward(weights, batch, cache, nullptr, wanted);
  auto* const caches = dynamic_cast<SegmentedCache*>(&cache);
  if (caches == nullptr || caches->parts() != parts_.size())
    throw Error(Status::internal, "a cache of another pipeline, wanted one of as many segments");
  for (size_t i = 0; i < parts_.size(); ++i) {
    const Part& part = parts_[i];
    const bool is_last = i + 1 == parts_.size();
    part.decoder->forward(weights, batch, caches->part(i), hidden_.data(), is_last ? wanted : nullptr);
    if (!is_last) part.stream->download(part.decoder->hidden(), hidden_.data());
  }
}

}  // namespace gptq
