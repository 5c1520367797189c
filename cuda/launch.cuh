// The one place where kernels are launched, or written down to be launched later.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "base/text.h"
#include "cuda/command_list.h"
#include "cuda/device.cuh"
#include "cuda/kernels.h"
#include "cuda/layout.h"
#include "cuda/queue.h"

#ifdef __CUDACC__
#include <cuda_runtime.h>
#endif

namespace gptq::cuda {

/// Of a block: the least that any of the GPUs has (sm_86, sm_89 and sm_120, whose 100 KB are all of an SM).
constexpr size_t kMostSharedBytes = size_t{99} << 10;
/// Whether `blocks` that ask for so much are on an SM with `kilobytes` at a time; each costs 1 KB more.
constexpr bool fit(size_t blocks, size_t shared_bytes, size_t kilobytes) {
  return blocks * (shared_bytes + 1024) <= kilobytes << 10;
}

#ifdef __CUDACC__

inline void check(cudaError_t code, const char* what) {
  if (code == cudaSuccess) return;
  (void)cudaGetLastError();
  throw Error(code == cudaErrorMemoryAllocation ? Status::out_of_memory : Status::device,
              cat(what, ": ", cudaGetErrorString(code)));
}

template <class... Parameters>
void launch_now(const Queue& queue, void (*kernel)(Parameters...), const Grid& grid,
                const Parameters&... arguments) {
  constexpr size_t kWithoutAsking = size_t{48} << 10;
  if (grid.shared_bytes > kWithoutAsking) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(grid.shared_bytes)),
          "cudaFuncSetAttribute");
  }
  cudaLaunchConfig_t config{};
  config.gridDim = {static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y),
                    static_cast<unsigned>(grid.z)};
  config.blockDim = {static_cast<unsigned>(grid.threads), 1, 1};
  config.dynamicSmemBytes = grid.shared_bytes;
  config.stream = static_cast<cudaStream_t>(queue.stream);
  cudaLaunchAttribute early{};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &early;
  config.numAttrs = queue.architecture >= 90 ? 1 : 0;
  check(cudaLaunchKernelEx(&config, kernel, arguments...), "cudaLaunchKernelEx");
}

/// Blocks of a kernel that run at the same time on the device.
template <class... Parameters>
int64_t resident_blocks(const Queue& queue, void (*kernel)(Parameters...), int threads, size_t shared_bytes) {
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(shared_bytes)),
        "cudaFuncSetAttribute");
  int blocks = 0;
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads, shared_bytes),
        "cudaOccupancyMaxActiveBlocksPerMultiprocessor");
  if (blocks < 1)
    throw Error(Status::device, cat("a kernel with ", shared_bytes, " bytes of shared memory does not fit"));
  return int64_t{blocks} * queue.processors;
}

#else

template <class... Parameters>
void launch_now(const Queue&, void (*kernel)(Parameters...), const Grid& grid,
                const Parameters&... arguments) {
  shim::run({.x = static_cast<int>(grid.x),
             .y = static_cast<int>(grid.y),
             .z = static_cast<int>(grid.z),
             .threads = grid.threads,
             .shared_bytes = grid.shared_bytes,
             .all_resident = grid.residency == Residency::all},
            [&] { kernel(arguments...); });
}

template <class... Parameters>
int64_t resident_blocks(const Queue& queue, void (*)(Parameters...), int, size_t) {
  return queue.processors;
}

#endif

/// launch_now() with what a list has of it.
template <class... Parameters>
void launch_written(DeviceQueue& queue, CommandList::Kernel kernel, const Grid& grid, const void* arguments) {
  with_values(
      [&](const Parameters&... values) {
        launch_now(queue.queue(), reinterpret_cast<void (*)(Parameters...)>(kernel), grid, values...);
      },
      *static_cast<const Pack<Parameters...>*>(arguments));
}

/// kernel(arguments...) for each thread of the grid, behind what is in the queue, or in its list if it has one. An empty
/// grid is no launch.
template <class... Parameters, class... Arguments>
void launch(const Queue& queue, void (*kernel)(Parameters...), const Grid& grid, Arguments... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  if (queue.list == nullptr) {
    launch_now(queue, kernel, grid, static_cast<Parameters>(arguments)...);
  } else {
    queue.list->add<launch_written<Parameters...>>(
        reinterpret_cast<CommandList::Kernel>(kernel), grid,
        Pack<Parameters...>{pack_values(static_cast<Parameters>(arguments)...)});
  }
}

}  // namespace gptq::cuda
