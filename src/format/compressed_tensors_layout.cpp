// The tensors of "pack-quantized", both ways.
#include "format/compressed_tensors_layout.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/text.h"
#include "format/bit_stream.h"
#include "format/layout.h"

namespace gptq {
namespace {

constexpr std::array kShapeTypes{DType::i64, DType::i32};

void check_shape(const StoredModule& m) {
  if (!m.has("weight_shape")) return;
  const TensorInfo& info = m.require("weight_shape", kShapeTypes, 1);
  if (info.shape[0] != 2) m.refuse_shape(info, "[2]");
  std::vector<int64_t> shape;
  if (info.dtype == DType::i64) {
    shape = m.read<int64_t>(info);
  } else {
    for (int32_t size : m.read<int32_t>(info)) shape.push_back(size);
  }
  if (shape[0] == m.n && shape[1] == m.k) return;
  throw Error(Fault::mismatch, cat(info.file, ": tensor ", quoted(info.name), " says ", shape_text(shape),
                                   ", config.json wants [", m.n, ", ", m.k, "]"));
}

/// Inputs of a group: the label's size if it gives as many groups as there are; several configurations may hold for
/// different modules, so a number of groups that divides the inputs is believed, too.
int64_t find_group(const StoredModule& m, const QuantConfig& config, const TensorInfo& scale) {
  const int64_t groups = scale.shape[1], labelled = m.inputs_per_group(config.group_size);
  if (ceil_div(m.k, labelled) == groups) return labelled;
  if (groups >= 1 && m.k % groups == 0) return m.k / groups;
  m.refuse_shape(scale, cat("[", m.n, ", ", ceil_div(m.k, labelled), "]"));
}

/// [n][groups] -> [groups][n]
template <class T>
std::vector<T> transposed(const std::vector<T>& values, int64_t rows, int64_t cols) {
  std::vector<T> out(values.size());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      out[static_cast<size_t>(c * rows + r)] = values[static_cast<size_t>(r * cols + c)];
    }
  }
  return out;
}

/// Versions before 0.9.3 left them unpacked: i8 [N, G].
std::vector<uint16_t> read_bytes(const StoredModule& m, const TensorInfo& info, const QTensor& q) {
  m.require_shape(info, m.n, q.groups);
  std::vector<uint16_t> zeros;
  for (int8_t zero : transposed(m.read<int8_t>(info), m.n, q.groups)) {
    const int stored = zero + (1 << (q.bits - 1));
    if (stored < 0 || stored >= 1 << q.bits) {
      throw Error(Fault::range, cat(info.file, ": tensor ", quoted(info.name), " holds ", int{zero},
                                    ", which ", q.bits, " bits can't"));
    }
    zeros.push_back(static_cast<uint16_t>(stored));
  }
  return zeros;
}

/// Column by column a stream down the rows: what groups are for q.zeros.
std::vector<uint16_t> read_zeros(const StoredModule& m, const QTensor& q) {
  const TensorInfo* info = m.checkpoint.find(m.tensor("weight_zero_point"));
  if (info == nullptr) {
    return std::vector<uint16_t>(q.scales.size(), static_cast<uint16_t>(1 << (q.bits - 1)));
  }
  if (info->dtype == DType::i8) return read_bytes(m, *info, q);
  const int64_t words = word_count(m.n, q.bits);
  const auto stored = transposed(
      m.read<uint32_t>(m.require_matrix("weight_zero_point", kWordTypes, words, q.groups)), words, q.groups);
  std::vector<uint16_t> zeros;
  zeros.reserve(q.scales.size());
  for (int64_t g = 0; g < q.groups; ++g) {
    const auto column = unpack_bits(
        std::span(stored).subspan(static_cast<size_t>(g * words), static_cast<size_t>(words)), m.n, q.bits);
    zeros.insert(zeros.end(), column.begin(), column.end());
  }
  return zeros;
}

QTensor read_compressed(const StoredModule& m, const QuantConfig& config) {
  check_shape(m);
  const TensorInfo& packed = m.require("weight_packed", kWordTypes, 2);
  if (packed.shape[0] != m.n) m.refuse_shape(packed, cat(m.n, " rows"));
  const TensorInfo& scale = m.require("weight_scale", kScaleTypes, 2);
  QTensor q{.bits = m.find_bits(packed, 1, config.bits), .rows = m.n, .cols = m.k, .groups = scale.shape[1]};
  m.require_shape(scale, m.n, q.groups);
  const int64_t per_group = find_group(m, config, scale);
  q.scales = transposed(m.read_scales(scale), m.n, q.groups);
  q.zeros = read_zeros(m, q);
  q.group_of =
      m.has("weight_g_idx") ? m.read_group_index("weight_g_idx", q.groups) : m.groups_in_order(per_group);
  const auto words = m.read<uint32_t>(packed);
  const auto row_words = static_cast<size_t>(packed.shape[1]);
  q.codes.reserve(static_cast<size_t>(m.n * m.k));
  for (size_t row = 0; row < static_cast<size_t>(m.n); ++row) {
    const auto codes = unpack_bits(std::span(words).subspan(row * row_words, row_words), m.k, q.bits);
    q.codes.insert(q.codes.end(), codes.begin(), codes.end());
  }
  return q;
}

std::vector<std::byte> bytes_of(std::span<const uint32_t> words) {
  const auto bytes = std::as_bytes(words);
  return {bytes.begin(), bytes.end()};
}

std::vector<std::byte> pack_codes(const QTensor& q) {
  const auto k = static_cast<size_t>(q.cols);
  std::vector<uint32_t> words;
  words.reserve(static_cast<size_t>(q.rows * word_count(q.cols, q.bits)));
  for (size_t row = 0; row < static_cast<size_t>(q.rows); ++row) {
    const auto stream = pack_bits(std::span(q.codes).subspan(row * k, k), q.bits);
    words.insert(words.end(), stream.begin(), stream.end());
  }
  return bytes_of(words);
}

std::vector<std::byte> pack_zeros(const QTensor& q, std::string_view module) {
  const auto n = static_cast<size_t>(q.rows);
  std::vector<uint32_t> columns;  // [groups][words]
  for (size_t g = 0; g < static_cast<size_t>(q.groups); ++g) {
    std::vector<uint8_t> fields(n);
    for (size_t i = 0; i < n; ++i) {
      const uint16_t zero = q.zeros[g * n + i];
      if (zero >= 1 << q.bits) {
        throw Error(Fault::unsupported,
                    cat(module, ": the zero point ", zero, " can't be stored in ", q.bits, " bits"));
      }
      fields[i] = static_cast<uint8_t>(zero);
    }
    const auto stream = pack_bits(fields, q.bits);
    columns.insert(columns.end(), stream.begin(), stream.end());
  }
  return bytes_of(transposed(columns, q.groups, word_count(q.rows, q.bits)));
}

constexpr std::string_view kOthers[] = {"weight_scale", "weight_zero_point", "weight_shape", "weight_g_idx"};

}  // namespace

const Layout kCompressedTensorsLayout{.codes = "weight_packed", .others = kOthers, .read = read_compressed};

std::vector<TensorInfo> compressed_module_tensors(std::string_view module, const ModuleShape& shape) {
  const int64_t n = shape.out_features;
  std::vector<TensorInfo> tensors{
      {.name = cat(module, ".weight_packed"),
       .dtype = DType::i32,
       .shape = {n, word_count(shape.in_features, shape.bits)}},
      {.name = cat(module, ".weight_scale"), .dtype = shape.scale_type, .shape = {n, shape.groups}},
      {.name = cat(module, ".weight_shape"), .dtype = DType::i64, .shape = {2}},
  };
  if (shape.symmetry == Symmetry::asymmetric) {
    tensors.push_back({.name = cat(module, ".weight_zero_point"),
                       .dtype = DType::i32,
                       .shape = {word_count(n, shape.bits), shape.groups}});
  }
  return tensors;
}

std::vector<NamedBytes> write_compressed_module(const QTensor& q, std::string_view module,
                                                const ModuleShape& shape) {
  check_writable(q, module, QuantFormat::compressed_tensors);
  const std::array<int64_t, 2> size{q.rows, q.cols};
  const auto size_bytes = std::as_bytes(std::span(size));
  std::vector<NamedBytes> tensors;
  tensors.push_back({cat(module, ".weight_packed"), pack_codes(q)});
  tensors.push_back({cat(module, ".weight_scale"),
                     pack_scales(transposed(q.scales, q.groups, q.rows), shape.scale_type, module)});
  tensors.push_back({cat(module, ".weight_shape"), {size_bytes.begin(), size_bytes.end()}});
  if (shape.symmetry == Symmetry::asymmetric) {
    tensors.push_back({cat(module, ".weight_zero_point"), pack_zeros(q, module)});
  }
  return tensors;
}

}  // namespace gptq
