// Lookups of a module's tensors, and the faults that they can have.
#include "format/stored_module.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/log.h"
#include "base/qtensor.h"
#include "base/text.h"
#include "format/bit_stream.h"

namespace gptq {

std::string StoredModule::tensor(std::string_view suffix) const { return cat(name, ".", suffix); }

const TensorInfo& StoredModule::require(std::string_view suffix, std::span<const DType> types,
                                        size_t rank) const {
  const TensorInfo* info = checkpoint.find(tensor(suffix));
  if (info == nullptr) {
    throw Error(Fault::mismatch, cat("tensor ", quoted(tensor(suffix)), " is missing"));
  }
  if (std::find(types.begin(), types.end(), info->dtype) == types.end()) {
    throw Error(Fault::mismatch, cat(info->file, ": tensor ", quoted(info->name), " is ",
                                     dtype_name(info->dtype), ", wanted ", dtype_name(types[0])));
  }
  if (info->shape.size() != rank) refuse_shape(*info, cat(rank, rank == 1 ? " dimension" : " dimensions"));
  return *info;
}

const TensorInfo& StoredModule::require_matrix(std::string_view suffix, std::span<const DType> types,
                                               int64_t rows, int64_t cols) const {
  const TensorInfo& info = require(suffix, types, 2);
  require_shape(info, rows, cols);
  return info;
}

void StoredModule::require_shape(const TensorInfo& info, int64_t rows, int64_t cols) const {
  const std::array wanted{rows, cols};
  if (!std::ranges::equal(info.shape, wanted)) refuse_shape(info, shape_text(wanted));
}

void StoredModule::refuse_shape(const TensorInfo& info, std::string_view wanted) {
  throw Error(Fault::mismatch, cat(info.file, ": tensor ", quoted(info.name), " has shape ",
                                   shape_text(info.shape), ", wanted ", wanted));
}

std::vector<float> StoredModule::read_scales(const TensorInfo& info) const {
  std::vector<float> scales = to_float(checkpoint.read(info.name, Access::read));
  const int64_t cols = info.shape.back();
  for (size_t i = 0; i < scales.size(); ++i) {
    check_scale(info, scales[i], static_cast<int64_t>(i) / cols, static_cast<int64_t>(i) % cols);
  }
  return scales;
}

void StoredModule::check_scale(const TensorInfo& info, float scale, int64_t row, int64_t col) {
  if (std::isfinite(scale) && scale > 0) return;
  throw Error(Fault::numeric, cat(info.file, ": tensor ", quoted(info.name), ": row ", row, ", column ", col,
                                  " is ", scale, ", wanted a positive number"));
}

int StoredModule::find_bits(const TensorInfo& packed, size_t dim, int label) const {
  const int64_t found = packed.shape[dim];
  if (word_count(k, label) == found) return label;
  for (int bits : kBitWidths) {
    if (word_count(k, bits) != found) continue;
    log(LogLevel::warning, cat(packed.file, ": the shape of tensor ", quoted(packed.name), " means ", bits,
                               " bits, the configuration says ", label));
    return bits;
  }
  refuse_shape(packed, cat(word_count(k, label), " in dimension ", dim, " for ", label, " bits"));
}

int64_t StoredModule::inputs_per_group(int64_t group_size) const {
  if (group_size == -1) return k;
  if (group_size <= 0) {
    throw Error(Fault::range, cat(name, ": 'group_size' is ", group_size, ", wanted -1 or more than 0"));
  }
  return std::min(group_size, k);
}

std::vector<int32_t> StoredModule::groups_in_order(int64_t per_group) const {
  std::vector<int32_t> group_of(static_cast<size_t>(k));
  for (int64_t i = 0; i < k; ++i) group_of[static_cast<size_t>(i)] = static_cast<int32_t>(i / per_group);
  return group_of;
}

std::vector<int32_t> StoredModule::read_group_index(std::string_view suffix, int64_t groups) const {
  const TensorInfo& info = require(suffix, kIndexTypes, 1);
  if (info.shape[0] != k) refuse_shape(info, cat("[", k, "]"));
  auto group_of = read<int32_t>(info);
  for (size_t i = 0; i < group_of.size(); ++i) {
    const int64_t g = group_of[i] < 0 ? group_of[i] + groups : group_of[i];
    if (g < 0 || g >= groups) {
      throw Error(Fault::range, cat(info.file, ": tensor ", quoted(info.name), ": element ", i, " is ",
                                    group_of[i], ", wanted ", -groups, " to ", groups - 1));
    }
    group_of[i] = static_cast<int32_t>(g);
  }
  return group_of;
}

}  // namespace gptq
