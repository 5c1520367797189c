// Keys and values in pages of kPagePositions positions (CacheView in kernels.h), so that sequences grow and shrink without
// moving anything; one page serves all layers of a sequence. States are the CPU backend's, and stay in host memory.
#pragma once

#include <memory>
#include <vector>

#include "backend/backend.h"
#include "cuda/runtime.h"

namespace gptq::cuda {

class CudaKvCache final : public KvCache {
 public:
  /// `states` is a cache of the same shape without keys and values.
  CudaKvCache(std::shared_ptr<Device> device, const CacheShape& shape, std::unique_ptr<KvCache> states);

  void reserve(int32_t sequence, int64_t length) override;
  void mark(int32_t sequence) override { states_->mark(sequence); }
  int64_t truncate(int32_t sequence, int64_t length) override;
  uint64_t bytes() const override;

  /// Positions that `sequence` has room for; 0 for a sequence that the cache does not have.
  int64_t capacity(int32_t sequence) const;
  /// Of a layer, for kernels in the queue: what reserve() and truncate() did is told to the device first.
  CacheView view(DeviceQueue& queue, int64_t layer) const;
  KvCache& states() { return *states_; }
  /// Keys [length, kv_heads * key_dim] and values of a sequence's first positions, in host memory.
  void read(DeviceQueue& queue, int64_t layer, int32_t sequence, int64_t length, std::vector<float>& keys,
            std::vector<float>& values) const;

 private:
  struct Page {
    Block memory;
    mutable bool cleared = false;  // before that it holds anything
  };

  void send_pages(DeviceQueue& queue) const;

  std::shared_ptr<Device> device_;
  CacheShape shape_;
  std::unique_ptr<KvCache> states_;
  std::vector<CacheView> views_;  // [layer] but for the pages
  size_t page_bytes_ = 0;
  std::vector<std::vector<Page>> pages_;  // [sequence][page]
  Block table_;                           // [sequences][most_pages_] addresses
  int64_t most_pages_ = 0;
  mutable bool table_is_stale_ = true;
};

/// A cache without keys and values: its states alone.
CacheShape states_of(CacheShape shape);

}  // namespace gptq::cuda
