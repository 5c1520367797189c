// Random operands, guarded buffers and plain double-precision twins of the backend's ops.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/half.h"
#include "base/random.h"
#include "cpu/kernels.h"

namespace gptq::test {

/// Uniform in [-1, 1).
inline std::vector<float> random_floats(Random& random, int64_t n, float scale = 1.0f) {
  std::vector<float> out(static_cast<size_t>(n));
  for (float& v : out) v = scale * static_cast<float>(2.0 * random.uniform() - 1.0);
  return out;
}

/// Every set of kernels that this machine runs, plain first; on machines that have all that AMX needs but its tiles, AMX on
/// emulated ones, too.
std::vector<const cpu::Kernels*> kernel_sets();

/// Floats with a pattern behind them that no kernel may touch.
class Guarded {
 public:
  explicit Guarded(int64_t n, float fill = 0.0f) : n_(static_cast<size_t>(n)), values_(n_ + kGuards, kGuard) {
    std::fill_n(values_.begin(), n_, fill);
  }
  explicit Guarded(const std::vector<float>& values) : Guarded(static_cast<int64_t>(values.size())) {
    std::copy(values.begin(), values.end(), values_.begin());
  }
  float* data() { return values_.data(); }
  float operator[](int64_t i) const { return values_[static_cast<size_t>(i)]; }
  bool intact() const {
    for (size_t i = n_; i < values_.size(); ++i) {
      if (values_[i] != kGuard) return false;
    }
    return true;
  }

 private:
  static constexpr size_t kGuards = 40;
  static constexpr float kGuard = 1234.5f;
  size_t n_;
  std::vector<float> values_;
};

/// A dense weight matrix and the values that its bytes stand for. The bytes start at an odd address on request.
struct DenseWeights {
  Tensor tensor;
  std::vector<float> values;
};
enum class Place : uint8_t { aligned, odd };
DenseWeights random_dense(Random& random, DType dtype, int64_t rows, int64_t cols,
                          Place place = Place::aligned);
Tensor float_tensor(const std::vector<float>& values);

struct QuantShape {
  int bits = 4;
  int64_t rows = 0, cols = 0;
  int64_t group_size = 128;  // -1: one group
  enum class Order : uint8_t { sequential, shuffled } order = Order::sequential;
  enum class Zeros : uint8_t { middle, any } zeros = Zeros::middle;  // any: 0 .. 2^bits
};
/// Half of the time fp16 has all scales exactly.
QTensor random_quantized(Random& random, const QuantShape& shape);
/// Values as kernels take them (cpu::GroupValues), in fp32 or rounded to fp16.
struct StoredValues {
  std::vector<float> floats;
  std::vector<uint16_t> halves;

  /// Half of the time in fp16; `values` become what is stored.
  StoredValues(Random& random, std::vector<float>& values);
  StoredValues() = default;
  cpu::GroupValues values() const;
};
/// Sets the field of an input of a column, bit by bit, as cpu::QPanel has it. Words of the column are `stride` apart, and 0.
void put_field(uint32_t* column, int64_t stride, int bits, int64_t input, uint32_t field);
std::vector<float> dequantized(const QTensor& q);

/// x [m, k] w [n, k]^T + bias, and sum |x w| + |bias| of each element, to which an error is compared.
struct Product {
  std::vector<double> values, magnitudes;
};
Product product_of(const std::vector<float>& x, const std::vector<float>& w, const std::vector<float>& bias,
                   int64_t m, int64_t k, int64_t n);

inline Matrix matrix(std::vector<float>& values, int64_t rows, int64_t cols) {
  return {reinterpret_cast<std::byte*>(values.data()), rows, cols};
}

/// y through a new stream of the backend.
std::vector<float> run_linear(const Backend& backend, const Linear& w, const std::vector<float>& x,
                              int64_t rows);

/// Each |got - want| <= tolerance * magnitude + tiny; reports the first that is not.
void expect_close(const std::vector<float>& got, const Product& want, double tolerance,
                  const std::string& what);

inline std::shared_ptr<const Backend> backend_with(int threads) {
  return create_backend("cpu", {.threads = threads});
}

}  // namespace gptq::test
