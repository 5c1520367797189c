#include "model/segmented_cache.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"

namespace gptq {
namespace {

/// Says which of the devices had no memory.
void reserve_part(const SegmentedCache::Part& part, int32_t sequence, int64_t length) {
  try {
    part.cache->reserve(sequence, length);
  } catch (const Error& error) {
    if (part.device.empty() || error.status() != Status::out_of_memory) throw;
    throw Error(error.status(), cat(part.device, ": ", error.what()));
  }
}

}  // namespace

SegmentedCache::SegmentedCache(std::vector<Part> parts, int64_t sequences)
    : parts_(std::move(parts)), reserved_(static_cast<size_t>(sequences)) {}

void SegmentedCache::join(std::span<KvCache* const> caches) {
  reserved_.clear();
  try {
    std::vector<KvCache*> others;
    for (size_t i = 0; i < parts_.size(); ++i) {
      others.clear();
      for (KvCache* const cache : caches) {
        const auto* const other = dynamic_cast<const SegmentedCache*>(cache);
        if (other == nullptr || other->parts() != parts())
          throw Error(Status::invalid_argument, "caches of other segments");
        others.push_back(other->parts_[i].cache.get());
      }
      parts_[i].cache->join(others);
    }
  } catch (...) {
    for (const Part& part : parts_) part.cache->join({});
    throw;
  }
}

/// Where one of them has no room, those before it give back what they have just made.
void SegmentedCache::reserve(int32_t sequence, int64_t length) {
  if (sequence < 0 || sequence >= static_cast<int64_t>(reserved_.size()))
    throw Error(Status::invalid_argument, cat("sequence ", sequence, " of a cache of ", reserved_.size()));
  int64_t& reserved = reserved_[static_cast<size_t>(sequence)];
  size_t made = 0;
  try {
    for (; made < parts_.size(); ++made) reserve_part(parts_[made], sequence, length);
  } catch (...) {
    // states, if there are some, have seen no more than was reserved
    for (size_t i = 0; i < made; ++i) static_cast<void>(parts_[i].cache->truncate(sequence, reserved));
    throw;
  }
  reserved = std::max(reserved, length);
}

void SegmentedCache::mark(int32_t sequence) {
  for (const Part& part : parts_) part.cache->mark(sequence);
}

/// A state may go back further than it was asked to: then the others follow, which may make one of them go back further
/// still.
int64_t SegmentedCache::truncate(int32_t sequence, int64_t length) {
  int64_t left = std::max<int64_t>(length, 0);
  for (bool same = false; !same;) {
    same = true;
    for (const Part& part : parts_) {
      const int64_t kept = part.cache->truncate(sequence, left);
      same = same && kept == left;
      left = std::min(left, kept);
    }
  }
  if (sequence >= 0 && sequence < static_cast<int64_t>(reserved_.size())) {
    int64_t& reserved = reserved_[static_cast<size_t>(sequence)];
    reserved = std::min(reserved, left);
  }
  return left;
}

uint64_t SegmentedCache::bytes() const {
  uint64_t sum = 0;
  for (const Part& part : parts_) sum += part.cache->bytes();
  return sum;
}

uint64_t SegmentedCache::position_bytes(int64_t layer) const {
  const auto found =
      std::find_if(parts_.begin(), parts_.end(), [&](const Part& part) { return layer < part.layers.end(); });
  return found->cache->position_bytes(layer - found->layers.first);
}

}  // namespace gptq
