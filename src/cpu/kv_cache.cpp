#include "cpu/kv_cache.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/checked.h"
#include "base/error.h"
#include "base/text.h"

namespace gptq::cpu {

CpuKvCache::CpuKvCache(const CacheShape& shape, Stored element) : shape_(shape), element_(element) {
  uint64_t page = 0, state = 0;
  for (const CacheLayer& layer : shape.layers) {
    const std::array<int64_t, 5> sizes{layer.kv_heads, layer.key_dim, layer.value_dim, layer.state,
                                       shape.sequences};
    if (std::any_of(sizes.begin(), sizes.end(), [](int64_t n) { return n < 0 || n > INT32_MAX; })) {
      throw Error(Status::invalid_argument, cat("a cache of shape ", shape_text(sizes)));
    }
    first_.push_back(page);
    const auto bytes = checked_mul(head_bytes(layer) * kPagePositions, static_cast<uint64_t>(layer.kv_heads));
    if (!bytes || *bytes > INT64_MAX / 2 - page)
      throw Error(Status::out_of_memory, "a page of the cache does not fit in memory");
    page += *bytes;
    first_state_.push_back(static_cast<int64_t>(state));
    state += static_cast<uint64_t>(layer.state);
  }
  state_bytes_ = static_cast<size_t>(state) * sizeof(float);
  page_bytes_ = static_cast<size_t>(page) + kTileCols * element_bytes();
  for (int64_t i = 0; i < shape.sequences; ++i) sequences_.push_back(std::make_shared<Sequence>());
}

void CpuKvCache::join(std::span<KvCache* const> caches) {
  sequences_.clear();
  std::vector<std::shared_ptr<Sequence>> all;
  for (KvCache* const cache : caches) {
    const auto* const other = dynamic_cast<const CpuKvCache*>(cache);
    if (other == nullptr || other->element_ != element_ || other->shape_.layers != shape_.layers)
      throw Error(Status::invalid_argument, "caches that do not keep the same");
    all.insert(all.end(), other->sequences_.begin(), other->sequences_.end());
  }
  sequences_ = std::move(all);
}

CpuKvCache::Sequence* CpuKvCache::find(int32_t sequence) const {
  const bool is_there = sequence >= 0 && static_cast<size_t>(sequence) < sequences_.size();
  return is_there ? sequences_[static_cast<size_t>(sequence)].get() : nullptr;
}

uint64_t CpuKvCache::head_bytes(const CacheLayer& layer) const {
  return static_cast<uint64_t>(layer.key_dim + layer.value_dim) * element_bytes() +
         (element_ == Stored::i8 ? 2 * sizeof(float) : 0);
}

uint64_t CpuKvCache::position_bytes(int64_t index) const {
  return static_cast<uint64_t>(layer(index).kv_heads) * head_bytes(layer(index));
}

void CpuKvCache::reserve(int32_t sequence, int64_t length) {
  Sequence* const found = find(sequence);
  if (found == nullptr)
    throw Error(Status::invalid_argument, cat("sequence ", sequence, " of a cache of ", sequences_.size()));
  if (state_bytes_ > 0) reserve_state(found->states);
  std::vector<AlignedBlock>& pages = found->pages;
  const auto wanted =
      static_cast<size_t>((std::max<int64_t>(length, 0) + kPagePositions - 1) / kPagePositions);
  if (wanted <= pages.size()) return;
  const size_t before = pages.size();
  try {
    pages.reserve(std::max(wanted, std::min(2 * before, before + 64)));
    while (pages.size() < wanted) {
      pages.emplace_back(page_bytes_, Pages::huge);
      std::memset(pages.back().data(), 0, page_bytes_);  // whole tiles are read: no NaN may lie in them
    }
  } catch (const std::exception&) {
    pages.resize(before);
    throw Error(Status::out_of_memory, cat("no memory for the keys and values of ", length, " positions: ",
                                           wanted - before, " pages of ", page_bytes_, " bytes"));
  }
}

void CpuKvCache::reserve_state(States& states) const {
  if (states.now.bytes() > 0) return;
  try {
    AlignedBlock now(state_bytes_);
    states.positions.begin(shape_.layers);
    states.now = std::move(now);
  } catch (const std::exception&) {
    throw Error(Status::out_of_memory, cat("no memory for a state of ", state_bytes_, " bytes"));
  }
  std::memset(states.now.data(), 0, state_bytes_);
}

void CpuKvCache::mark(int32_t sequence) {
  Sequence* const found = find(sequence);
  if (found == nullptr || !found->states.positions.wants_mark()) return;
  States& states = found->states;
  try {
    if (states.marked.bytes() == 0) states.marked = AlignedBlock(state_bytes_);
  } catch (const std::exception&) {
    return;  // without a copy nothing is wrong, only slower to go back
  }
  std::memcpy(states.marked.data(), states.now.data(), state_bytes_);
  states.positions.mark();
}

int64_t CpuKvCache::truncate_state(States& states, int64_t length) const {
  switch (states.positions.truncate(length)) {
    case StatePositions::Truncate::nothing: return length;
    case StatePositions::Truncate::all: states = {}; return 0;
    case StatePositions::Truncate::to_mark: break;
  }
  std::memcpy(states.now.data(), states.marked.data(), state_bytes_);
  return states.positions.go_back();
}

int64_t CpuKvCache::truncate(int32_t sequence, int64_t length) {
  length = std::max<int64_t>(length, 0);
  Sequence* const found = find(sequence);
  if (found == nullptr) return length;
  if (state_bytes_ > 0) length = truncate_state(found->states, length);
  std::vector<AlignedBlock>& pages = found->pages;
  const auto kept = static_cast<size_t>((length + kPagePositions - 1) / kPagePositions);
  if (kept < pages.size()) pages.resize(kept);
  return length;
}

uint64_t CpuKvCache::bytes() const {
  uint64_t pages = 0, states = 0;
  for (const auto& sequence : sequences_) {
    pages += sequence->pages.size();
    states += sequence->states.now.bytes() + sequence->states.marked.bytes();
  }
  return pages * page_bytes_ + states;
}

int64_t CpuKvCache::capacity(int32_t sequence) const {
  const Sequence* const found = find(sequence);
  return found != nullptr ? static_cast<int64_t>(found->pages.size()) * kPagePositions : 0;
}

void CpuKvCache::require(const Row& row) const {
  if (row.position >= 0 && row.position < capacity(row.sequence)) return;
  throw Error(Status::internal,
              cat("position ", row.position, " of sequence ", row.sequence, " is not reserved"));
}

std::byte* CpuKvCache::at(int32_t sequence, int64_t position, int64_t layer, uint64_t byte) const {
  const AlignedBlock& page =
      sequences_[static_cast<size_t>(sequence)]->pages[static_cast<size_t>(position / kPagePositions)];
  return page.data() + first_[static_cast<size_t>(layer)] + byte;
}

std::byte* CpuKvCache::keys(int32_t sequence, int64_t position, int64_t index, int64_t kv_head) const {
  const int64_t elements = kv_head * layer(index).key_dim * kPagePositions;
  return at(sequence, position, index, static_cast<uint64_t>(elements) * element_bytes());
}

std::byte* CpuKvCache::values(int32_t sequence, int64_t position, int64_t index, int64_t kv_head) const {
  const CacheLayer& shape = layer(index);
  const int64_t elements = (shape.kv_heads * shape.key_dim + kv_head * shape.value_dim) * kPagePositions;
  return at(sequence, position, index, static_cast<uint64_t>(elements) * element_bytes());
}

float* CpuKvCache::key_scales(int32_t sequence, int64_t position, int64_t index, int64_t kv_head) const {
  const CacheLayer& shape = layer(index);
  const int64_t elements = shape.kv_heads * (shape.key_dim + shape.value_dim) * kPagePositions;
  return reinterpret_cast<float*>(
             at(sequence, position, index, static_cast<uint64_t>(elements) * element_bytes())) +
         kv_head * kPagePositions;
}

float* CpuKvCache::value_scales(int32_t sequence, int64_t position, int64_t index, int64_t kv_head) const {
  return key_scales(sequence, position, index, layer(index).kv_heads + kv_head);
}

float* CpuKvCache::state(int32_t sequence, int64_t layer) const {
  return sequences_[static_cast<size_t>(sequence)]->states.now.as<float>() +
         first_state_[static_cast<size_t>(layer)];
}

int64_t& CpuKvCache::state_positions(int32_t sequence, int64_t layer) {
  return sequences_[static_cast<size_t>(sequence)]->states.positions.of(layer);
}

}  // namespace gptq::cpu
