// The caches of a model's segments as one. What is kept of a sequence reaches to the same position in all of them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/segment.h"

namespace gptq {

class SegmentedCache final : public KvCache {
 public:
  /// One cache for each segment, of the layers of that.
  struct Part {
    LayerRange layers;
    std::string device{};  // its name, for messages
    std::unique_ptr<KvCache> cache;
  };
  SegmentedCache(std::vector<Part> parts, int64_t sequences);

  size_t parts() const { return parts_.size(); }
  /// That of a segment.
  KvCache& part(size_t index) { return *parts_[index].cache; }

  void join(std::span<KvCache* const> caches) override;
  void reserve(int32_t sequence, int64_t length) override;
  void mark(int32_t sequence) override;
  [[nodiscard]] int64_t truncate(int32_t sequence, int64_t length) override;
  uint64_t bytes() const override;
  uint64_t position_bytes(int64_t layer) const override;

 private:
  std::vector<Part> parts_;
  std::vector<int64_t> reserved_;  // [sequence] positions that all have room for
};

}  // namespace gptq
