// What the writers of all layouts share, and the choice of one.
#include "format/written_module.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/half.h"
#include "base/text.h"
#include "format/compressed_tensors_layout.h"
#include "format/gptq_layout.h"

namespace gptq {
namespace {

bool fits_fp16(float value) { return fp16_to_float(float_to_fp16(value)) == value; }
bool fits_bf16(float value) { return bf16_to_float(float_to_bf16(value)) == value; }

DType narrowest(const std::vector<float>& scales) {
  if (std::all_of(scales.begin(), scales.end(), fits_fp16)) return DType::f16;
  if (std::all_of(scales.begin(), scales.end(), fits_bf16)) return DType::bf16;
  return DType::f32;
}

[[noreturn]] void read_only(QuantFormat format) {
  throw Error(Fault::unsupported, cat("the format ", quant_format_name(format), " is read and not written"));
}

}  // namespace

ModuleShape shape_of(const QTensor& q) {
  const int middle = 1 << (q.bits - 1);
  const bool symmetric =
      std::all_of(q.zeros.begin(), q.zeros.end(), [&](uint16_t zero) { return zero == middle; });
  return {.in_features = q.cols,
          .out_features = q.rows,
          .bits = q.bits,
          .groups = q.groups,
          .symmetry = symmetric ? Symmetry::symmetric : Symmetry::asymmetric,
          .scale_type = narrowest(q.scales)};
}

std::vector<std::byte> pack_scales(const std::vector<float>& scales, DType type, std::string_view module) {
  const auto size = static_cast<size_t>(dtype_bits(type) / 8);
  std::vector<std::byte> bytes(scales.size() * size);
  for (size_t i = 0; i < scales.size(); ++i) {
    const uint16_t half = type == DType::f16 ? float_to_fp16(scales[i]) : float_to_bf16(scales[i]);
    const float stored = type == DType::f16    ? fp16_to_float(half)
                         : type == DType::bf16 ? bf16_to_float(half)
                                               : scales[i];
    if (!(stored > 0) || !std::isfinite(stored)) {
      throw Error(Fault::numeric,
                  cat(module, ": a scale of ", scales[i], " is not a positive number in ", dtype_name(type)));
    }
    std::memcpy(bytes.data() + i * size, type == DType::f32 ? static_cast<const void*>(&stored) : &half,
                size);
  }
  return bytes;
}

bool raise_zero_points(QTensor& q) {
  const auto n = static_cast<size_t>(q.rows), k = static_cast<size_t>(q.cols);
  const int top = (1 << q.bits) - 1;
  std::vector<uint8_t> low(static_cast<size_t>(q.groups));  // of one output: groups to be raised
  bool all = true;
  for (size_t row = 0; row < n; ++row) {
    for (size_t g = 0; g < low.size(); ++g) low[g] = q.zeros[g * n + row] == 0;
    uint8_t* codes = q.codes.data() + row * k;
    for (size_t i = 0; i < k; ++i) {
      if (codes[i] == top) low[static_cast<size_t>(q.group_of[i])] = 0;
    }
    for (size_t i = 0; i < k; ++i) codes[i] += low[static_cast<size_t>(q.group_of[i])];
    for (size_t g = 0; g < low.size(); ++g) {
      q.zeros[g * n + row] = static_cast<uint16_t>(q.zeros[g * n + row] + low[g]);
      all = all && q.zeros[g * n + row] != 0;
    }
  }
  return all;
}

bool is_in_order(const QTensor& q) {
  // all groups are full but perhaps the last
  const auto in_first = std::find_if(q.group_of.begin(), q.group_of.end(), [](int32_t g) { return g != 0; });
  const auto per_group = in_first - q.group_of.begin();
  if (per_group == 0 || (q.cols + per_group - 1) / per_group != q.groups) return false;
  for (size_t k = 0; k < q.group_of.size(); ++k) {
    if (q.group_of[k] != static_cast<int64_t>(k) / per_group) return false;
  }
  return true;
}

void check_writable(const QTensor& q, std::string_view module, QuantFormat format) {
  if (format != QuantFormat::compressed_tensors) return;
  if (q.cols % q.groups != 0) {
    throw Error(Fault::unsupported, cat(module, ": ", q.groups, " groups do not divide ", q.cols,
                                        " inputs, which compressed-tensors can't hold"));
  }
  if (is_in_order(q)) return;
  throw Error(Fault::unsupported, cat(module,
                                      ": its inputs are quantized in activation order, which "
                                      "compressed-tensors can't hold"));
}

std::vector<TensorInfo> module_tensors(std::string_view module, const ModuleShape& shape,
                                       QuantFormat format) {
  switch (format) {
    case QuantFormat::gptq:
    case QuantFormat::gptq_v2: return gptq_module_tensors(module, shape);
    case QuantFormat::compressed_tensors: return compressed_module_tensors(module, shape);
    default: read_only(format);
  }
}

std::vector<NamedBytes> write_module(const QTensor& q, std::string_view module, const ModuleShape& shape,
                                     QuantFormat format) {
  switch (format) {
    case QuantFormat::gptq:
    case QuantFormat::gptq_v2: return write_gptq_module(q, module, shape, format);
    case QuantFormat::compressed_tensors: return write_compressed_module(q, module, shape);
    default: read_only(format);
  }
}

}  // namespace gptq
