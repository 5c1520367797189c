// Threads that belong to the host.
#pragma once

#include <cstdint>

namespace gptq {

/// run(user_data, count, task, context) calls task(context, i) once for each i in [0, count), on any threads, in any order,
/// and returns when all calls have returned. Tasks do not throw, nor wait for each other.
struct Executor {
  void (*run)(void* user_data, int64_t count, void (*task)(void* context, int64_t index),
              void* context) = nullptr;  // null: none
  void* user_data = nullptr;
};

}  // namespace gptq
