#include "ops_support.h"

#include <cmath>
#include <numeric>
#include <string_view>

namespace gptq::test {

#if defined(__x86_64__)
cpu::RoundedKernels emulated_rounded();
cpu::Gemms emulated_gemms();

namespace {

const cpu::Kernels& emulated_amx() {
  static const cpu::RoundedKernels rounded = emulated_rounded();
  static const cpu::Kernels kernels = [] {
    cpu::Kernels all = cpu::kernels_avx512();
    all.name = "amx_emulated";
    all.rounded = &rounded;
    all.fast = emulated_gemms();
    return all;
  }();
  return kernels;
}

}  // namespace
#endif

std::vector<const cpu::Kernels*> kernel_sets() {
  const cpu::Kernels* available[cpu::kMaxKernelSets];
  const int count = cpu::available_kernels(available);
  std::vector<const cpu::Kernels*> sets(available, available + count);
#if defined(__x86_64__)
  if (std::string_view(sets.back()->name) == "avx512_bf16") sets.push_back(&emulated_amx());
#endif
  return sets;
}

DenseWeights random_dense(Random& random, DType dtype, int64_t rows, int64_t cols, Place place) {
  DenseWeights w;
  w.values = random_floats(random, rows * cols);
  const size_t size = dtype == DType::f32 ? 4 : 2;
  const size_t offset = place == Place::odd ? 1 : 0;
  auto storage = std::make_shared<std::vector<std::byte>>(w.values.size() * size + offset);
  for (size_t i = 0; i < w.values.size(); ++i) {
    std::byte* at = storage->data() + offset + i * size;
    if (dtype == DType::f32) {
      std::memcpy(at, &w.values[i], 4);
      continue;
    }
    const uint16_t half = dtype == DType::f16 ? float_to_fp16(w.values[i]) : float_to_bf16(w.values[i]);
    w.values[i] = dtype == DType::f16 ? fp16_to_float(half) : bf16_to_float(half);
    std::memcpy(at, &half, 2);
  }
  w.tensor.dtype = dtype;
  w.tensor.shape = {rows, cols};
  w.tensor.data = storage->data() + offset;
  w.tensor.bytes = w.values.size() * size;
  w.tensor.owner = storage;
  return w;
}

Tensor float_tensor(const std::vector<float>& values) {
  std::byte* bytes = nullptr;
  Tensor t = make_tensor(DType::f32, {static_cast<int64_t>(values.size())}, &bytes);
  if (!values.empty()) std::memcpy(bytes, values.data(), t.bytes);
  return t;
}

QTensor random_quantized(Random& random, const QuantShape& shape) {
  QTensor q;
  q.bits = shape.bits;
  q.rows = shape.rows;
  q.cols = shape.cols;
  const int64_t group = shape.group_size < 0 ? shape.cols : shape.group_size;
  q.groups = (shape.cols + group - 1) / group;
  for (int64_t k = 0; k < q.cols; ++k) q.group_of.push_back(static_cast<int32_t>(k / group));
  if (shape.order == QuantShape::Order::shuffled) {
    for (size_t i = q.group_of.size(); i > 1; --i) std::swap(q.group_of[i - 1], q.group_of[random.below(i)]);
  }
  const uint64_t levels = uint64_t{1} << q.bits;
  const bool in_fp16 = random.below(2) == 0;
  for (int64_t i = 0; i < q.rows * q.cols; ++i) q.codes.push_back(static_cast<uint8_t>(random.below(levels)));
  for (int64_t i = 0; i < q.groups * q.rows; ++i) {
    const auto scale = static_cast<float>(0.01 + 0.1 * random.uniform());
    q.scales.push_back(in_fp16 ? fp16_to_float(float_to_fp16(scale)) : scale);
    const bool any = shape.zeros == QuantShape::Zeros::any;
    q.zeros.push_back(static_cast<uint16_t>(any ? random.below(levels + 1) : levels / 2));
  }
  return q;
}

void put_field(uint32_t* column, int64_t stride, int bits, int64_t input, uint32_t field) {
  for (int b = 0; b < bits; ++b) {
    int64_t word = input * bits / 32, place = input * bits % 32 + b;
    if (bits ==
        3) {  // of a byte the number of its input, and of that, if it is one of the last two, the number of the bit
      const int64_t number = input % 32 / 4, late = 3 * (number - 6) + b;
      word = input / 32 * 3 + (number < 6 ? number / 2 : late / 2);
      place = 8 * (input % 4) + (number < 6 ? 3 * (number % 2) + b : 6 + late % 2);
    }
    column[word * stride] |= (field >> b & 1) << place;
  }
}

std::vector<float> dequantized(const QTensor& q) {
  std::vector<float> w(static_cast<size_t>(q.rows * q.cols));
  for (int64_t n = 0; n < q.rows; ++n) dequantize_row(q, n, w.data() + n * q.cols);
  return w;
}

Product product_of(const std::vector<float>& x, const std::vector<float>& w, const std::vector<float>& bias,
                   int64_t m, int64_t k, int64_t n) {
  Product p;
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      const double b = bias.empty() ? 0.0 : double{bias[static_cast<size_t>(j)]};
      double value = b, magnitude = std::abs(b);
      for (int64_t l = 0; l < k; ++l) {
        const double term = double{x[static_cast<size_t>(i * k + l)]} * w[static_cast<size_t>(j * k + l)];
        value += term;
        magnitude += std::abs(term);
      }
      p.values.push_back(value);
      p.magnitudes.push_back(magnitude);
    }
  }
  return p;
}

StoredValues::StoredValues(Random& random, std::vector<float>& values) {
  if (random.below(2) == 0) {
    floats = values;
    return;
  }
  for (float& value : values) {
    halves.push_back(float_to_fp16(value));
    value = fp16_to_float(halves.back());
  }
}

cpu::GroupValues StoredValues::values() const {
  return {floats.empty() ? nullptr : floats.data(), halves.empty() ? nullptr : halves.data()};
}

std::vector<float> run_linear(const Backend& backend, const Linear& w, const std::vector<float>& x,
                              int64_t rows) {
  const auto stream = backend.create_stream(nullptr);
  std::vector<float> in = x, y(static_cast<size_t>(rows * w.out_features()), 77.0f);
  stream->linear(w, matrix(in, rows, w.in_features()), matrix(y, rows, w.out_features()));
  return y;
}

void expect_close(const std::vector<float>& got, const Product& want, double tolerance,
                  const std::string& what) {
  ASSERT_EQ(got.size(), want.values.size()) << what;
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(got[i] - want.values[i]);
    ASSERT_LE(error, tolerance * want.magnitudes[i] + 1e-30)
        << what << ": element " << i << " is " << got[i] << ", wanted " << want.values[i];
  }
}

}  // namespace gptq::test
