#include "cuda/kv_cache_cuda.h"

#include <algorithm>
#include <array>
#include <atomic>

#include "base/checked.h"
#include "base/error.h"
#include "base/half.h"
#include "base/text.h"

namespace gptq::cuda {
namespace {

/// Of the table, for each sequence: a table that moves is another for the kernels that have its address.
constexpr int64_t kLeastPages = 64;

size_t pages_for(int64_t length) {
  return static_cast<size_t>((std::max<int64_t>(length, 0) + kPagePositions - 1) / kPagePositions);
}

}  // namespace

CudaKvCache::CudaKvCache(std::shared_ptr<Device> device, const CacheShape& shape)
    : device_(std::move(device)), shape_(shape) {
  uint64_t page = 0, state = 0;  // elements
  for (const CacheLayer& layer : shape.layers) {
    const std::array<int64_t, 5> sizes{layer.kv_heads, layer.key_dim, layer.value_dim, layer.state,
                                       shape.sequences};
    if (std::any_of(sizes.begin(), sizes.end(), [](int64_t n) { return n < 0 || n > INT32_MAX; }))
      throw Error(Status::invalid_argument, cat("a cache of shape ", shape_text(sizes)));
    const auto rows = static_cast<uint64_t>(layer.kv_heads) * kPagePositions;
    const auto keys = checked_mul(rows, static_cast<uint64_t>(cache_pitch(layer.key_dim)));
    const auto values = checked_mul(rows, static_cast<uint64_t>(cache_pitch(layer.value_dim)));
    if (!keys || !values || *keys + *values > INT64_MAX / 8 - page)
      throw Error(Status::out_of_memory, "a page of the cache does not fit in memory");
    views_.push_back({.keys_at = static_cast<int64_t>(page),
                      .values_at = static_cast<int64_t>(page + *keys),
                      .kv_heads = layer.kv_heads,
                      .key_dim = layer.key_dim,
                      .value_dim = layer.value_dim});
    page += *keys + *values;
    first_state_.push_back(static_cast<int64_t>(state));
    state += static_cast<uint64_t>(layer.state);
  }
  state_bytes_ = static_cast<size_t>(state) * sizeof(float);
  page_bytes_ = static_cast<size_t>(page) * kElementBytes;
  for (int64_t i = 0; i < shape.sequences; ++i) sequences_.push_back(std::make_shared<Sequence>());
}

uint64_t CudaKvCache::next_version() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

void CudaKvCache::join(std::span<KvCache* const> caches) {
  sequences_.clear();
  std::vector<std::shared_ptr<Sequence>> all;
  size_t pages = 0;
  for (KvCache* const cache : caches) {
    const auto* const other = dynamic_cast<const CudaKvCache*>(cache);
    if (other == nullptr || other->device_ != device_ || other->shape_.layers != shape_.layers)
      throw Error(Status::invalid_argument, "caches that do not keep the same");
    for (const auto& sequence : other->sequences_) {
      all.push_back(sequence);
      pages = std::max(pages, sequence->pages.size());
    }
  }
  reserve_table(static_cast<int64_t>(all.size()), static_cast<int64_t>(pages));
  sequences_ = std::move(all);
}

CudaKvCache::Sequence* CudaKvCache::find(int32_t sequence) const {
  const bool is_there = sequence >= 0 && static_cast<size_t>(sequence) < sequences_.size();
  return is_there ? sequences_[static_cast<size_t>(sequence)].get() : nullptr;
}

/// Doubles at least, so that it seldom moves.
void CudaKvCache::reserve_table(int64_t sequences, int64_t pages) {
  if (sequences <= most_sequences_ && pages <= most_pages_) return;
  const auto more = [](int64_t wanted, int64_t most) {
    return wanted > most ? std::max(wanted, 2 * most) : most;
  };
  const int64_t most_sequences = more(sequences, most_sequences_),
                most_pages = std::max(more(pages, most_pages_), kLeastPages);
  table_ = Block(device_, static_cast<size_t>(most_sequences * most_pages) * sizeof(void*));
  sent_.clear();
  most_sequences_ = most_sequences;
  most_pages_ = most_pages;
}

void CudaKvCache::reserve(int32_t sequence, int64_t length) {
  Sequence* const found = find(sequence);
  if (found == nullptr)
    throw Error(Status::invalid_argument, cat("sequence ", sequence, " of a cache of ", sequences_.size()));
  std::vector<Page>& pages = found->pages;
  const size_t wanted = std::max(pages_for(length), pages.size()), before = pages.size();
  reserve_table(static_cast<int64_t>(sequences_.size()), static_cast<int64_t>(wanted));
  const bool wants_state = state_bytes_ > 0 && !found->states.positions.begun();
  if (wanted == before && !wants_state) return;
  try {
    StatePositions positions;
    if (wants_state) positions.begin(shape_.layers);
    Block state = wants_state ? Block(device_, state_bytes_) : Block();
    pages.reserve(std::max(wanted, std::min(2 * before, before + 64)));
    while (pages.size() < wanted) pages.push_back({Block(device_, page_bytes_)});
    if (wants_state) {
      found->states.now = std::move(state);
      found->states.positions = std::move(positions);
    }
  } catch (const std::exception& error) {
    pages.resize(before);
    const auto* const own = dynamic_cast<const Error*>(&error);  // of a device that has failed, for example
    throw Error(own != nullptr ? own->status() : Status::out_of_memory,
                cat("no memory for ", length, " positions: ", wanted - before, " pages of ", page_bytes_,
                    " bytes", wants_state ? cat(" and a state of ", state_bytes_) : "", ": ", error.what()));
  }
  if (wanted > before) found->version = next_version();
}

int64_t CudaKvCache::truncate(int32_t sequence, int64_t length) {
  length = std::max<int64_t>(length, 0);
  Sequence* const found = find(sequence);
  if (found == nullptr) return length;
  if (state_bytes_ > 0) length = truncate_state(found->states, length);
  std::vector<Page>& pages = found->pages;
  if (pages_for(length) < pages.size()) pages.resize(pages_for(length));
  return length;
}

void CudaKvCache::mark(int32_t sequence) {
  Sequence* const found = find(sequence);
  if (found == nullptr || !found->states.positions.wants_mark()) return;
  States& states = found->states;
  try {
    if (states.marked.bytes() == 0) states.marked = Block(device_, state_bytes_);
  } catch (const std::exception&) {
    return;  // without a copy nothing is wrong, only slower to go back
  }
  states.pending = States::Pending::copy_mark;
  states.positions.mark();
}

int64_t CudaKvCache::truncate_state(States& states, int64_t length) {
  switch (states.positions.truncate(length)) {
    case StatePositions::Truncate::nothing: return length;
    case StatePositions::Truncate::all: states = {}; return 0;
    case StatePositions::Truncate::to_mark: break;
  }
  // a copy to `marked` that is pending is of positions that were left as they are above
  states.pending = States::Pending::copy_back;
  return states.positions.go_back();
}

/// Behind this `now` is what the positions say, and `marked` what the mark says.
void CudaKvCache::settle(DeviceQueue& queue, States& states) {
  switch (states.pending) {
    case States::Pending::clear: queue.clear(states.now.data(), states.now.bytes()); break;
    case States::Pending::copy_back:
      queue.copy(states.now.data(), states.marked.data(), states.now.bytes());
      break;
    case States::Pending::copy_mark:
      queue.copy(states.marked.data(), states.now.data(), states.now.bytes());
      break;
    case States::Pending::nothing: break;
  }
  states.pending = States::Pending::nothing;
}

float* CudaKvCache::state(DeviceQueue& queue, const Row& row, int64_t layer) {
  if (row.position < 0 || row.position >= capacity(row.sequence)) {
    throw Error(Status::internal,
                cat("position ", row.position, " of sequence ", row.sequence, " is not reserved"));
  }
  States& states = find(row.sequence)->states;
  settle(queue, states);
  return states.now.as<float>() + first_state_[static_cast<size_t>(layer)];
}

int64_t& CudaKvCache::state_positions(int32_t sequence, int64_t layer) {
  return find(sequence)->states.positions.of(layer);
}

uint64_t CudaKvCache::bytes() const {
  uint64_t pages = 0, states = 0;
  for (const auto& sequence : sequences_) {
    pages += sequence->pages.size();
    states += sequence->states.now.bytes() + sequence->states.marked.bytes();
  }
  return pages * page_bytes_ + table_.bytes() + states;
}

uint64_t CudaKvCache::position_bytes(int64_t layer) const {
  const CacheLayer& shape = shape_.layers[static_cast<size_t>(layer)];
  return static_cast<uint64_t>(shape.kv_heads * (shape.key_dim + shape.value_dim)) * kElementBytes;
}

int64_t CudaKvCache::capacity(int32_t sequence) const {
  const Sequence* const found = find(sequence);
  return found != nullptr ? static_cast<int64_t>(found->pages.size()) * kPagePositions : 0;
}

/// Pages begin with zeros, since products read whole ones: no NaN may lie in them.
void CudaKvCache::send_pages(DeviceQueue& queue) const {
  const bool is_sent =
      std::equal(sequences_.begin(), sequences_.end(), sent_.begin(), sent_.end(),
                 [](const auto& sequence, uint64_t version) { return sequence->version == version; });
  if (is_sent) return;
  sent_.clear();
  std::vector<void*> table(sequences_.size() * static_cast<size_t>(most_pages_));
  for (size_t s = 0; s < sequences_.size(); ++s) {
    if (sequences_[s]->pages.size() > static_cast<size_t>(most_pages_))
      throw Error(Status::internal, cat("sequence ", s, " has got pages since the caches were joined"));
    void** place = table.data() + s * static_cast<size_t>(most_pages_);
    for (Page& page : sequences_[s]->pages) {
      if (!page.cleared) queue.clear(page.memory.data(), page_bytes_);
      page.cleared = true;
      *place++ = page.memory.data();
    }
  }
  queue.upload(table_.data(), table.data(), table.size() * sizeof(void*));
  for (const auto& sequence : sequences_) sent_.push_back(sequence->version);
}

void CudaKvCache::read(DeviceQueue& queue, int64_t layer, int32_t sequence, int64_t length,
                       std::vector<float>& keys, std::vector<float>& values) const {
  const CacheView& view = views_[static_cast<size_t>(layer)];
  std::vector<uint16_t> page;
  const auto copy = [&](const Page& from, int64_t at, int64_t dim, int64_t first, std::vector<float>& out) {
    const int64_t pitch = cache_pitch(dim);
    page.resize(static_cast<size_t>(view.kv_heads * kPagePositions * pitch));
    queue.download(page.data(), from.memory.as<uint16_t>() + at, page.size() * kElementBytes);
    for (int64_t p = first; p < std::min(length, first + kPagePositions); ++p) {
      for (int64_t h = 0; h < view.kv_heads; ++h) {
        const uint16_t* const head = page.data() + (h * kPagePositions + p - first) * pitch;
        for (int64_t i = 0; i < dim; ++i)
          out[static_cast<size_t>((p * view.kv_heads + h) * dim + i)] = bf16_to_float(head[i]);
      }
    }
  };
  keys.resize(static_cast<size_t>(length * view.kv_heads * view.key_dim));
  values.resize(static_cast<size_t>(length * view.kv_heads * view.value_dim));
  for (int64_t first = 0; first < length; first += kPagePositions) {
    const Page& from = find(sequence)->pages[static_cast<size_t>(first / kPagePositions)];
    copy(from, view.keys_at, view.key_dim, first, keys);
    copy(from, view.values_at, view.value_dim, first, values);
  }
}

CacheView CudaKvCache::view(DeviceQueue& queue, int64_t layer) const {
  send_pages(queue);
  CacheView view = views_[static_cast<size_t>(layer)];
  view.pages = table_.as<void* const>();
  view.most_pages = most_pages_;
  return view;
}

}  // namespace gptq::cuda
