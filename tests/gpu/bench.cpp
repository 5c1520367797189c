// How fast the plugin's kernels are on this GPU, as parts of what its memory gives and of what cuBLAS does:
//   gpu_bench [--quick] [--json FILE]
// Products are measured as graphs of launches with weights in turn, of more bytes than its caches have; attention through
// the backend's ops, as models ask for it, in layers in turn for the same reason; steps of a model as graphs and op by op.
// Exit code 77 where there is no GPU.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/half.h"
#include "base/random.h"
#include "base/stopwatch.h"
#include "base/text.h"
#include "cuda/backend_cuda.h"
#include "cuda/cublas.h"
#include "cuda/library_products.h"
#include "cuda/linear_cuda.h"
#include "cuda/runtime.h"
#include "random_weights.h"
#include "read.h"
#include "report.h"
#include "steps.h"
#include "sums.h"

namespace gptq::cuda {
namespace {

constexpr int kNoDevice = 77, kRounds = 7;
constexpr size_t kBeyondCaches = size_t{160} << 20;
using Json = nlohmann::ordered_json;
using test::Report;

void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) throw Error(Status::device, cat(what, ": ", cudaGetErrorString(error)));
}

class Bench {
 public:
  Bench(bool quick, Report& report)
      : quick_(quick),
        report_(report),
        device_(open_device(0)),
        loader_(std::make_shared<Loader>(device_)),
        queue_(device_->create_queue()),
        blas_(std::make_shared<MathLibrary>("cuBLAS", device_->libraries().blas)),
        cublas_(blas_, device_, *queue_),
        library_(blas_, device_, *queue_, {.least_rows = 1}) {
    for (uint16_t& x : noise_) x = float_to_bf16(noise());
  }

  void run() {
    std::printf("on %s\n", device_->description().c_str());
    report_.set("device", device_->description());
    report_.set("quick", quick_);
    {
      const Turn turn(*queue_);
      has_cublas_ = cublas_.is_ready();
    }
    report_.set("cublas", has_cublas_ ? Json(blas_->name()) : Json());
    std::printf("%s\n",
                has_cublas_ ? cat("beside ", blas_->name()).c_str() : "no cuBLAS is here to compare with");
    measure_memory();
    for (int64_t size : {4096, 8192}) {
      int64_t faster_from = 0;
      for (int64_t rows : {1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 4096}) {
        if (quick_ && (size > 4096 || rows > 128)) continue;
        if (!measure_product(size, rows)) {
          faster_from = 0;
        } else if (faster_from == 0) {
          faster_from = rows;
        }
      }
      if (faster_from > 0) {
        report_.add({{"name", "cuBLAS faster"}, {"size", size}, {"from_rows", faster_from}});
        std::printf("%ld x %ld: faster by cuBLAS from %ld rows on, which it is asked for from %ld on\n",
                    static_cast<long>(size), static_cast<long>(size), static_cast<long>(faster_from),
                    static_cast<long>(kLibraryRows));
      }
    }
    for (const auto& [sequences, length, rows] :
         {std::array<int32_t, 3>{1, 2048, 1}, {1, 16384, 1}, {32, 2048, 1}, {1, 2048, 512}})
      measure_attention(sequences, length, rows);
    measure_steps(device_, report_);
    for (const int64_t size : {4096, 11008}) {
      if (quick_ && size > 4096) continue;
      measure_sums(device_, size, report_);
      measure_factors(device_, size, report_);
    }
  }

 private:
  float noise() { return static_cast<float>(2 * random_.uniform() - 1); }
  /// Numbers in bf16 such as models have: of zeros a GPU multiplies more in a second than of others.
  void fill(const Block& memory) {
    for (size_t at = 0; at < memory.bytes(); at += noise_.size() * 2)
      queue_->upload(memory.as<std::byte>() + at, noise_.data(),
                     std::min(noise_.size() * 2, memory.bytes() - at));
  }

  /// Seconds of one of `count` calls, the median of some rounds of a graph that has all of them.
  double seconds(int count, const std::function<void(int)>& call) {
    const Turn turn(*queue_);
    auto* const stream = static_cast<cudaStream_t>(queue_->queue().stream);
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t runnable = nullptr;
    cudaEvent_t begin = nullptr, end = nullptr;
    check(cudaEventCreate(&begin), "cudaEventCreate");
    check(cudaEventCreate(&end), "cudaEventCreate");
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    for (int i = 0; i < count; ++i) call(i);
    check(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
    check(cudaGraphInstantiate(&runnable, graph, 0), "cudaGraphInstantiate");
    std::vector<double> times;
    for (int round = 0; round <= kRounds; ++round) {
      check(cudaEventRecord(begin, stream), "cudaEventRecord");
      check(cudaGraphLaunch(runnable, stream), "cudaGraphLaunch");
      check(cudaEventRecord(end, stream), "cudaEventRecord");
      check(cudaEventSynchronize(end), "work of the GPU");
      float milliseconds = 0;
      check(cudaEventElapsedTime(&milliseconds, begin, end), "cudaEventElapsedTime");
      if (round > 0) times.push_back(milliseconds / 1e3 / count);
    }
    cudaGraphExecDestroy(runnable);
    cudaGraphDestroy(graph);
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
    std::nth_element(times.begin(), times.begin() + kRounds / 2, times.end());
    return times[kRounds / 2];
  }

  void measure_memory() {
    const size_t bytes = size_t{quick_ ? 1u : 4u} << 30;
    const Block memory(device_, bytes), sink(device_, 16);
    queue_->clear(memory.data(), bytes);
    queue_->wait();
    const double time =
        seconds(4, [&](int) { read_all(queue_->queue(), memory.data(), bytes, sink.as<uint32_t>()); });
    bandwidth_ = static_cast<double>(bytes) / time;
    report_.add({{"name", "memory read"}, {"bytes_per_second", bandwidth_}});
    std::printf("memory: %.0f GB/s read\n", bandwidth_ / 1e9);
  }

  /// The plugin's kernel, and beside it cuBLAS with weights that are unpacked each time, as the plugin asks for it, and with
  /// weights in bf16. Says whether the second is faster than the first.
  bool measure_product(int64_t size, int64_t rows) {
    if (size != size_) {
      size_ = size;
      linears_.clear();
      dense_.clear();
      const QTensor weights = test::random_weights(size, size);
      const size_t dense_bytes = static_cast<size_t>(size * size) * 2;
      do {
        linears_.push_back(std::make_unique<CudaLinear>(loader_, weights, std::span<const float>()));
      } while (linears_.size() * linears_[0]->bytes() < kBeyondCaches);
      while (has_cublas_ && dense_.size() * dense_bytes < kBeyondCaches) {
        dense_.emplace_back(device_, dense_bytes);
        fill(dense_.back());
      }
    }
    const size_t bytes = static_cast<size_t>(rows * size) * 2;
    const Block x(device_, bytes), y(device_, bytes), scratch(device_, scratch_of_product(queue_->queue()));
    fill(x);
    queue_->clear(scratch.data(), kFlagBytes);
    queue_->wait();
    const auto count = static_cast<int>(std::max<size_t>(linears_.size(), rows > 128 ? 4 : 16));
    const double time = seconds(count, [&](int i) {
      const Weights w = linears_[static_cast<size_t>(i) % linears_.size()]->weights();
      if (rows <= 8) {
        const Product product{w, y.data()};
        multiply_few(queue_->queue(), Element::bf16, {&product, 1}, x.data(), rows);
      } else {
        multiply(queue_->queue(), Element::bf16, w, x.data(), rows, y.data(), scratch.data());
      }
    });
    const double moved = static_cast<double>(linears_[0]->bytes()) + 2.0 * static_cast<double>(bytes);
    const double flops = 2.0 * static_cast<double>(rows * size * size) / time;
    Json result{{"name", "product, int4 g128"},
                {"size", size},
                {"rows", rows},
                {"seconds", time},
                {"part_of_bandwidth", moved / time / bandwidth_},
                {"flops", flops}};
    std::printf("int4 %ld x %ld, %4ld rows: %8.2f us, %5.1f %% of bandwidth, %6.1f TFLOP/s",
                static_cast<long>(size), static_cast<long>(size), static_cast<long>(rows), time * 1e6,
                100 * moved / time / bandwidth_, flops / 1e12);
    const auto beside = [&](const char* field, const char* what, const std::function<bool(int)>& call) {
      bool worked = true;
      {
        const Turn turn(*queue_);
        worked = call(0);  // it prepares itself outside of a graph
        queue_->wait();
      }
      const double other = worked ? seconds(count, [&](int i) { worked = call(i) && worked; }) : 0;
      if (!worked) return 0.0;
      result[field] = other;
      std::printf(", %8.2f us by cuBLAS %s", other * 1e6, what);
      return other;
    };
    double unpacked = 0;
    if (has_cublas_) {
      unpacked = beside("cublas_unpacked_seconds", "with these weights", [&](int i) {
        const Weights w = linears_[static_cast<size_t>(i) % linears_.size()]->weights();
        return library_.multiply(queue_->queue(), Element::bf16, w, x.data(), rows, y.data());
      });
      const double dense = beside("cublas_bf16_seconds", "in bf16", [&](int i) {
        return cublas_.multiply({.rows = rows,
                                 .cols = size,
                                 .depth = size,
                                 .left = {.data = x.data(), .pitch = size},
                                 .right = {.data = dense_[static_cast<size_t>(i) % dense_.size()].data(),
                                           .pitch = size,
                                           .turned = Turned::yes},
                                 .out = y.data(),
                                 .pitch = size});
      });
      if (dense > 0) result["times_as_fast_as_cublas"] = dense / time;
    }
    std::printf("\n");
    report_.add(std::move(result));
    return unpacked > 0 && unpacked < time;
  }

  /// `rows` more of each sequence, which has `length` positions then; heads of Llama 2 7B.
  void measure_attention(int32_t sequences, int32_t length, int32_t rows) {
    constexpr int64_t kHeads = 32, kDim = 128;
    const auto backend = create_cuda_backend(device_, {.threads = 1, .compute = Compute::fast});
    const auto stream = backend->create_stream(nullptr);
    const size_t layer_bytes = 2 * static_cast<size_t>(sequences) *
                               static_cast<size_t>(length * kHeads * kDim) * stream->element_bytes();
    const size_t layers = (kBeyondCaches + layer_bytes - 1) / layer_bytes;
    const CacheLayer shape{.kv_heads = kHeads, .key_dim = kDim, .value_dim = kDim};
    const auto cache =
        backend->create_cache({.layers = std::vector<CacheLayer>(layers, shape), .sequences = sequences});
    const AttentionParams params{
        .heads = kHeads, .kv_heads = kHeads, .key_dim = kDim, .value_dim = kDim, .scale = 0.088f};
    constexpr int64_t kPiece = 2048;
    const int64_t most = std::max<int64_t>(kPiece, int64_t{sequences} * rows);
    const auto bytes = static_cast<size_t>(most * kHeads * kDim) * stream->element_bytes();
    const auto q = stream->allocate(bytes), k = stream->allocate(bytes), v = stream->allocate(bytes),
               out = stream->allocate(bytes);
    const auto of = [&](const std::unique_ptr<Memory>& memory, int64_t n) {
      return Matrix{memory->data(), n, kHeads * kDim};
    };
    std::vector<float> numbers(static_cast<size_t>(most * kHeads * kDim));
    for (const auto* memory : {&q, &k, &v}) {
      for (float& x : numbers) x = noise();
      stream->upload(numbers.data(), of(*memory, most));
    }
    for (int32_t s = 0; s < sequences; ++s) {
      cache->reserve(s, length);
      for (int32_t at = 0; at < length; at += static_cast<int32_t>(kPiece)) {
        std::vector<Row> piece;
        for (int32_t p = at; p < std::min<int32_t>(length, at + static_cast<int32_t>(kPiece)); ++p)
          piece.push_back({s, p});
        const auto n = static_cast<int64_t>(piece.size());
        for (size_t layer = 0; layer < layers; ++layer)
          stream->rope_store({}, piece, of(q, n), of(k, n), of(v, n), *cache, static_cast<int64_t>(layer));
      }
    }
    std::vector<Row> last;
    for (int32_t s = 0; s < sequences; ++s) {
      for (int32_t i = 0; i < rows; ++i) last.push_back({s, length - rows + i});
    }
    const auto n = static_cast<int64_t>(last.size());
    std::vector<float> one(static_cast<size_t>(kHeads * kDim));
    const int calls = rows > 1 ? 20 : 200;
    double best = 1e30;
    for (int round = 0; round < 4; ++round) {
      stream->download(of(out, 1), one.data());
      const Stopwatch watch;
      for (int i = 0; i < calls; ++i)
        stream->attention(params, last, of(q, n), *cache, i % static_cast<int64_t>(layers), of(out, n));
      stream->download(of(out, 1), one.data());
      best = std::min(best, watch.seconds() / calls);
    }
    const auto moved = static_cast<double>(layer_bytes);
    const double seen = static_cast<double>(n) * (length - (rows - 1) / 2.0);
    const double flops = 4.0 * seen * kHeads * kDim / best;
    report_.add({{"name", "attention"},
                 {"sequences", sequences},
                 {"positions", length},
                 {"rows", rows},
                 {"seconds", best},
                 {"part_of_bandwidth", moved / best / bandwidth_},
                 {"flops", flops}});
    std::printf(
        "attention, %2d x %5d positions, %3d rows each: %8.2f us, %5.1f %% of bandwidth, %6.1f TFLOP/s\n",
        sequences, length, rows, best * 1e6, 100 * moved / best / bandwidth_, flops / 1e12);
  }

  bool quick_;
  bool has_cublas_ = false;
  Report& report_;
  std::shared_ptr<Device> device_;
  std::shared_ptr<Loader> loader_;
  std::unique_ptr<DeviceQueue> queue_;
  std::shared_ptr<MathLibrary> blas_;
  Cublas cublas_;
  LibraryProducts library_;
  Random random_{5};
  std::vector<uint16_t> noise_ = std::vector<uint16_t>(size_t{2} << 20);
  double bandwidth_ = 1;
  int64_t size_ = 0;
  std::vector<std::unique_ptr<CudaLinear>> linears_;
  std::vector<Block> dense_;
};

}  // namespace

int run_bench(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);  // what is said is there, also if time runs out
  bool quick = false;
  std::string json;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--quick") == 0) {
      quick = true;
    } else if (std::strcmp(argv[i], "--json") == 0 && i + 1 < argc) {
      json = argv[++i];
    } else {
      std::fprintf(stderr, "usage: gpu_bench [--quick] [--json FILE]\n");
      return 2;
    }
  }
  try {
    check_device(0);
  } catch (const Error& error) {
    std::fprintf(stderr, "no GPU to measure: %s\n", error.what());
    return kNoDevice;
  }
  try {
    Report report(json);
    Bench(quick, report).run();
    report.complete();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gpu_bench: %s\n", error.what());
    return 1;
  }
  return 0;
}

}  // namespace gptq::cuda

int main(int argc, char** argv) { return gptq::cuda::run_bench(argc, argv); }
