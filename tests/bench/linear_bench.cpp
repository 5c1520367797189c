// Linear layers on the CPU by Google Benchmark, in % of what registers multiply (of_peak: bytes for quantized weights
// in `fast`, else fp32, which bf16 and tiles of AMX can be beyond) and of what all threads read from memory (of_read: one row, whose
// weights come from there).
// usage: linear_bench [--threads=N] [--compute=exact] [Google Benchmark's options]
// With one thread times are those of the CPU, so that a busy machine disturbs less.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "base/half.h"
#include "base/random.h"
#include "bench/clock.h"
#include "bench/peaks.h"
#include "bench/read_bandwidth.h"

namespace {

using gptq::Linear;
using gptq::Random;
using gptq::bench::Clock;

gptq::Tensor random_bf16(Random& random, int64_t rows, int64_t cols) {
  std::byte* bytes = nullptr;
  gptq::Tensor t = gptq::make_tensor(gptq::DType::bf16, {rows, cols}, &bytes);
  for (int64_t i = 0; i < rows * cols; ++i) {
    const uint16_t half = gptq::float_to_bf16(static_cast<float>(random.uniform() - 0.5));
    std::memcpy(bytes + 2 * i, &half, 2);
  }
  return t;
}

struct Format {
  const char* name;
  int bits;  // 0: bf16
  int64_t group = 128;
  bool symmetric = true, in_order = true;
};

gptq::QTensor random_codes(Random& random, const Format& format, int64_t rows, int64_t cols) {
  gptq::QTensor q{.bits = format.bits, .rows = rows, .cols = cols, .groups = cols / format.group};
  q.codes.resize(static_cast<size_t>(rows * cols));
  for (uint8_t& code : q.codes) code = static_cast<uint8_t>(random.next() >> (64 - format.bits));
  q.scales.assign(static_cast<size_t>(q.groups * rows), 0.01f);
  q.zeros.assign(q.scales.size(), static_cast<uint16_t>(1 << (format.bits - 1)));
  for (size_t i = 0; !format.symmetric && i < q.zeros.size(); i += 2) ++q.zeros[i];
  for (int64_t k = 0; k < cols; ++k)  // neighbours in different groups, where there is no order
    q.group_of.push_back(static_cast<int32_t>(format.in_order ? k / format.group : k % q.groups));
  return q;
}

struct Machine {
  std::shared_ptr<const gptq::Backend> backend;
  bool rounds;  // inputs to bytes
  gptq::bench::Peaks peaks;
  double bandwidth;
};

struct Shape {
  int64_t outputs, inputs;
};

/// More copies of the weights than the caches hold, of which one row takes one after the other.
std::vector<std::unique_ptr<Linear>> make_linears(const Machine& machine, const Format& format,
                                                  const Shape& shape, int64_t rows) {
  constexpr uint64_t kBeyondCaches = uint64_t{256} << 20;
  Random random(1);
  std::vector<std::unique_ptr<Linear>> linears;
  for (uint64_t bytes = 0; linears.empty() || (rows == 1 && bytes < kBeyondCaches);
       bytes += linears.back()->bytes()) {
    linears.push_back(
        format.bits == 0
            ? machine.backend->prepare(random_bf16(random, shape.outputs, shape.inputs), nullptr)
            : machine.backend->prepare(random_codes(random, format, shape.outputs, shape.inputs), nullptr));
  }
  return linears;
}

void run(benchmark::State& state, const std::string& name, const Machine& machine, const Format& format,
         const Shape& shape, int64_t rows) {
  // made once for all that Google Benchmark tries with them
  static std::string kept;
  static std::vector<std::unique_ptr<Linear>> linears;
  if (kept != name) {
    linears.clear();
    linears = make_linears(machine, format, shape, rows);
    kept = name;
  }
  const auto stream = machine.backend->create_stream(nullptr);
  std::vector<float> x(static_cast<size_t>(rows * shape.inputs), 0.5f),
      y(static_cast<size_t>(rows * shape.outputs));
  const gptq::Matrix in{reinterpret_cast<std::byte*>(x.data()), rows, shape.inputs};
  const gptq::Matrix out{reinterpret_cast<std::byte*>(y.data()), rows, shape.outputs};
  size_t next = 0;
  const Clock watch(machine.backend->threads());
  for (auto _ : state) {
    stream->linear(*linears[next], in, out);
    next = (next + 1) % linears.size();
  }
  const double seconds = watch.seconds() / static_cast<double>(state.iterations());
  const double operations = 2.0 * static_cast<double>(rows * shape.outputs * shape.inputs);
  const bool as_bytes = machine.rounds && format.bits != 0;
  const double peak = as_bytes ? machine.peaks.int8 : machine.peaks.fp32;
  state.counters["GOP/s"] = 1e-9 * operations / seconds;
  if (peak > 0) state.counters["of_peak_%"] = 100 * operations / seconds / peak;
  if (rows == 1) {
    const double bytes = static_cast<double>(linears[0]->bytes());
    state.counters["of_read_%"] = 100 * bytes / seconds / machine.bandwidth;
  }
}

void add(const Machine& machine, const Format& format, const Shape& shape, int64_t rows) {
  const std::string name = std::string(format.name) + "/" + std::to_string(shape.outputs) + "x" +
                           std::to_string(shape.inputs) + "/rows:" + std::to_string(rows);
  auto* const added = benchmark::RegisterBenchmark(
      name.c_str(), [name, &machine, format, shape, rows](benchmark::State& state) {
        run(state, name, machine, format, shape, rows);
      });
  added->Unit(benchmark::kMicrosecond);
  if (machine.backend->threads() > 1) added->UseRealTime();
}

/// The value of an option "--name=value", which is taken out of the list.
std::string take_option(std::vector<char*>& arguments, std::string_view name) {
  std::string value;
  std::erase_if(arguments, [&](const char* argument) {
    const std::string_view text = argument;
    if (!text.starts_with(name)) return false;
    value = text.substr(name.size());
    return true;
  });
  return value;
}

void measure(int threads, bool fast) {
  Machine machine{
      .backend = gptq::create_backend(
          "cpu", {.threads = threads, .compute = fast ? gptq::Compute::fast : gptq::Compute::exact}),
      .rounds = fast,
      .peaks = {},
      .bandwidth = 0};
  {
    gptq::ThreadPool pool(machine.backend->threads());
    machine.peaks = gptq::bench::measure_peaks(pool);
    machine.bandwidth = gptq::read_bandwidth(pool);
  }
  std::fprintf(stderr, "%s, %d threads: %.0f GFLOP/s of fp32, %.0f GOP/s of bytes, %.1f GB/s read\n",
               machine.backend->description().c_str(), machine.backend->threads(), machine.peaks.fp32 * 1e-9,
               machine.peaks.int8 * 1e-9, machine.bandwidth * 1e-9);
  for (int64_t rows : {1, 2, 4, 8, 16, 32, 64, 128, 512}) {
    for (const Format& format : {Format{"bf16", 0}, Format{"4_bits_g128", 4}})
      for (const Shape& shape : {Shape{4096, 4096}, Shape{512, 1408}}) add(machine, format, shape, rows);
  }
  for (int64_t rows : {1, 8, 512}) {
    for (const Format& format : {Format{"2_bits_g128", 2}, Format{"3_bits_g128", 3}, Format{"8_bits_g128", 8},
                                 Format{"4_bits_g32", 4, 32}, Format{"4_bits_g128_asym", 4, 128, false},
                                 Format{"4_bits_g128_act_order", 4, 128, true, false}}) {
      add(machine, format, {4096, 4096}, rows);
    }
  }
  benchmark::RunSpecifiedBenchmarks();
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<char*> arguments(argv, argv + argc);
  const std::string threads_text = take_option(arguments, "--threads="),
                    compute = take_option(arguments, "--compute=");
  char* end = nullptr;
  const int64_t threads = std::strtol(threads_text.c_str(), &end, 10);
  if (*end != 0 || threads < 0 || threads > 1024 ||
      (!compute.empty() && compute != "exact" && compute != "fast")) {
    std::fprintf(stderr,
                 "usage: linear_bench [--threads=N] [--compute=exact|fast] [Google Benchmark's options]\n");
    return 2;
  }
  int count = static_cast<int>(arguments.size());
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;
  try {
    measure(static_cast<int>(threads), compute != "exact");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "linear_bench: %s\n", error.what());
    return 1;
  }
  return 0;
}
