#include "cuda/kv_cache_cuda.h"

#include <algorithm>
#include <array>

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
  if (state > 0) states_.resize(static_cast<size_t>(shape.sequences));
  page_bytes_ = static_cast<size_t>(page) * kElementBytes;
  pages_.resize(static_cast<size_t>(shape.sequences));
}

void CudaKvCache::reserve(int32_t sequence, int64_t length) {
  if (sequence < 0 || sequence >= shape_.sequences)
    throw Error(Status::invalid_argument, cat("sequence ", sequence, " of a cache of ", shape_.sequences));
  std::vector<Page>& pages = pages_[static_cast<size_t>(sequence)];
  const size_t wanted = std::max(pages_for(length), pages.size()), before = pages.size();
  States* const states = states_.empty() ? nullptr : &states_[static_cast<size_t>(sequence)];
  const bool wants_state = states != nullptr && !states->positions.begun();
  if (wanted == before && !wants_state) return;
  try {
    StatePositions positions;
    if (wants_state) positions.begin(shape_.layers);
    Block state = wants_state ? Block(device_, state_bytes_) : Block();
    pages.reserve(std::max(wanted, std::min(2 * before, before + 64)));
    while (pages.size() < wanted) pages.push_back({Block(device_, page_bytes_)});
    if (static_cast<int64_t>(wanted) > most_pages_) {
      const auto most = std::max({static_cast<int64_t>(wanted), 2 * most_pages_, kLeastPages});
      table_ = Block(device_, static_cast<size_t>(most * shape_.sequences) * sizeof(void*));
      most_pages_ = most;
    }
    if (wants_state) {
      states->now = std::move(state);
      states->positions = std::move(positions);
    }
  } catch (const std::exception& error) {
    pages.resize(before);
    throw Error(Status::out_of_memory,
                cat("no memory for ", length, " positions: ", wanted - before, " pages of ", page_bytes_,
                    " bytes", wants_state ? cat(" and a state of ", state_bytes_) : "", ": ", error.what()));
  }
  if (wanted > before) table_is_stale_ = true;
}

int64_t CudaKvCache::truncate(int32_t sequence, int64_t length) {
  length = std::max<int64_t>(length, 0);
  if (sequence < 0 || sequence >= shape_.sequences) return length;
  if (!states_.empty()) length = truncate_state(states_[static_cast<size_t>(sequence)], length);
  std::vector<Page>& pages = pages_[static_cast<size_t>(sequence)];
  if (pages_for(length) < pages.size()) pages.resize(pages_for(length));
  return length;
}

void CudaKvCache::mark(int32_t sequence) {
  if (states_.empty() || sequence < 0 || sequence >= shape_.sequences) return;
  States& states = states_[static_cast<size_t>(sequence)];
  if (!states.positions.wants_mark()) return;
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
  States& states = states_[static_cast<size_t>(row.sequence)];
  settle(queue, states);
  return states.now.as<float>() + first_state_[static_cast<size_t>(layer)];
}

int64_t& CudaKvCache::state_positions(int32_t sequence, int64_t layer) {
  return states_[static_cast<size_t>(sequence)].positions.of(layer);
}

uint64_t CudaKvCache::bytes() const {
  uint64_t pages = 0;
  for (const auto& sequence : pages_) pages += sequence.size();
  uint64_t states = 0;
  for (const States& sequence : states_) states += sequence.now.bytes() + sequence.marked.bytes();
  return pages * page_bytes_ + table_.bytes() + states;
}

uint64_t CudaKvCache::position_bytes(int64_t layer) const {
  const CacheLayer& shape = shape_.layers[static_cast<size_t>(layer)];
  return static_cast<uint64_t>(shape.kv_heads * (shape.key_dim + shape.value_dim)) * kElementBytes;
}

int64_t CudaKvCache::capacity(int32_t sequence) const {
  if (sequence < 0 || sequence >= shape_.sequences) return 0;
  return static_cast<int64_t>(pages_[static_cast<size_t>(sequence)].size()) * kPagePositions;
}

/// Pages begin with zeros, since products read whole ones: no NaN may lie in them.
void CudaKvCache::send_pages(DeviceQueue& queue) const {
  if (!table_is_stale_) return;
  std::vector<void*> table(static_cast<size_t>(most_pages_ * shape_.sequences));
  for (size_t s = 0; s < pages_.size(); ++s) {
    for (size_t i = 0; i < pages_[s].size(); ++i) {
      const Page& page = pages_[s][i];
      if (!page.cleared) queue.clear(page.memory.data(), page_bytes_);
      page.cleared = true;
      table[s * static_cast<size_t>(most_pages_) + i] = page.memory.data();
    }
  }
  queue.upload(table_.data(), table.data(), table.size() * sizeof(void*));
  table_is_stale_ = false;
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
    const Page& from = pages_[static_cast<size_t>(sequence)][static_cast<size_t>(first / kPagePositions)];
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
