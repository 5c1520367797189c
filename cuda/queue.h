// A queue of a device: copies and kernels that are done in order. Who may use it, and what it throws, is said in runtime.h.
#pragma once

#include <cstddef>
#include <memory>

#include "cuda/command_list.h"
#include "cuda/kernels.h"

namespace gptq::cuda {

/// What a list is for a device that has looked at all of it beforehand: work that begins as a whole. It goes on until it is
/// done, also where this is gone.
class Graph {
 public:
  virtual ~Graph() = default;
};

class DeviceQueue {
 public:
  virtual ~DeviceQueue() = default;
  /// What kernels are launched with, in a Turn.
  virtual const Queue& queue() const = 0;
  /// `host` may be changed or freed as soon as this returns.
  virtual void upload(void* to, const void* host, size_t bytes) = 0;
  /// Waits until the bytes are there.
  virtual void download(void* host, const void* from, size_t bytes) = 0;
  virtual void copy(void* to, const void* from, size_t bytes) = 0;
  virtual void clear(void* to, size_t bytes) = 0;
  /// Until all is done.
  virtual void wait() = 0;
  /// Waits while more than kMostAhead calls of this are ahead of what the device has done.
  virtual void pace() = 0;
  /// A graph that does what the list does; nothing of it is done now. Throws where the device can't have one, as an old
  /// driver or one without memory can't.
  virtual std::unique_ptr<Graph> capture(const CommandList& list) = 0;
  /// All of a graph that this queue's capture() gave, behind what is in the queue.
  virtual void launch(Graph& graph) = 0;
  /// The device is the calling thread's from the first to the second; the host may have chosen another.
  virtual void enter() = 0;
  virtual void leave() noexcept = 0;
};
inline constexpr int kMostAhead = 16;

class Turn {
 public:
  explicit Turn(DeviceQueue& queue) : queue_(queue) { queue_.enter(); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn() { queue_.leave(); }
  const Queue& queue() const { return queue_.queue(); }

 private:
  DeviceQueue& queue_;
};

}  // namespace gptq::cuda
