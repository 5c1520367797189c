// Copies between host and device outside of streams: weights when they are prepared, and back. Any thread.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "cuda/kernels.h"
#include "cuda/runtime.h"

namespace gptq::cuda {

class Loader {
 public:
  explicit Loader(std::shared_ptr<Device> device)
      : device_(std::move(device)), queue_(device_->create_queue()) {}

  const std::shared_ptr<Device>& device() const { return device_; }

  /// Memory of the device that holds what the host's does; none for none.
  Block upload(const void* host, size_t bytes) {
    if (bytes == 0) return {};
    Block block(device_, bytes);
    const std::lock_guard lock(mutex_);
    queue_->upload(block.data(), host, bytes);
    queue_->wait();
    return block;
  }
  template <class Values>
  Block upload(const Values& values) {
    return upload(std::data(values), std::size(values) * sizeof(*std::data(values)));
  }

  /// Of so many bytes at a time, so that the device packs what has come while more does.
  static constexpr int64_t kPackedTogether = int64_t{8} << 20;
  /// What pack_rows() makes of rows of the host, which `rows` gives: [first, first + count), until the next call.
  using Rows = std::function<const void*(int64_t first, int64_t count)>;
  Block pack(const Packing& shape, const int32_t* order, const Rows& rows) {
    if (shape.words() == 0) return {};
    const int64_t row_bytes = shape.cols * (shape.bits == 16 ? 2 : 1);
    const int64_t strips =
        std::max<int64_t>(1, kPackedTogether / std::max<int64_t>(1, row_bytes * kStripRows));
    const int64_t together = std::min(strips * kStripRows, shape.rows);
    Block words(device_, static_cast<size_t>(shape.words()) * sizeof(uint32_t));
    const Block fields(device_, static_cast<size_t>(together * row_bytes));
    for (int64_t first = 0; first < shape.rows; first += together) {
      const int64_t count = std::min(together, shape.rows - first);
      const void* const from = rows(first, count);
      const std::lock_guard lock(mutex_);
      const Turn turn(*queue_);
      queue_->upload(fields.data(), from, static_cast<size_t>(count * row_bytes));
      pack_rows(turn.queue(), shape, fields.data(), order, first, count, words.as<uint32_t>());
    }
    const std::lock_guard lock(mutex_);
    queue_->wait();
    return words;
  }

  /// A Block that those of the same values have together, if they are uploaded one soon after the other: as Linears that read
  /// the same rows mostly have one order of their inputs. Where they have, pointers to it are equal. Null for none.
  std::shared_ptr<const Block> upload_shared(const std::vector<int32_t>& values) {
    if (values.empty()) return nullptr;
    const std::lock_guard lock(shared_mutex_);
    const auto same = [&](const Shared& s) { return !s.block.expired() && s.values == values; };
    const auto found = std::find_if(shared_.begin(), shared_.end(), same);
    if (found != shared_.end()) {
      if (auto block = found->block.lock()) return block;
    }
    auto block = std::make_shared<const Block>(upload(values));
    if (shared_.size() == kMostShared) shared_.erase(shared_.begin());
    shared_.push_back({values, block});
    return block;
  }

  /// Counts weights that are no more, whosever they were: what has addresses of some has to look whether they are still what they
  /// were, and sends them again where the count has moved.
  void count_gone() { ++gone_; }
  uint64_t gone() const { return gone_; }

  template <class T>
  std::vector<T> download(const Block& block) {
    std::vector<T> values(block.bytes() / sizeof(T));
    const std::lock_guard lock(mutex_);
    queue_->download(values.data(), block.data(), block.bytes());
    return values;
  }

 private:
  struct Shared {
    std::vector<int32_t> values;
    std::weak_ptr<const Block> block;
  };
  static constexpr size_t kMostShared = 8;

  std::shared_ptr<Device> device_;
  std::mutex mutex_, shared_mutex_;  // of queue_, shared_
  std::unique_ptr<DeviceQueue> queue_;
  std::vector<Shared> shared_;  // the last ones
  std::atomic<uint64_t> gone_ = 0;
};

}  // namespace gptq::cuda
