// A queue in which the ops of a step are begun together: they are written down, and a list of them that comes a second time
// becomes a graph. So a token costs the host one launch and not some hundreds, which the device would wait for.
//
// A graph is launched only where it does just what was written down, addresses and all; what changes from step to step (tokens,
// positions, angles, how attention is cut) therefore is in the device's memory: in the step's block, which is sent
// ahead, with offsets that are the same in equal lists.
#pragma once

#include <memory>
#include <vector>

#include "cuda/command_list.h"
#include "cuda/runtime.h"

namespace gptq::cuda {

/// Rows of a step at most: of more, kernels take longer than it takes to launch them.
inline constexpr int64_t kMostStepRows = 64;

constexpr size_t kAlignment = 256;  // of what is behind each other in a block
constexpr size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

class StepQueue final : public DeviceQueue {
 public:
  explicit StepQueue(std::shared_ptr<Device> device);

  const Queue& queue() const override { return queue_; }
  /// These three end what is written down (run_now()), copy() and clear() are written down.
  void upload(void* to, const void* host, size_t bytes) override;
  void download(void* host, const void* from, size_t bytes) override;
  void wait() override;
  void copy(void* to, const void* from, size_t bytes) override;
  void clear(void* to, size_t bytes) override;
  void pace() override;
  std::unique_ptr<Graph> capture(const CommandList& list) override { return behind_->capture(list); }
  void launch(Graph& graph) override { behind_->launch(graph); }
  /// May be nested.
  void enter() override;
  void leave() noexcept override;

  /// From here on ops are written down.
  void begin_step();
  /// Does what was written down, by a graph where there is one.
  void end_step();
  /// Forgets it.
  void drop_step() noexcept { queue_.list = nullptr; }
  /// Does what was written down so far, and the rest of the step op by op: for ops that need its results, or change what it
  /// would find.
  void run_now();
  /// The queue without what is written down: for what that has nothing to do with, and what must be done also if the
  /// step is dropped, as what is noted on the host's side is.
  DeviceQueue& ahead() { return *behind_; }

  /// Whether keep() has room for spans of so many bytes, aligned; no room ends what is written down.
  bool keeps(size_t bytes);
  /// A copy for the kernels of this step; spans of the same bytes have one.
  const std::byte* keep(const void* host, size_t bytes);

  /// Whether ops are written down.
  bool writes() const { return queue_.list != nullptr; }

 private:
  struct Kept {
    size_t at, bytes;
  };
  /// A list that has come, and from its second time on its graph.
  struct Known {
    CommandList list;
    std::unique_ptr<Graph> graph;
    uint64_t last_step = 0;
  };

  void send_block();
  void remember();
  bool begin(Known& known);
  void give_up(const std::string& why);

  std::shared_ptr<Device> device_;
  std::unique_ptr<DeviceQueue> behind_;
  Queue queue_;  // behind_'s, and the list while one is written
  CommandList list_;
  std::vector<Known> known_;
  uint64_t step_ = 0;
  bool works_ = true;  // the device can have graphs
  int failures_ = 0;
  int turns_ = 0;
  // the step's block: on the device, what will be there, and where each part of it is
  Block block_;
  std::vector<std::byte> bytes_;
  std::vector<Kept> kept_;
};

}  // namespace gptq::cuda
