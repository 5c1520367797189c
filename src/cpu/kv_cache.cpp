#include "cpu/kv_cache.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/checked.h"
#include "base/error.h"
#include "base/text.h"

namespace gptq::cpu {

CpuKvCache::CpuKvCache(const CacheShape& shape) : shape_(shape) {
  uint64_t page = 0;
  for (const CacheLayer& layer : shape.layers) {
    const std::array<int64_t, 4> sizes{layer.kv_heads, layer.key_dim, layer.value_dim, shape.sequences};
    if (std::any_of(sizes.begin(), sizes.end(), [](int64_t n) { return n < 0 || n > INT32_MAX; })) {
      throw Error(Status::invalid_argument, cat("a cache of shape ", shape_text(sizes)));
    }
    first_.push_back(static_cast<int64_t>(page));
    const auto head = checked_product(std::array{layer.key_dim + layer.value_dim, kPagePositions});
    const auto floats = head ? checked_mul(*head, static_cast<uint64_t>(layer.kv_heads)) : head;
    if (!floats || *floats > INT64_MAX / 8 - page)
      throw Error(Status::out_of_memory, "a page of the cache does not fit in memory");
    page += *floats;
  }
  page_bytes_ = (static_cast<size_t>(page) + kTileCols) * sizeof(float);
  pages_.resize(static_cast<size_t>(shape.sequences));
}

void CpuKvCache::reserve(int32_t sequence, int64_t length) {
  if (sequence < 0 || sequence >= shape_.sequences) {
    throw Error(Status::invalid_argument, cat("sequence ", sequence, " of a cache of ", shape_.sequences));
  }
  std::vector<AlignedBlock>& pages = pages_[static_cast<size_t>(sequence)];
  const auto wanted =
      static_cast<size_t>((std::max<int64_t>(length, 0) + kPagePositions - 1) / kPagePositions);
  if (wanted <= pages.size()) return;
  const size_t before = pages.size();
  try {
    pages.reserve(std::max(wanted, std::min(2 * before, before + 64)));
    while (pages.size() < wanted) {
      pages.emplace_back(page_bytes_);
      std::memset(pages.back().data(), 0, page_bytes_);  // whole tiles are read: no NaN may lie in them
    }
  } catch (const std::exception&) {
    pages.resize(before);
    throw Error(Status::out_of_memory, cat("no memory for the keys and values of ", length, " positions: ",
                                           wanted - before, " pages of ", page_bytes_, " bytes"));
  }
}

void CpuKvCache::truncate(int32_t sequence, int64_t length) {
  if (sequence < 0 || sequence >= shape_.sequences) return;
  std::vector<AlignedBlock>& pages = pages_[static_cast<size_t>(sequence)];
  const auto kept = static_cast<size_t>((std::max<int64_t>(length, 0) + kPagePositions - 1) / kPagePositions);
  if (kept < pages.size()) pages.resize(kept);
}

uint64_t CpuKvCache::bytes() const {
  uint64_t pages = 0;
  for (const auto& sequence : pages_) pages += sequence.size();
  return pages * page_bytes_;
}

int64_t CpuKvCache::capacity(int32_t sequence) const {
  if (sequence < 0 || sequence >= shape_.sequences) return 0;
  return static_cast<int64_t>(pages_[static_cast<size_t>(sequence)].size()) * kPagePositions;
}

float* CpuKvCache::layer_page(int32_t sequence, int64_t position, int64_t layer) const {
  const AlignedBlock& page =
      pages_[static_cast<size_t>(sequence)][static_cast<size_t>(position / kPagePositions)];
  return page.as<float>() + first_[static_cast<size_t>(layer)];
}

float* CpuKvCache::keys(int32_t sequence, int64_t position, int64_t index, int64_t kv_head) const {
  return layer_page(sequence, position, index) + kv_head * layer(index).key_dim * kPagePositions;
}

float* CpuKvCache::values(int32_t sequence, int64_t position, int64_t index, int64_t kv_head) const {
  const CacheLayer& shape = layer(index);
  return layer_page(sequence, position, index) +
         (shape.kv_heads * shape.key_dim + kv_head * shape.value_dim) * kPagePositions;
}

}  // namespace gptq::cpu
