// Keys and values in pages of kPagePositions positions, so that sequences grow and shrink without moving anything.
//
// One page serves all layers of a sequence. Per layer, in fp32, fp16 or whole numbers of 8 bits:
//   keys   [kv_head][dim][position in page]   transposed: q K^T and P V both read rows of positions or of dims
//   values [kv_head][position in page][dim]
// and behind those of 8 bits their scales in fp32, with which a number becomes scale * whole:
//   of keys [kv_head][position in page], of values [kv_head][position in page]
// A scale belongs to a position: it is applied to a score, or to a probability, instead of to each number.
// Rows of values may be read kTileCols elements wide; the slack at the end of the page allows it.
//
// States have a block for each sequence, layer after layer, and another for what mark() copies.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "backend/backend.h"
#include "backend/state_positions.h"
#include "cpu/aligned.h"
#include "cpu/kernels.h"

namespace gptq::cpu {

inline constexpr int64_t kPagePositions = 64;
static_assert(kPagePositions % kTileCols == 0);

/// An element of keys or values. What is beyond the range of f16 is its largest number; i8 has a range for each row, which
/// is NaN where one of its numbers is not finite (Kernels::round_row).
enum class Stored : uint8_t { f32, f16, i8 };

class CpuKvCache final : public KvCache {
 public:
  CpuKvCache(const CacheShape& shape, Stored element);

  void join(std::span<KvCache* const> caches) override;
  void reserve(int32_t sequence, int64_t length) override;
  void mark(int32_t sequence) override;
  int64_t truncate(int32_t sequence, int64_t length) override;
  uint64_t bytes() const override;
  uint64_t position_bytes(int64_t layer) const override;

  const CacheLayer& layer(int64_t layer) const { return shape_.layers[static_cast<size_t>(layer)]; }
  /// Positions that `sequence` has room for; 0 for a sequence the cache does not have.
  int64_t capacity(int32_t sequence) const;
  /// Status::internal unless there is room for the row.
  void require(const Row& row) const;
  Stored element() const { return element_; }
  size_t element_bytes() const { return element_ == Stored::f32 ? 4 : element_ == Stored::f16 ? 2 : 1; }
  /// [key_dim][kPagePositions] elements of the page that holds `position`.
  std::byte* keys(int32_t sequence, int64_t position, int64_t layer, int64_t kv_head) const;
  /// [kPagePositions][value_dim] likewise.
  std::byte* values(int32_t sequence, int64_t position, int64_t layer, int64_t kv_head) const;
  /// [kPagePositions] each, of Stored::i8.
  float* key_scales(int32_t sequence, int64_t position, int64_t layer, int64_t kv_head) const;
  float* value_scales(int32_t sequence, int64_t position, int64_t layer, int64_t kv_head) const;
  /// The state of a layer, and how many positions have gone into it, which is for the caller to count.
  float* state(int32_t sequence, int64_t layer) const;
  int64_t& state_positions(int32_t sequence, int64_t layer);

 private:
  struct States {
    AlignedBlock now, marked;
    StatePositions positions;
  };
  struct Sequence {
    std::vector<AlignedBlock> pages;
    States states;  // nothing where no layer has one
  };
  /// Null for a sequence that the cache does not have.
  Sequence* find(int32_t sequence) const;
  std::byte* at(int32_t sequence, int64_t position, int64_t layer, uint64_t byte) const;
  /// Bytes that a position takes in a page, of one head.
  uint64_t head_bytes(const CacheLayer& layer) const;
  void reserve_state(States& states) const;
  int64_t truncate_state(States& states, int64_t length) const;

  CacheShape shape_;
  Stored element_;
  std::vector<uint64_t> first_;       // of each layer in a page, in bytes
  std::vector<int64_t> first_state_;  // likewise in a block of states, in floats
  size_t state_bytes_ = 0;
  size_t page_bytes_;
  std::vector<std::shared_ptr<Sequence>> sequences_;  // also of caches that have joined them
};

}  // namespace gptq::cpu
