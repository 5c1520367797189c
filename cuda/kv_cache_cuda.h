// Keys and values in pages of kPagePositions positions (CacheView in kernels.h), so that sequences grow and shrink without
// moving anything; one page serves all layers of a sequence. States have a block for each sequence, layer after layer, and
// another for what mark() copies. Copies are made in the queue of the next op that needs the state: until then nothing
// changes it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "backend/state_positions.h"
#include "cuda/runtime.h"

namespace gptq::cuda {

inline constexpr size_t kElementBytes = 2;  // of activations, keys and values

class CudaKvCache final : public KvCache {
 public:
  CudaKvCache(std::shared_ptr<Device> device, const CacheShape& shape);

  void join(std::span<KvCache* const> caches) override;
  void reserve(int32_t sequence, int64_t length) override;
  void mark(int32_t sequence) override;
  int64_t truncate(int32_t sequence, int64_t length) override;
  uint64_t bytes() const override;
  uint64_t position_bytes(int64_t layer) const override;

  /// Positions that `sequence` has room for; 0 for a sequence that the cache does not have.
  int64_t capacity(int32_t sequence) const;
  /// Of a layer, for kernels in the queue: what reserve() and truncate() did is told to the device first.
  CacheView view(DeviceQueue& queue, int64_t layer) const;
  /// The state of a layer, for kernels in the queue; Status::internal unless there is room for the row.
  float* state(DeviceQueue& queue, const Row& row, int64_t layer);
  /// How many positions have gone into it, which is for the caller to count.
  int64_t& state_positions(int32_t sequence, int64_t layer);
  /// Keys [length, kv_heads * key_dim] and values of a sequence's first positions, in host memory.
  void read(DeviceQueue& queue, int64_t layer, int32_t sequence, int64_t length, std::vector<float>& keys,
            std::vector<float>& values) const;

 private:
  struct Page {
    Block memory;
    bool cleared = false;  // before that it holds anything
  };

  struct States {
    Block now, marked;
    enum class Pending : uint8_t { clear, copy_back, copy_mark, nothing } pending = Pending::clear;
    StatePositions positions;  // of `now` and `marked` once `pending` is done
  };

  struct Sequence {
    std::vector<Page> pages;
    uint64_t version = next_version();  // another one when pages come to it; of no other sequence
    States states;                      // nothing where no layer has one
  };

  static uint64_t next_version();
  /// Null for a sequence that the cache does not have.
  Sequence* find(int32_t sequence) const;
  void reserve_table(int64_t sequences, int64_t pages);

  void send_pages(DeviceQueue& queue) const;
  static int64_t truncate_state(States& states, int64_t length);
  static void settle(DeviceQueue& queue, States& states);

  std::shared_ptr<Device> device_;
  CacheShape shape_;
  std::vector<CacheView> views_;      // [layer] but for the pages
  std::vector<int64_t> first_state_;  // of each layer in a block of states, in floats
  size_t state_bytes_ = 0;
  size_t page_bytes_ = 0;
  std::vector<std::shared_ptr<Sequence>> sequences_;  // also of caches that have joined them
  Block table_;                                       // [most_sequences_][most_pages_] addresses
  int64_t most_sequences_ = 0, most_pages_ = 0;
  mutable std::vector<uint64_t> sent_;  // versions of the sequences whose pages the table has
};

}  // namespace gptq::cuda
