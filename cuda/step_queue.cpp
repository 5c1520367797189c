#include "cuda/step_queue.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"

namespace gptq::cuda {
namespace {

constexpr size_t kBlockBytes = 256 << 10;
constexpr size_t kMostKnown = 8;
constexpr int kMostFailures = 3;  // one after the other

}  // namespace

StepQueue::StepQueue(std::shared_ptr<Device> device)
    : device_(std::move(device)), behind_(device_->create_queue()), queue_(behind_->queue()) {}

void StepQueue::upload(void* to, const void* host, size_t bytes) {
  run_now();
  behind_->upload(to, host, bytes);
}

void StepQueue::download(void* host, const void* from, size_t bytes) {
  run_now();
  behind_->download(host, from, bytes);
}

void StepQueue::wait() {
  run_now();
  behind_->wait();
}

void StepQueue::copy(void* to, const void* from, size_t bytes) {
  writes() ? list_.add_copy(to, from, bytes) : behind_->copy(to, from, bytes);
}

void StepQueue::clear(void* to, size_t bytes) {
  writes() ? list_.add_clear(to, bytes) : behind_->clear(to, bytes);
}

void StepQueue::pace() {
  if (!writes()) behind_->pace();
}

void StepQueue::enter() {
  if (turns_ == 0) behind_->enter();
  ++turns_;
}

void StepQueue::leave() noexcept {
  if (--turns_ == 0) behind_->leave();
}

/// Steps go on as they did before, op by op.
void StepQueue::give_up(const std::string& why) {
  works_ = false;
  known_.clear();
  log(LogLevel::warning, cat("steps on the GPU are not begun as graphs, which would be faster: ", why));
}

void StepQueue::begin_step() {
  list_.clear();
  bytes_.clear();
  kept_.clear();
  if (!works_) return;
  if (block_.bytes() == 0) {
    try {
      block_ = Block(device_, kBlockBytes);
    } catch (const Error& error) {
      return give_up(error.what());
    }
    bytes_.reserve(kBlockBytes);
  }
  queue_.list = &list_;
}

void StepQueue::run_now() {
  if (!writes()) return;
  queue_.list = nullptr;
  send_block();
  list_.run(*behind_);
}

void StepQueue::send_block() {
  if (!bytes_.empty()) behind_->upload(block_.data(), bytes_.data(), bytes_.size());
}

void StepQueue::end_step() {
  if (!writes()) return;
  queue_.list = nullptr;
  if (list_.size() == 0) return;
  send_block();
  ++step_;
  const auto known =
      std::find_if(known_.begin(), known_.end(), [&](const Known& k) { return k.list == list_; });
  const bool is_new = known == known_.end();
  if (is_new) {
    list_.run(*behind_);
    remember();
  } else if (!begin(*known)) {
    list_.run(*behind_);
  }
  behind_->pace();
}

/// By its graph, if there can be one. What was in the way may be gone the next time: a thread of the host that asked all of
/// the device for something while the graph was made, or memory that was short.
bool StepQueue::begin(Known& known) {
  known.last_step = step_;
  try {
    if (!known.graph) known.graph = behind_->capture(known.list);
    behind_->launch(*known.graph);
    failures_ = 0;
    return true;
  } catch (const std::exception& error) {
    known.graph.reset();
    if (++failures_ == kMostFailures) give_up(error.what());
    return false;
  }
}

/// The list of this step, in the place of the one that did not come for the longest time.
void StepQueue::remember() {
  if (known_.size() < kMostKnown) known_.emplace_back();
  Known& place = *std::min_element(known_.begin(), known_.end(),
                                   [](const Known& a, const Known& b) { return a.last_step < b.last_step; });
  place.graph.reset();
  std::swap(place.list, list_);
  place.last_step = step_;
}

bool StepQueue::keeps(size_t bytes) {
  if (writes() && bytes > kBlockBytes - bytes_.size()) run_now();
  return writes();
}

const std::byte* StepQueue::keep(const void* host, size_t bytes) {
  const auto* const device = block_.as<const std::byte>();
  if (bytes == 0) return device;
  for (const Kept& kept : kept_) {
    if (kept.bytes == bytes && std::memcmp(bytes_.data() + kept.at, host, bytes) == 0)
      return device + kept.at;
  }
  const size_t at = bytes_.size();
  bytes_.resize(at + aligned(bytes));
  std::memcpy(bytes_.data() + at, host, bytes);
  kept_.push_back({at, bytes});
  return device + at;
}

}  // namespace gptq::cuda
