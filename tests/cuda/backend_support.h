// The backend on a device in host memory, beside the CPU backend.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cuda/backend_cuda.h"
#include "cuda_support.h"
#include "host_device.h"

namespace gptq::cuda {

inline constexpr float kRounding = 0x1p-8f;  // of bf16

/// Values that bf16 holds.
inline std::vector<float> random_halves(Random& random, int64_t n, float scale = 1.0f) {
  std::vector<float> values = random_floats(random, n, scale);
  for (float& v : values) v = bf16_to_float(float_to_bf16(v));
  return values;
}

/// In order, or with the groups of inputs mixed up.
inline QTensor random_weights(Random& random, int bits, int64_t rows, int64_t cols, int64_t groups,
                              bool in_order) {
  QTensor q{.bits = bits, .rows = rows, .cols = cols, .groups = groups};
  for (int64_t i = 0; i < rows * cols; ++i)
    q.codes.push_back(static_cast<uint8_t>(random.uniform() * (1 << bits)));
  for (int64_t i = 0; i < rows * groups; ++i) {
    q.scales.push_back(fp16_to_float(float_to_fp16(static_cast<float>(0.01 + 0.02 * random.uniform()))));
    q.zeros.push_back(static_cast<uint16_t>(random.uniform() * (1 << bits)));
  }
  for (int64_t k = 0; k < cols; ++k)
    q.group_of.push_back(static_cast<int32_t>(in_order ? k * groups / cols : (k * 7 + k / 3) % groups));
  return q;
}

/// Both backends, a stream of each, and matrices of the same values in both.
class BackendTest : public testing::Test {
 protected:
  /// The device has these libraries.
  explicit BackendTest(LibraryNames libraries = {}) : state_{.libraries = std::move(libraries)} {}

  /// A matrix in the memory of each.
  struct Pair {
    std::vector<float> cpu_values;
    std::unique_ptr<Memory> memory;
    Matrix cpu, gpu;
  };

  Pair make(int64_t rows, int64_t cols, float scale = 1.0f) {
    Pair pair;
    pair.cpu_values = random_halves(random_, rows * cols, scale);
    pair.memory = stream_->allocate(static_cast<size_t>(rows * cols) * stream_->element_bytes());
    pair.cpu = matrix_of(pair.cpu_values, rows, cols);
    pair.gpu = {pair.memory->data(), rows, cols};
    stream_->upload(pair.cpu_values.data(), pair.gpu);
    return pair;
  }
  void expect_same(const Pair& pair, const std::string& what, float tolerance = kRounding,
                   float scale = 0.01f) {
    std::vector<float> got(pair.cpu_values.size());
    stream_->download(pair.gpu, got.data());
    expect_near(got, pair.cpu_values, tolerance, scale, what);
  }

  HostDeviceState state_;
  std::atomic<bool> cancel_ = false;
  std::shared_ptr<const Backend> backend_ =
      create_cuda_backend(create_host_device(state_), {.threads = 1, .compute = Compute::fast});
  std::shared_ptr<const Backend> cpu_ = gptq::create_backend("cpu", {.threads = 1});
  std::unique_ptr<Stream> stream_ = backend_->create_stream(&cancel_);
  std::unique_ptr<Stream> reference_ = cpu_->create_stream(nullptr);
  Random random_{11};
};

}  // namespace gptq::cuda
