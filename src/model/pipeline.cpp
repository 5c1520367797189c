#include "model/pipeline.h"

#include <exception>

#include "base/error.h"
#include "model/segmented_cache.h"

namespace gptq {

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
