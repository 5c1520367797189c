// What a machine reads from memory, the measure of decoding.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/stopwatch.h"
#include "base/thread_pool.h"
#include "cpu/aligned.h"
#include "cpu/kernels.h"

namespace gptq {

/// Bytes per second read by all threads at once, the best of some passes over 1 GB, in large pages where there are.
inline double read_bandwidth(ThreadPool& pool) {
  constexpr size_t kBytes = size_t{1} << 30;
  constexpr int64_t kFloats = kBytes / sizeof(float);
  const cpu::AlignedBlock block(kBytes);
  (void)::madvise(block.data() + 4096 - reinterpret_cast<uintptr_t>(block.data()) % 4096, kBytes - 4096,
                  MADV_HUGEPAGE);
  std::memset(block.data(), 1, kBytes);
  const cpu::Kernels& kernels = cpu::best_kernels();
  std::atomic<float> sink = 0;
  double best = 1e30;
  for (int pass = 0; pass < 5; ++pass) {
    const Stopwatch watch;
    pool.parallel_for(kFloats, 1 << 18, [&](int64_t begin, int64_t end) {
      sink = kernels.sum(block.as<float>() + begin, end - begin);
    });
    best = std::min(best, watch.seconds());
  }
  return static_cast<double>(kBytes) / best;
}

}  // namespace gptq
