// NVIDIA's devices by the CUDA runtime, which is linked statically: of a machine it needs the driver alone.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "base/error.h"
#include "base/text.h"
#include "cuda/process.h"
#include "cuda/runtime.h"

namespace gptq::cuda {
namespace {

constexpr int kLeastMajor = 8;  // compute capability: cp.async, and mma of bf16
constexpr size_t kStagedBytes = 256 << 10;
constexpr size_t kStages = 4;

[[noreturn]] void fail(cudaError_t error, std::string_view what) {
  static_cast<void>(cudaGetLastError());  // reported here, so the next launch need not
  throw Error(error == cudaErrorMemoryAllocation ? Status::out_of_memory : Status::device,
              cat(what, ": ", cudaGetErrorString(error), " (", cudaGetErrorName(error), ')'));
}

void check(cudaError_t error, std::string_view what) {
  if (error != cudaSuccess) fail(error, what);
}

std::string version_text(int version) { return cat(version / 1000, '.', version % 1000 / 10); }

void check_driver() {
  int driver = 0, runtime = 0;
  check(cudaRuntimeGetVersion(&runtime), "the CUDA runtime");
  check(cudaDriverGetVersion(&driver), "the NVIDIA driver");
  if (driver == 0) throw Error(Status::device, "there is no NVIDIA driver: libcuda.so.1 is not found");
  if (driver / 1000 < runtime / 1000) {
    throw Error(Status::device, cat("the NVIDIA driver is too old: it is for CUDA ", version_text(driver),
                                    ", wanted ", runtime / 1000, ".0 or newer"));
  }
}

/// Makes a device this thread's while it lives; the host may have chosen another.
class Current {
 public:
  explicit Current(int device) {
    check(cudaGetDevice(&before_), "cudaGetDevice");
    check(cudaSetDevice(device), "cudaSetDevice");
  }
  Current(const Current&) = delete;
  Current& operator=(const Current&) = delete;
  ~Current() { cudaSetDevice(before_); }

 private:
  int before_ = 0;
};

/// Driver's objects stay alone in a child of the process that made them.
class OwnProcess : public Process {
 public:
  void check() const {
    if (!is_this()) throw Error(Status::device, "the GPU was opened before fork(): a child can't use it");
  }
};

class CudaGraph final : public Graph {
 public:
  CudaGraph() = default;
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;
  ~CudaGraph() override {
    if (graph != nullptr && process_.is_this()) cudaGraphExecDestroy(graph);
  }

  cudaGraphExec_t graph = nullptr;

 private:
  OwnProcess process_;
};

class CudaQueue final : public DeviceQueue {
 public:
  CudaQueue(const cudaDeviceProp& properties, int number) : number_(number) {
    const Current current(number);
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
    queue_ = {.stream = stream_,
              .processors = properties.multiProcessorCount,
              .architecture = 10 * properties.major + properties.minor};
    try {
      void* memory = nullptr;
      check(cudaHostAlloc(&memory, kStages * kStagedBytes, cudaHostAllocDefault), "cudaHostAlloc");
      staged_ = static_cast<std::byte*>(memory);
      for (cudaEvent_t& event : arrived_) create(event);
      for (cudaEvent_t& event : paces_) create(event);
    } catch (...) {
      close();
      throw;
    }
  }
  CudaQueue(const CudaQueue&) = delete;
  CudaQueue& operator=(const CudaQueue&) = delete;
  ~CudaQueue() override {
    if (!process_.is_this()) return;
    cudaStreamSynchronize(stream_);
    close();
  }

  const Queue& queue() const override { return queue_; }

  void enter() override {
    process_.check();
    check(cudaGetDevice(&before_), "cudaGetDevice");
    if (before_ != number_) check(cudaSetDevice(number_), "cudaSetDevice");
  }
  void leave() noexcept override {
    if (before_ != number_) static_cast<void>(cudaSetDevice(before_));
  }

  void upload(void* to, const void* host, size_t bytes) override {
    process_.check();
    const auto* from = static_cast<const std::byte*>(host);
    auto* target = static_cast<std::byte*>(to);
    while (bytes > 0) {
      const size_t part = std::min(bytes, kStagedBytes);
      if (used_ + part > kStagedBytes) next_stage();
      std::byte* const stage = staged_ + stage_ * kStagedBytes + used_;
      std::memcpy(stage, from, part);
      check(cudaMemcpyAsync(target, stage, part, cudaMemcpyHostToDevice, stream_), "a copy to the GPU");
      used_ += (part + 15) / 16 * 16;
      from += part;
      target += part;
      bytes -= part;
    }
  }

  void download(void* host, const void* from, size_t bytes) override {
    process_.check();
    if (bytes > 0)
      check(cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, stream_), "a copy from the GPU");
    wait();
  }

  void copy(void* to, const void* from, size_t bytes) override {
    process_.check();
    if (bytes > 0)
      check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_), "a copy on the GPU");
  }

  void clear(void* to, size_t bytes) override {
    process_.check();
    if (bytes > 0) check(cudaMemsetAsync(to, 0, bytes, stream_), "clearing memory of the GPU");
  }

  void wait() override {
    process_.check();
    check(cudaStreamSynchronize(stream_), "work of the GPU");
  }

  void pace() override {
    // an event that was never recorded is done
    check(cudaEventSynchronize(paces_[pace_]), "work of the GPU");
    check(cudaEventRecord(paces_[pace_], stream_), "cudaEventRecord");
    pace_ = (pace_ + 1) % paces_.size();
  }

  std::unique_ptr<Graph> capture(const CommandList& list) override {
    process_.check();
    auto captured = std::make_unique<CudaGraph>();
    cudaGraph_t graph = nullptr;
    // Other threads of the host may do meanwhile what this one may not, but for what concerns all of the device: that, too,
    // ends a capture.
    cudaError_t error = cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal);
    std::string fault;
    if (error == cudaSuccess) {
      try {
        list.run(*this);
      } catch (const std::exception& thrown) {
        fault = thrown.what();
      }
      error = cudaStreamEndCapture(stream_, &graph);
      if (error == cudaSuccess && !fault.empty()) error = cudaErrorStreamCaptureInvalidated;
    }
    if (error == cudaSuccess) error = cudaGraphInstantiate(&captured->graph, graph, 0);
    // what it needs of the device's memory is there before it is begun
    if (error == cudaSuccess) error = cudaGraphUpload(captured->graph, stream_);
    if (graph != nullptr) cudaGraphDestroy(graph);
    if (error == cudaSuccess) return captured;
    if (fault.empty()) fail(error, "a graph");
    static_cast<void>(cudaGetLastError());
    throw Error(Status::device, cat("a graph: ", fault));
  }

  void launch(Graph& graph) override {
    process_.check();
    check(cudaGraphLaunch(static_cast<CudaGraph&>(graph).graph, stream_), "cudaGraphLaunch");
  }

 private:
  static void create(cudaEvent_t& event) {
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming | cudaEventBlockingSync),
          "cudaEventCreate");
  }

  /// Goes on in the stage whose copies were begun longest ago, once they are done.
  void next_stage() {
    check(cudaEventRecord(arrived_[stage_], stream_), "cudaEventRecord");
    stage_ = (stage_ + 1) % kStages;
    check(cudaEventSynchronize(arrived_[stage_]), "work of the GPU");
    used_ = 0;
  }

  static void destroy(cudaEvent_t event) {
    if (event != nullptr) cudaEventDestroy(event);
  }
  void close() {
    for (cudaEvent_t event : arrived_) destroy(event);
    for (cudaEvent_t event : paces_) destroy(event);
    if (staged_ != nullptr) cudaFreeHost(staged_);
    cudaStreamDestroy(stream_);
  }

  OwnProcess process_;
  int number_;
  cudaStream_t stream_ = nullptr;
  Queue queue_;
  std::byte* staged_ = nullptr;                 // [kStages][kStagedBytes] pinned: what uploads copy from
  std::array<cudaEvent_t, kStages> arrived_{};  // what was copied from each
  size_t stage_ = 0, used_ = 0;                 // the one in use, and its bytes that are
  std::array<cudaEvent_t, kMostAhead> paces_{};
  size_t pace_ = 0;
  int before_ = 0;  // the thread's device outside of a turn
};

class CudaDevice final : public Device {
 public:
  explicit CudaDevice(int number) : number_(number) {
    check(cudaGetDeviceProperties(&properties_, number), "the GPU");
    description_ = cat(properties_.name, ", compute capability ", properties_.major, '.', properties_.minor);
  }

  const std::string& description() const override { return description_; }

  size_t free_bytes() override {
    process_.check();
    const Current current(number_);
    size_t free = 0, all = 0;
    check(cudaMemGetInfo(&free, &all), "cudaMemGetInfo");
    return free;
  }

  void* allocate(size_t bytes) override {
    process_.check();
    const Current current(number_);
    void* memory = nullptr;
    const cudaError_t error = cudaMalloc(&memory, std::max<size_t>(bytes, 1));
    if (error == cudaErrorMemoryAllocation) {
      static_cast<void>(cudaGetLastError());
      size_t free = 0, all = 0;
      static_cast<void>(cudaMemGetInfo(&free, &all));
      throw Error(Status::out_of_memory,
                  cat("the GPU has no ", bytes, " bytes more: ", free, " of ", all, " are free"));
    }
    check(error, "cudaMalloc");
    return memory;
  }

  void free(void* memory) noexcept override {
    if (process_.is_this()) static_cast<void>(cudaFree(memory));
  }

  std::unique_ptr<DeviceQueue> create_queue() override {
    process_.check();
    return std::make_unique<CudaQueue>(properties_, number_);
  }

  LibraryNames libraries() const override { return nvidia_libraries(); }

 private:
  OwnProcess process_;
  int number_;
  cudaDeviceProp properties_{};
  std::string description_;
};

}  // namespace

void check_device(int number) {
  check_driver();
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaErrorNoDevice) check(error, "the NVIDIA driver");
  if (count == 0) throw Error(Status::device, "the NVIDIA driver has no device");
  if (number >= count) {
    throw Error(Status::invalid_argument,
                cat("device 'cuda:", number, "' is not there: the last one is 'cuda:", count - 1, "'"));
  }
  int major = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, number), "the GPU");
  if (major < kLeastMajor) {
    throw Error(Status::device, cat("device 'cuda:", number, "' has compute capability ", major,
                                    ".x, wanted ", kLeastMajor, ".0 or higher"));
  }
}

LibraryNames nvidia_libraries() {
  const auto places = [](std::initializer_list<const char*> names) {
    std::vector<std::string> all;
    for (const char* name : names) {
      all.emplace_back(name);
      all.push_back(cat("/usr/local/cuda/lib64/", name));
    }
    return all;
  };
  return {.blas = places({"libcublas.so.13", "libcublas.so.12"}),
          .solver = places({"libcusolver.so.12", "libcusolver.so.11"})};
}

std::shared_ptr<Device> open_device(int number) {
  check_device(number);
  return std::make_shared<CudaDevice>(number);
}

}  // namespace gptq::cuda
