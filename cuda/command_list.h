// What a queue is asked, written down: kernels with their arguments, copies, clears. Lists are compared with each other,
// so that one that comes again can be begun as a whole (Graph in queue.h).
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

namespace gptq::cuda {

class DeviceQueue;

/// Whether blocks wait for each other: then all of them must run at the same time.
enum class Residency : uint8_t { any, all };

struct Grid {
  int64_t x = 1, y = 1, z = 1;
  int threads = 128;
  size_t shared_bytes = 0;
  Residency residency = Residency::any;

  bool operator==(const Grid&) const = default;
};

/// Values one behind the other. They are compared one by one: what lies between them makes no difference.
template <class... T>
struct Pack {
  bool operator==(const Pack&) const = default;
};
template <class First, class... Rest>
struct Pack<First, Rest...> {
  First first;
  Pack<Rest...> rest;

  bool operator==(const Pack&) const = default;
};

inline Pack<> pack_values() { return {}; }
template <class First, class... Rest>
Pack<First, Rest...> pack_values(const First& first, const Rest&... rest) {
  return {first, pack_values(rest...)};
}

/// call(values...)
template <class Call, class... Done>
void with_values(const Call& call, const Pack<>&, const Done&... done) {
  call(done...);
}
template <class Call, class First, class... Rest, class... Done>
void with_values(const Call& call, const Pack<First, Rest...>& pack, const Done&... done) {
  with_values(call, pack.rest, done..., pack.first);
}

class CommandList {
 public:
  using Kernel = void (*)();  // of any type; null for what is no kernel
  /// What commands with arguments of the same types have in common.
  struct Kind {
    void (*run)(DeviceQueue& queue, Kernel kernel, const Grid& grid, const void* arguments);
    bool (*same)(const void* arguments, const void* others);
  };

  /// kernel(arguments...) for each thread of the grid, by `run`.
  template <auto run, class... T>
  void add(Kernel kernel, const Grid& grid, const Pack<T...>& arguments) {
    using Arguments = Pack<T...>;
    static_assert((std::equality_comparable<T> && ...) && std::is_trivially_copyable_v<Arguments>);
    static_assert(alignof(Arguments) <= kAlignment);
    static constexpr Kind kKind{run, [](const void* a, const void* b) {
                                  return *static_cast<const Arguments*>(a) ==
                                         *static_cast<const Arguments*>(b);
                                }};
    add(kKind, kernel, grid, &arguments, sizeof(Arguments));
  }
  void add_copy(void* to, const void* from, size_t bytes);
  void add_clear(void* to, size_t bytes);

  size_t size() const { return commands_.size(); }
  void clear();
  /// All of it, behind what is in the queue, which writes nothing down itself.
  void run(DeviceQueue& queue) const;
  /// Whether running it is running the other.
  bool operator==(const CommandList& other) const;

 private:
  static constexpr size_t kAlignment = __STDCPP_DEFAULT_NEW_ALIGNMENT__;
  struct Command {
    const Kind* kind;
    Kernel kernel;
    Grid grid;
    size_t arguments;  // where they begin in arguments_
  };

  void add(const Kind& kind, Kernel kernel, const Grid& grid, const void* arguments, size_t bytes);

  std::vector<Command> commands_;
  std::vector<std::byte> arguments_;
};

}  // namespace gptq::cuda
