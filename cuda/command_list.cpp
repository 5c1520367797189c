#include "cuda/command_list.h"

#include <algorithm>

#include "cuda/queue.h"

namespace gptq::cuda {
namespace {

using CopyArguments = Pack<void*, const void*, size_t>;
using ClearArguments = Pack<void*, size_t>;

void run_copy(DeviceQueue& queue, CommandList::Kernel, const Grid&, const void* arguments) {
  with_values([&](void* to, const void* from, size_t bytes) { queue.copy(to, from, bytes); },
              *static_cast<const CopyArguments*>(arguments));
}
void run_clear(DeviceQueue& queue, CommandList::Kernel, const Grid&, const void* arguments) {
  with_values([&](void* to, size_t bytes) { queue.clear(to, bytes); },
              *static_cast<const ClearArguments*>(arguments));
}

}  // namespace

void CommandList::add_copy(void* to, const void* from, size_t bytes) {
  add<run_copy>(nullptr, {}, CopyArguments{pack_values(to, from, bytes)});
}

void CommandList::add_clear(void* to, size_t bytes) {
  add<run_clear>(nullptr, {}, ClearArguments{pack_values(to, bytes)});
}

void CommandList::add(const Kind& kind, Kernel kernel, const Grid& grid, const void* arguments,
                      size_t bytes) {
  const size_t at = (arguments_.size() + kAlignment - 1) / kAlignment * kAlignment;
  arguments_.resize(at + bytes);
  std::memcpy(arguments_.data() + at, arguments, bytes);
  commands_.push_back({&kind, kernel, grid, at});
}

void CommandList::clear() {
  commands_.clear();
  arguments_.clear();
}

void CommandList::run(DeviceQueue& queue) const {
  for (const Command& c : commands_) c.kind->run(queue, c.kernel, c.grid, arguments_.data() + c.arguments);
}

bool CommandList::operator==(const CommandList& other) const {
  return std::equal(commands_.begin(), commands_.end(), other.commands_.begin(), other.commands_.end(),
                    [&](const Command& a, const Command& b) {
                      return a.kind == b.kind && a.kernel == b.kernel && a.grid == b.grid &&
                             a.kind->same(arguments_.data() + a.arguments,
                                          other.arguments_.data() + b.arguments);
                    });
}

}  // namespace gptq::cuda
