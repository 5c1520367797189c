#include "base/tensor.h"

#include <array>
#include <cstring>

#include "base/error.h"
#include "base/half.h"
#include "base/text.h"

namespace gptq {
namespace {

struct DTypeRow {
  DType dtype;
  int bits;
  std::string_view name;
};

constexpr std::array<DTypeRow, 22> kDTypes{{
    {DType::f32, 32, "F32"},
    {DType::f16, 16, "F16"},
    {DType::bf16, 16, "BF16"},
    {DType::i32, 32, "I32"},
    {DType::f64, 64, "F64"},
    {DType::i64, 64, "I64"},
    {DType::i16, 16, "I16"},
    {DType::i8, 8, "I8"},
    {DType::u8, 8, "U8"},
    {DType::boolean, 8, "BOOL"},
    {DType::u16, 16, "U16"},
    {DType::u32, 32, "U32"},
    {DType::u64, 64, "U64"},
    {DType::f8_e4m3, 8, "F8_E4M3"},
    {DType::f8_e5m2, 8, "F8_E5M2"},
    {DType::f8_e8m0, 8, "F8_E8M0"},
    {DType::f8_e4m3fnuz, 8, "F8_E4M3FNUZ"},
    {DType::f8_e5m2fnuz, 8, "F8_E5M2FNUZ"},
    {DType::f6_e2m3, 6, "F6_E2M3"},
    {DType::f6_e3m2, 6, "F6_E3M2"},
    {DType::f4, 4, "F4"},
    {DType::c64, 64, "C64"},
}};

template <class T>
T load(const std::byte* p) {
  T value;
  std::memcpy(&value, p, sizeof value);  // mapped data may be unaligned
  return value;
}

}  // namespace

int dtype_bits(DType dtype) { return kDTypes[static_cast<size_t>(dtype)].bits; }
std::string_view dtype_name(DType dtype) { return kDTypes[static_cast<size_t>(dtype)].name; }

Tensor make_tensor(DType dtype, std::vector<int64_t> shape, std::byte** writable) {
  Tensor t{.dtype = dtype, .shape = std::move(shape)};
  t.bytes = (static_cast<size_t>(t.elements()) * static_cast<size_t>(dtype_bits(dtype)) + 7) / 8;
  auto storage = std::make_shared<std::vector<std::byte>>(t.bytes);
  *writable = storage->data();
  t.data = storage->data();
  t.owner = std::move(storage);
  return t;
}

Tensor float_tensor(std::span<const float> values) {
  std::byte* out = nullptr;
  Tensor tensor = make_tensor(DType::f32, {static_cast<int64_t>(values.size())}, &out);
  if (!values.empty()) std::memcpy(out, values.data(), values.size_bytes());
  return tensor;
}

void to_float(const Tensor& tensor, int64_t begin, int64_t count, float* out) {
  const auto n = static_cast<size_t>(count);
  const std::byte* p =
      tensor.data + static_cast<size_t>(begin) * static_cast<size_t>(dtype_bits(tensor.dtype)) / 8;
  switch (tensor.dtype) {
    case DType::f32:
      if (n != 0) std::memcpy(out, p, n * sizeof(float));
      return;
    case DType::f16:
      for (size_t i = 0; i < n; ++i) out[i] = fp16_to_float(load<uint16_t>(p + 2 * i));
      return;
    case DType::bf16:
      for (size_t i = 0; i < n; ++i) out[i] = bf16_to_float(load<uint16_t>(p + 2 * i));
      return;
    case DType::f64:
      for (size_t i = 0; i < n; ++i) out[i] = static_cast<float>(load<double>(p + 8 * i));
      return;
    default:
      throw Error(Fault::unsupported,
                  cat("weights of type ", dtype_name(tensor.dtype), ", wanted F32, F16, BF16 or F64"));
  }
}

void to_float(const Tensor& tensor, float* out) { to_float(tensor, 0, tensor.elements(), out); }

std::vector<float> to_float(const Tensor& tensor) {
  std::vector<float> out(static_cast<size_t>(tensor.elements()));
  to_float(tensor, out.data());
  return out;
}

}  // namespace gptq
