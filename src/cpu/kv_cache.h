// Keys and values in pages of kPagePositions positions, so that sequences grow and shrink without moving anything.
//
// One page serves all layers of a sequence. Per layer, in fp32 or fp16:
//   keys   [kv_head][dim][position in page]   transposed: q K^T and P V both read rows of positions or of dims
//   values [kv_head][position in page][dim]
// Rows of values may be read kTileCols elements wide; the slack at the end of the page allows it.
//
// States have a block for each sequence, layer after layer, and another for what mark() copies.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/backend.h"
#include "cpu/aligned.h"
#include "cpu/kernels.h"

namespace gptq::cpu {

inline constexpr int64_t kPagePositions = 64;
static_assert(kPagePositions % kTileCols == 0);

class CpuKvCache final : public KvCache {
 public:
  /// Keys and values as Dense::f32 or Dense::f16, which takes what is beyond its range as its largest number.
  CpuKvCache(const CacheShape& shape, Dense element);

  void reserve(int32_t sequence, int64_t length) override;
  void mark(int32_t sequence) override;
  int64_t truncate(int32_t sequence, int64_t length) override;
  uint64_t bytes() const override;
  size_t element_bytes() const override { return element_ == Dense::f32 ? 4 : 2; }

  const CacheLayer& layer(int64_t layer) const { return shape_.layers[static_cast<size_t>(layer)]; }
  /// Positions that `sequence` has room for; 0 for a sequence the cache does not have.
  int64_t capacity(int32_t sequence) const;
  /// Status::internal unless there is room for the row.
  void require(const Row& row) const;
  Dense element() const { return element_; }
  /// [key_dim][kPagePositions] elements of the page that holds `position`.
  std::byte* keys(int32_t sequence, int64_t position, int64_t layer, int64_t kv_head) const;
  /// [kPagePositions][value_dim] likewise.
  std::byte* values(int32_t sequence, int64_t position, int64_t layer, int64_t kv_head) const;
  /// The state of a layer, and how many positions have gone into it, which is for the caller to count.
  float* state(int32_t sequence, int64_t layer) const;
  int64_t& state_positions(int32_t sequence, int64_t layer);

 private:
  /// Of one sequence.
  struct States {
    AlignedBlock now, marked;
    std::vector<int64_t> positions;  // [layer] that `now` has seen
    int64_t mark = 0;                // that `marked` has
  };
  std::byte* element_at(int32_t sequence, int64_t position, int64_t layer, int64_t element) const;
  int64_t positions_of(const States& states) const;
  void reserve_state(States& states) const;
  int64_t truncate_state(States& states, int64_t length) const;

  CacheShape shape_;
  Dense element_;
  std::vector<int64_t> first_;        // of each layer in a page, in elements
  std::vector<int64_t> first_state_;  // likewise in a block of states, in floats
  size_t state_bytes_ = 0;
  std::vector<States> states_;  // [sequence]; none where no layer has one
  size_t page_bytes_;
  std::vector<std::vector<AlignedBlock>> pages_;  // [sequence][page]
};

}  // namespace gptq::cpu
