// A named-type, shaped block of bytes in host memory, owned or borrowed. No arithmetic.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace gptq {

/// Element types a checkpoint may hold; those that the library computes with come first.
enum class DType : uint8_t {
  f32,
  f16,
  bf16,
  i32,
  f64,
  i64,
  i16,
  i8,
  u8,
  boolean,
  u16,
  u32,
  u64,
  f8_e4m3,
  f8_e5m2,
  f8_e8m0,
  f8_e4m3fnuz,
  f8_e5m2fnuz,
  f6_e2m3,
  f6_e3m2,
  f4,
  c64,
};

/// Bits of one element: 4 for f4, 6 for the f6 types, 8 and up for the rest.
int dtype_bits(DType dtype);
/// As safetensors spells it: "F32", "BF16", "F8_E4M3".
std::string_view dtype_name(DType dtype);

struct Tensor {
  DType dtype = DType::f32;
  std::vector<int64_t> shape{};
  const std::byte* data = nullptr;  // row major; aligned for any dtype when owned, maybe not when mapped
  size_t bytes = 0;
  std::shared_ptr<const void> owner{};  // keeps `data` alive

  int64_t elements() const {
    int64_t n = 1;
    for (int64_t d : shape) n *= d;
    return n;
  }
};

/// A zeroed tensor of its own; throws std::bad_alloc. `writable` receives the start of its bytes.
Tensor make_tensor(DType dtype, std::vector<int64_t> shape, std::byte** writable);

/// A copy of `values`, one row of f32.
Tensor float_tensor(std::span<const float> values);

/// Elements as floats: f32, f16, bf16 and f64 only (Fault::unsupported otherwise). `out` holds elements() floats.
void to_float(const Tensor& tensor, float* out);
std::vector<float> to_float(const Tensor& tensor);

/// out[0..count) from the `count` elements that start at element `begin`.
void to_float(const Tensor& tensor, int64_t begin, int64_t count, float* out);

}  // namespace gptq
