// What registers and instructions alone give, for the share of it that kernels reach.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string_view>

#include "base/stopwatch.h"
#include "base/thread_pool.h"
#include "cpu/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace gptq::bench {

/// Best seconds of `body` within half a second.
inline double best_seconds(const std::function<void()>& body) {
  double best = 1e30;
  for (const Stopwatch all; all.seconds() < 0.5;) {
    const Stopwatch one;
    body();
    best = std::min(best, one.seconds());
  }
  return best;
}

#if defined(__x86_64__)
inline constexpr int kChains = 12;  // of operations that depend on each other: as many as are in flight
inline constexpr int64_t kSteps = 1'000'000;

#define GPTQ_UNKNOWN(x) asm volatile("" : "+v"(x)) /* for all that the compiler knows it may be anything */
#define GPTQ_CHAINS(type, start, step)                               \
  type sums[kChains], a = start, b = start;                          \
  _Pragma("GCC unroll 12") for (type & sum : sums) {                 \
    sum = start;                                                     \
    GPTQ_UNKNOWN(sum);                                               \
  }                                                                  \
  for (int64_t i = 0; i < kSteps; ++i) {                             \
    GPTQ_UNKNOWN(a);                                                 \
    GPTQ_UNKNOWN(b);                                                 \
    _Pragma("GCC unroll 12") for (int j = 0; j < kChains; ++j) step; \
  }                                                                  \
  _Pragma("GCC unroll 12") for (type & sum : sums) GPTQ_UNKNOWN(sum);

[[gnu::target("avx512f")]] inline void multiply_add_avx512() {
  GPTQ_CHAINS(__m512, _mm512_setzero_ps(), sums[j] = _mm512_fmadd_ps(sums[j], a, b))
}
[[gnu::target("avx2,fma")]] inline void multiply_add_avx2() {
  GPTQ_CHAINS(__m256, _mm256_setzero_ps(), sums[j] = _mm256_fmadd_ps(sums[j], a, b))
}
[[gnu::target("avx512f,avx512bw,avx512vnni")]] inline void dot_bytes_avx512() {
  GPTQ_CHAINS(__m512i, _mm512_setzero_si512(), sums[j] = _mm512_dpbusd_epi32(sums[j], a, b))
}
#undef GPTQ_CHAINS
#undef GPTQ_UNKNOWN
#endif

/// Operations per second of all threads; 0 where it is not known how to ask.
struct Peaks {
  double fp32 = 0, int8 = 0;
};

inline Peaks measure_peaks([[maybe_unused]] ThreadPool& pool) {
  Peaks peaks;
#if defined(__x86_64__)
  const auto rate = [&](void (*loop)(), double operations) {
    const double seconds =
        best_seconds([&] { pool.parallel_for(pool.threads(), 1, [&](int64_t, int64_t) { loop(); }); });
    return operations * kChains * static_cast<double>(kSteps) * pool.threads() / seconds;
  };
  const std::string_view set = cpu::best_kernels().name;
  const bool wide = set.starts_with("avx512") || set == "amx";
  if (set != "scalar") peaks.fp32 = wide ? rate(multiply_add_avx512, 32) : rate(multiply_add_avx2, 16);
  if (wide && set != "avx512") peaks.int8 = rate(dot_bytes_avx512, 128);
#endif
  return peaks;
}

}  // namespace gptq::bench
