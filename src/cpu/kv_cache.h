// Keys and values in pages of kPagePositions positions, so that sequences grow and shrink without moving anything.
//
// One page serves all layers of a sequence. Per layer, in fp32:
//   keys   [kv_head][dim][position in page]   transposed: q K^T and P V both read rows of positions or of dims
//   values [kv_head][position in page][dim]
// Rows of values may be read kTileCols floats wide; the slack at the end of the page allows it.
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
  explicit CpuKvCache(const CacheShape& shape);

  void reserve(int32_t sequence, int64_t length) override;
  void truncate(int32_t sequence, int64_t length) override;
  uint64_t bytes() const override;

  const CacheLayer& layer(int64_t layer) const { return shape_.layers[static_cast<size_t>(layer)]; }
  /// Positions that `sequence` has room for; 0 for a sequence the cache does not have.
  int64_t capacity(int32_t sequence) const;
  /// [key_dim][kPagePositions] of the page that holds `position`.
  float* keys(int32_t sequence, int64_t position, int64_t layer, int64_t kv_head) const;
  /// [kPagePositions][value_dim] likewise.
  float* values(int32_t sequence, int64_t position, int64_t layer, int64_t kv_head) const;

 private:
  float* layer_page(int32_t sequence, int64_t position, int64_t layer) const;

  CacheShape shape_;
  std::vector<int64_t> first_;  // of each layer in a page, in floats
  size_t page_bytes_;
  std::vector<std::vector<AlignedBlock>> pages_;  // [sequence][page]
};

}  // namespace gptq::cpu
