// Speed of linear layers on the CPU, next to what the machine can do in the same run: multiply-adds of registers for
// many rows, reads of memory for one row.
// usage: linear_bench [threads [exact|fast]]
// With one thread the clock counts the CPU time of that thread, so that a busy machine disturbs less.
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/half.h"
#include "base/random.h"
#include "base/thread_pool.h"
#include "cpu/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

using gptq::Linear;

clockid_t measured_clock = CLOCK_MONOTONIC;

double seconds_of(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

/// Best seconds of `body` within about a second.
double best_seconds(const std::function<void()>& body) {
  double best = 1e30;
  const double end = seconds_of(CLOCK_MONOTONIC) + 1.0;
  body();
  do {
    const double start = seconds_of(measured_clock);
    body();
    best = std::min(best, seconds_of(measured_clock) - start);
  } while (seconds_of(CLOCK_MONOTONIC) < end);
  return best;
}

constexpr int kChains = 12;
constexpr int64_t kSteps = 2'000'000;
volatile float sink;

#if defined(__x86_64__)
#define FMA_LOOP(type, set, fma, first)                                                      \
  type sums[kChains];                                                                        \
  const type a = set(1.0000001f), b = set(1e-9f);                                            \
  for (type & s : sums) s = set(1.0f);                                                       \
  for (int64_t i = 0; i < kSteps; ++i) {                                                     \
    _Pragma("GCC unroll 12") for (int j = 0; j < kChains; ++j) sums[j] = fma(sums[j], a, b); \
  }                                                                                          \
  for (const type& s : sums) sink = first(s);

[[gnu::target("avx512f")]] void multiply_add_avx512() {
  FMA_LOOP(__m512, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_cvtss_f32)
}
[[gnu::target("avx2,fma")]] void multiply_add_avx2() {
  FMA_LOOP(__m256, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_cvtss_f32)
}
#endif

/// fp32 operations per second of all threads; 0 where it is not known how to ask.
double peak_flops(gptq::ThreadPool& pool) {
#if defined(__x86_64__)
  const std::string set = gptq::cpu::best_kernels().name;
  if (set == "scalar") return 0.0;
  const bool wide = set != "avx2" && set != "avx_vnni";
  const double seconds = best_seconds([&] {
    pool.parallel_for(pool.threads(), 1,
                      [&](int64_t, int64_t) { wide ? multiply_add_avx512() : multiply_add_avx2(); });
  });
  return 2.0 * (wide ? 16 : 8) * kChains * static_cast<double>(kSteps) * pool.threads() / seconds;
#else
  return 0.0 * pool.threads();
#endif
}

/// Bytes per second read by all threads.
double read_bandwidth(gptq::ThreadPool& pool) {
  const std::vector<float> data(size_t{64} << 20, 1.0f);
  const auto& kernels = gptq::cpu::best_kernels();
  const double seconds = best_seconds([&] {
    pool.parallel_for(static_cast<int64_t>(data.size()), 1 << 18, [&](int64_t begin, int64_t end) {
      sink = kernels.sum(data.data() + begin, end - begin);
    });
  });
  return static_cast<double>(data.size() * sizeof(float)) / seconds;
}

gptq::Tensor random_bf16(gptq::Random& random, int64_t rows, int64_t cols) {
  std::byte* bytes = nullptr;
  gptq::Tensor t = gptq::make_tensor(gptq::DType::bf16, {rows, cols}, &bytes);
  for (int64_t i = 0; i < rows * cols; ++i) {
    const uint16_t half = gptq::float_to_bf16(static_cast<float>(random.uniform() - 0.5));
    std::memcpy(bytes + 2 * i, &half, 2);
  }
  return t;
}

gptq::QTensor random_int4(gptq::Random& random, int64_t rows, int64_t cols) {
  gptq::QTensor q;
  q.rows = rows;
  q.cols = cols;
  q.groups = (cols + 127) / 128;
  q.codes.resize(static_cast<size_t>(rows * cols));
  for (uint8_t& code : q.codes) code = static_cast<uint8_t>(random.next() >> 60);
  q.scales.assign(static_cast<size_t>(q.groups * rows), 0.01f);
  q.zeros.assign(q.scales.size(), 8);
  for (int64_t k = 0; k < cols; ++k) q.group_of.push_back(static_cast<int32_t>(k / 128));
  return q;
}

struct Case {
  const char* name;
  int64_t inputs, outputs;
  bool quantized;
};

void run(const gptq::Backend& backend, const Case& c, double flops, double bandwidth) {
  gptq::Random random(1);
  const auto stream = backend.create_stream(nullptr);
  std::vector<std::unique_ptr<Linear>> copies;  // more than the caches hold
  uint64_t bytes = 0;
  while (bytes < (uint64_t{256} << 20)) {
    copies.push_back(c.quantized ? backend.prepare(random_int4(random, c.outputs, c.inputs), nullptr)
                                 : backend.prepare(random_bf16(random, c.outputs, c.inputs), nullptr));
    bytes += copies.back()->bytes();
    if (copies.size() == 64) break;
  }
  for (int64_t rows : {1, 2, 4, 8, 16, 32, 128, 512}) {
    std::vector<float> x(static_cast<size_t>(rows * c.inputs), 0.5f),
        y(static_cast<size_t>(rows * c.outputs));
    const gptq::Matrix in{reinterpret_cast<std::byte*>(x.data()), rows, c.inputs};
    const gptq::Matrix out{reinterpret_cast<std::byte*>(y.data()), rows, c.outputs};
    const size_t count = rows == 1 ? copies.size() : 1;
    const double seconds = best_seconds([&] {
                             for (size_t i = 0; i < count; ++i) stream->linear(*copies[i], in, out);
                           }) /
                           static_cast<double>(count);
    const double speed = 2.0 * static_cast<double>(rows * c.inputs * c.outputs) / seconds;
    const double reads = static_cast<double>(copies[0]->bytes()) / seconds;
    std::printf("%-5s [%lld, %lld] rows %4lld: %9.1f us  %7.1f GFLOP/s (%3.0f %%)  %6.1f GB/s (%3.0f %%)\n",
                c.name, static_cast<long long>(c.outputs), static_cast<long long>(c.inputs),
                static_cast<long long>(rows), seconds * 1e6, speed * 1e-9,
                flops > 0 ? 100.0 * speed / flops : 0.0, reads * 1e-9, 100.0 * reads / bandwidth);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 0;
  const bool fast = argc > 2 && std::strcmp(argv[2], "fast") == 0;
  const auto backend = gptq::create_backend(
      "cpu", {.threads = threads, .compute = fast ? gptq::Compute::fast : gptq::Compute::exact});
  if (backend->threads() == 1) measured_clock = CLOCK_THREAD_CPUTIME_ID;
  gptq::ThreadPool pool(backend->threads());
  const double flops = peak_flops(pool), bandwidth = read_bandwidth(pool);
  std::printf("%s, %d threads: %.1f GFLOP/s of fp32, %.1f GB/s read\n", backend->description().c_str(),
              backend->threads(), flops * 1e-9, bandwidth * 1e-9);
  for (const Case& c : {Case{"bf16", 4096, 4096, false}, Case{"int4", 4096, 4096, true},
                        Case{"bf16", 512, 1408, false}, Case{"int4", 512, 1408, true}}) {
    run(*backend, c, flops, bandwidth);
  }
  return 0;
}
