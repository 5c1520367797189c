// The forward pass through all segments of a model: a stream and a decoder for each. Hidden states go from one to the next
// through the host's memory in fp32, which holds what any backend computes with.
//
// A model that lies on one device has one segment, and its decoder is all that there is.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/decoder.h"
#include "model/segment.h"

namespace gptq {

/// Belongs to one session.
class Pipeline {
 public:
  /// `cancel` may be null, else outlives it, as do `spec` and what the segments have. At least one segment.
  Pipeline(const Spec& spec, const LayerSegments& segments, const std::atomic<bool>* cancel,
           int64_t max_rows = Decoder::kMaxRows);

  int64_t max_rows() const { return parts_.front().decoder->max_rows(); }
  std::unique_ptr<KvCache> create_cache(int64_t sequences, KvElements elements = KvElements::automatic) const;

  /// As Decoder has them. `cache` is one that create_cache() made.
  void forward(const Weights& weights, const Batch& batch, KvCache& cache, const RowLogits* wanted = nullptr);
  void logits(const Weights& weights, int64_t begin, int64_t count, float* host) {
    parts_.back().decoder->logits(weights, begin, count, host);
  }
  /// Whether logits are in the host's memory, before they are asked for.
  bool logits_in_host_memory() const { return parts_.back().stream->in_host_memory(); }
  void logits_of(const Weights& weights, int64_t row, std::span<const int32_t> tokens,
                 std::span<float> host) {
    parts_.back().decoder->logits_of(weights, row, tokens, host);
  }
  void row_logits(const Weights& weights, const RowLogits& wanted) {
    parts_.back().decoder->row_logits(weights, wanted);
  }
  int64_t most_logits() const { return parts_.back().decoder->most_logits(); }
  void download_hidden(int64_t begin, int64_t count, float* host) {
    parts_.back().decoder->download_hidden(begin, count, host);
  }
  /// Until the devices have done all that they were asked for, before others use its caches behind what has failed. A device
  /// that can't say so any more has failed for everyone.
  void wait() noexcept;
  void recall(const float* host) { parts_.back().decoder->recall(host); }
  /// Of any of its decoders.
  bool may_rest() const {
    return std::any_of(parts_.begin(), parts_.end(),
                       [](const Part& part) { return part.decoder->may_rest(); });
  }
  void rest() noexcept {
    for (const Part& part : parts_) {
      if (part.decoder->may_rest()) part.decoder->rest();
    }
  }

 private:
  struct Part {
    const Backend* backend;
    std::string device;  // its name, of several
    std::unique_ptr<Stream> stream;
    std::unique_ptr<Decoder> decoder;
  };

  std::vector<Part> parts_;    // [segment]
  std::vector<float> hidden_;  // [max_rows, hidden] on the way to the next of them; empty where there is one
};

}  // namespace gptq
