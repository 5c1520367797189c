// What the quantizer's arithmetic runs on: a set of kernels, and a way to use all threads.
#pragma once

#include <cstdint>
#include <functional>

#include "cpu/stream_cpu.h"

namespace gptq::cpu {

struct Workers {
  using Body = std::function<void(int64_t begin, int64_t end)>;

  const Kernels& kernels;
  const Gemm& gemm;  // for sums over calibration inputs
  /// As ThreadPool::parallel_for.
  std::function<void(int64_t count, int64_t grain, const Body& body)> parallel_for;
};

inline Workers workers_of(CpuStream& stream) {
  return {stream.kernels(), stream.gemms().rounded,
          [&stream](int64_t count, int64_t grain, const Workers::Body& body) {
            stream.parallel_for(count, grain, body);
          }};
}

}  // namespace gptq::cpu
