// A quantized module in a checkpoint: the checked lookups that the readers of all layouts share.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/parallel.h"
#include "format/checkpoint.h"

namespace gptq {

inline constexpr std::array kWordTypes{DType::i32, DType::u32};
inline constexpr std::array kIndexTypes{DType::i32};
inline constexpr std::array kScaleTypes{DType::f16, DType::bf16, DType::f32};

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct StoredModule {
  const Checkpoint& checkpoint;
  std::string name;
  int64_t k, n;  // in_features, out_features, each 1 .. 2^31 - 1
  ParallelFor parallel_for = serially;

  std::string tensor(std::string_view suffix) const;
  bool has(std::string_view suffix) const { return checkpoint.find(tensor(suffix)) != nullptr; }
  /// Fault::mismatch when the tensor is missing, of none of the `types`, or not of `rank` dimensions.
  const TensorInfo& require(std::string_view suffix, std::span<const DType> types, size_t rank) const;
  /// The same of two dimensions, of this size.
  const TensorInfo& require_matrix(std::string_view suffix, std::span<const DType> types, int64_t rows,
                                   int64_t cols) const;
  void require_shape(const TensorInfo& info, int64_t rows, int64_t cols) const;
  [[noreturn]] static void refuse_shape(const TensorInfo& info, std::string_view wanted);

  template <class T>
  std::vector<T> read(const TensorInfo& info) const {
    const Tensor data = checkpoint.read(info.name, Access::read);
    std::vector<T> out(data.bytes / sizeof(T));
    if (!out.empty()) std::memcpy(out.data(), data.data, data.bytes);
    return out;
  }
  /// Of a tensor that was read (Access::read), where it lies.
  static std::span<const uint32_t> words(const Tensor& read) {
    return {reinterpret_cast<const uint32_t*>(read.data), read.bytes / sizeof(uint32_t)};
  }
  /// As they are stored; Fault::numeric unless all are positive and finite.
  std::vector<float> read_scales(const TensorInfo& info) const;
  static void check_scale(const TensorInfo& info, float scale, int64_t row, int64_t col);

  /// The width of codes that gives dimension `dim` of the packed tensor its length: the label's if that fits (narrow
  /// matrices allow several), else another one, with a warning. Fault::mismatch when none does.
  int find_bits(const TensorInfo& packed, size_t dim, int label) const;
  /// Inputs that share a scale, for a group size as configurations give it. Fault::range for 0 and below -1.
  int64_t inputs_per_group(int64_t group_size) const;
  /// The group of each input where groups are consecutive inputs.
  std::vector<int32_t> groups_in_order(int64_t per_group) const;
  /// The "g_idx" of a layout under its name there; groups from the end (negative) become plain ones. Fault::range.
  std::vector<int32_t> read_group_index(std::string_view suffix, int64_t groups) const;
};

}  // namespace gptq
