// The tensors of a quantized module, between their packed form and QTensor.
#include "format/gptq_layout.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "base/error.h"
#include "base/half.h"
#include "base/log.h"
#include "base/text.h"

namespace gptq {
namespace {

static_assert(std::endian::native == std::endian::little, "words are read and written as they are in files");

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t word_count(int64_t values, int bits) { return ceil_div(values * bits, 32); }

template <class T>
std::vector<T> elements_of(const Tensor& tensor) {
  std::vector<T> out(tensor.bytes / sizeof(T));
  if (!out.empty()) std::memcpy(out.data(), tensor.data, tensor.bytes);
  return out;
}

/// The module being read, for lookups and messages.
struct Module {
  const Checkpoint& checkpoint;
  std::string name;
  int64_t k, n;  // in_features, out_features

  std::string tensor(std::string_view suffix) const { return cat(name, ".", suffix); }

  const TensorInfo& require(std::string_view suffix, std::span<const DType> types, size_t rank) const {
    const TensorInfo* info = checkpoint.find(tensor(suffix));
    if (info == nullptr) {
      throw Error(Fault::mismatch, cat("tensor ", quoted(tensor(suffix)), " is missing"));
    }
    if (std::find(types.begin(), types.end(), info->dtype) == types.end()) {
      throw Error(Fault::mismatch, cat(info->file, ": tensor ", quoted(info->name), " is ",
                                       dtype_name(info->dtype), ", wanted ", dtype_name(types[0])));
    }
    if (info->shape.size() != rank) refuse_shape(*info, cat(rank, " dimensions"));
    return *info;
  }

  [[noreturn]] static void refuse_shape(const TensorInfo& info, std::string_view wanted) {
    throw Error(Fault::mismatch, cat(info.file, ": tensor ", quoted(info.name), " has shape ",
                                     shape_text(info.shape), ", wanted ", wanted));
  }

  void require_shape(const TensorInfo& info, int64_t rows, int64_t cols) const {
    const std::array wanted{rows, cols};
    if (!std::ranges::equal(info.shape, wanted)) refuse_shape(info, shape_text(wanted));
  }
};

constexpr std::array kWordTypes{DType::i32, DType::u32};
constexpr std::array kIndexTypes{DType::i32};
constexpr std::array kScaleTypes{DType::f16, DType::bf16, DType::f32};

/// The width that gives qweight its height; the label's, if that fits (narrow matrices allow several).
int find_bits(const Module& m, const TensorInfo& qweight, int label) {
  if (qweight.shape[1] != m.n) m.refuse_shape(qweight, cat("[", word_count(m.k, label), ", ", m.n, "]"));
  if (word_count(m.k, label) == qweight.shape[0]) return label;
  for (int bits : kBitWidths) {
    if (word_count(m.k, bits) != qweight.shape[0]) continue;
    log(LogLevel::warning,
        cat(m.name, ": the shape of qweight means ", bits, " bits, the configuration says ", label));
    return bits;
  }
  m.refuse_shape(qweight, cat("[", word_count(m.k, label), ", ", m.n, "] for ", label, " bits"));
}

int64_t inputs_per_group(const Module& m, const QuantConfig& config) {
  if (config.group_size == -1) return m.k;
  if (config.group_size <= 0) {
    throw Error(Fault::range,
                cat(m.name, ": 'group_size' is ", config.group_size, ", wanted -1 or more than 0"));
  }
  return std::min(config.group_size, m.k);
}

void check_group_count(const Module& m, const QuantConfig& config, int64_t groups, const TensorInfo& scales) {
  const int64_t per_group = inputs_per_group(m, config);
  if (ceil_div(m.k, per_group) == groups) return;
  const bool odd = config.group_size > m.k || m.k % per_group != 0;
  throw Error(
      odd ? Fault::range : Fault::mismatch,
      cat(scales.file, ": tensor ", quoted(scales.name), " has ", groups, " groups, a 'group_size' of ",
          config.group_size, " makes ", ceil_div(m.k, per_group), " of ", m.k, " inputs"));
}

std::vector<int32_t> groups_in_order(const Module& m, int64_t per_group) {
  std::vector<int32_t> group_of(static_cast<size_t>(m.k));
  for (int64_t k = 0; k < m.k; ++k) group_of[static_cast<size_t>(k)] = static_cast<int32_t>(k / per_group);
  return group_of;
}

/// A group size that leaves a remainder is believed only if the groups really have it: all full but the last.
void check_partial_group(const Module& m, const QuantConfig& config, std::span<const int32_t> group_of,
                         int64_t groups) {
  const int64_t per_group = inputs_per_group(m, config);
  if (m.k % per_group == 0) return;
  std::vector<int64_t> members(static_cast<size_t>(groups));
  for (int32_t g : group_of) ++members[static_cast<size_t>(g)];
  const bool full =
      std::all_of(members.begin(), members.end() - 1, [&](int64_t n) { return n == per_group; });
  if (full) return;
  throw Error(Fault::range, cat(m.name, ": 'group_size' is ", config.group_size,
                                ", which neither divides the ", m.k, " inputs nor fits ", m.tensor("g_idx")));
}

std::vector<int32_t> read_groups(const Module& m, const QuantConfig& config, int64_t groups) {
  const int64_t per_group = inputs_per_group(m, config);
  if (m.checkpoint.find(m.tensor("g_idx")) == nullptr) return groups_in_order(m, per_group);
  const TensorInfo& info = m.require("g_idx", kIndexTypes, 1);
  if (info.shape[0] != m.k) m.refuse_shape(info, cat("[", m.k, "]"));
  auto group_of = elements_of<int32_t>(m.checkpoint.read(info.name, Access::read));
  // old files hold zeros where the order is the natural one
  const bool all_zero = std::all_of(group_of.begin(), group_of.end(), [](int32_t g) { return g == 0; });
  if (all_zero) return groups_in_order(m, per_group);
  for (size_t k = 0; k < group_of.size(); ++k) {
    const int64_t g = group_of[k] < 0 ? group_of[k] + groups : group_of[k];  // counted from the end
    if (g < 0 || g >= groups) {
      throw Error(Fault::range, cat(info.file, ": tensor ", quoted(info.name), ": element ", k, " is ",
                                    group_of[k], ", wanted ", -groups, " to ", groups - 1));
    }
    group_of[k] = static_cast<int32_t>(g);
  }
  check_partial_group(m, config, group_of, groups);
  return group_of;
}

std::vector<float> read_scales(const Module& m, const TensorInfo& info) {
  std::vector<float> scales = to_float(m.checkpoint.read(info.name, Access::read));
  for (size_t i = 0; i < scales.size(); ++i) {
    if (std::isfinite(scales[i]) && scales[i] > 0) continue;
    throw Error(Fault::numeric, cat(info.file, ": tensor ", quoted(info.name), ": group ",
                                    static_cast<int64_t>(i) / m.n, ", output ", static_cast<int64_t>(i) % m.n,
                                    " is ", scales[i], ", wanted a positive number"));
  }
  return scales;
}

/// The zero points of a whole-word v1 writer: one was taken from every field at once, so borrows crossed fields.
void add_one_per_word(std::span<uint32_t> words, int bits) {
  const uint32_t ones = bits == 2 ? 0x55555555u : bits == 4 ? 0x11111111u : 0x01010101u;
  for (uint32_t& word : words) word += ones;
}

/// For symmetric modules the stored constant tells the format; empty if the fields are not all one of the two.
std::optional<GptqFormat> format_of_constant(std::span<const uint8_t> fields, int bits) {
  const int half = 1 << (bits - 1);
  const auto all_are = [&](int value) {
    return std::all_of(fields.begin(), fields.end(), [&](uint8_t field) { return field == value; });
  };
  if (all_are(half - 1)) return GptqFormat::v1;
  if (all_are(half)) return GptqFormat::v2;
  return std::nullopt;
}

std::vector<uint8_t> zero_fields(std::span<const uint32_t> words, int64_t groups, int64_t n, int bits) {
  const auto row_words = static_cast<size_t>(word_count(n, bits));
  std::vector<uint8_t> fields;
  fields.reserve(static_cast<size_t>(groups * n));
  for (size_t g = 0; g < static_cast<size_t>(groups); ++g) {
    const auto row = unpack_bits(words.subspan(g * row_words, row_words), n, bits);
    fields.insert(fields.end(), row.begin(), row.end());
  }
  return fields;
}

/// [groups][n], true zero points.
std::vector<uint16_t> read_zeros(const Module& m, const QuantConfig& config, int64_t groups, int bits) {
  const TensorInfo& info = m.require("qzeros", kWordTypes, 2);
  m.require_shape(info, groups, word_count(m.n, bits));
  auto words = elements_of<uint32_t>(m.checkpoint.read(info.name, Access::read));
  auto fields = zero_fields(words, groups, m.n, bits);
  if (config.symmetry == Symmetry::symmetric) {
    if (const auto format = format_of_constant(fields, bits)) {
      if (*format != config.format) {
        log(LogLevel::warning,
            cat(info.file, ": tensor ", quoted(info.name), " is stored as ", gptq_format_name(*format),
                ", the configuration says ", gptq_format_name(config.format), "; read as stored"));
      }
      return std::vector<uint16_t>(fields.size(), static_cast<uint16_t>(1 << (bits - 1)));
    }
    log(LogLevel::warning, cat(info.file, ": tensor ", quoted(info.name),
                               " is not symmetric as the configuration says; read as asymmetric"));
  }
  int add = config.format == GptqFormat::v1 ? 1 : 0;
  if (add == 1 && config.producer_is_gptqmodel && bits != 3) {  // its 3 bits are shifted field by field
    add_one_per_word(words, bits);
    fields = zero_fields(words, groups, m.n, bits);
    add = 0;
  }
  std::vector<uint16_t> zeros(fields.size());
  const int mask = (1 << bits) - 1;
  std::transform(fields.begin(), fields.end(), zeros.begin(),
                 [&](uint8_t field) { return static_cast<uint16_t>((field + add) & mask); });
  return zeros;
}

/// words [ceil(k*bits/32)][n] -> codes [n][k]
std::vector<uint8_t> unpack_columns(std::span<const uint32_t> words, int64_t k, int64_t n, int bits) {
  constexpr int64_t kTile = 16;  // columns side by side: a cache line of words
  std::vector<uint8_t> codes(static_cast<size_t>(k * n));
  const uint32_t mask = (1u << bits) - 1;
  for (int64_t n0 = 0; n0 < n; n0 += kTile) {
    const int64_t n1 = std::min(n, n0 + kTile);
    for (int64_t row = 0; row < k; ++row) {
      const int64_t bit = row * bits;
      const auto shift = static_cast<int>(bit % 32);
      const uint32_t* low = words.data() + bit / 32 * n;
      const uint32_t* high = shift + bits > 32 ? low + n : low;  // a 3-bit code may lie in two words
      for (int64_t col = n0; col < n1; ++col) {
        const uint64_t pair = (uint64_t{high[col]} << 32) | low[col];
        codes[static_cast<size_t>(col * k + row)] =
            static_cast<uint8_t>(static_cast<uint32_t>(pair >> shift) & mask);
      }
    }
  }
  return codes;
}

template <class T>
NamedBytes named(std::string name, std::span<const T> values) {
  const auto bytes = std::as_bytes(values);
  return {std::move(name), {bytes.begin(), bytes.end()}};
}

/// [n][ceil(k*bits/32)] -> its transpose, as stored.
std::vector<uint32_t> pack_columns(const QTensor& q) {
  const auto rows = static_cast<size_t>(word_count(q.cols, q.bits)), n = static_cast<size_t>(q.rows);
  std::vector<uint32_t> words(rows * n);
  const std::span<const uint8_t> codes(q.codes);
  for (size_t col = 0; col < n; ++col) {
    const auto stream =
        pack_bits(codes.subspan(col * static_cast<size_t>(q.cols), static_cast<size_t>(q.cols)), q.bits);
    for (size_t row = 0; row < rows; ++row) words[row * n + col] = stream[row];
  }
  return words;
}

std::vector<uint32_t> pack_zeros(const QTensor& q, std::string_view module, GptqFormat format) {
  const int less = format == GptqFormat::v1 ? 1 : 0;
  const auto n = static_cast<size_t>(q.rows);
  std::vector<uint32_t> words;
  std::vector<uint8_t> fields(n);
  for (size_t g = 0; g < static_cast<size_t>(q.groups); ++g) {
    for (size_t i = 0; i < n; ++i) {
      const int field = q.zeros[g * n + i] - less;
      if (field < 0 || field >= 1 << q.bits) {
        throw Error(Fault::unsupported,
                    cat(module, ": the zero point ", q.zeros[g * n + i], " can't be stored in ", q.bits,
                        " bits of format ", gptq_format_name(format)));
      }
      fields[i] = static_cast<uint8_t>(field);
    }
    const auto row = pack_bits(fields, q.bits);
    words.insert(words.end(), row.begin(), row.end());
  }
  return words;
}

std::vector<uint16_t> pack_scales(const QTensor& q, std::string_view module) {
  std::vector<uint16_t> scales(q.scales.size());
  for (size_t i = 0; i < scales.size(); ++i) {
    scales[i] = float_to_fp16(q.scales[i]);
    if (scales[i] != 0 && scales[i] < 0x7C00u) continue;  // positive and finite
    throw Error(Fault::numeric, cat(module, ": a scale of ", q.scales[i], " is not a positive fp16 number"));
  }
  return scales;
}

}  // namespace

std::vector<uint32_t> pack_bits(std::span<const uint8_t> values, int bits) {
  std::vector<uint32_t> words(static_cast<size_t>(word_count(static_cast<int64_t>(values.size()), bits)));
  size_t bit = 0;
  for (uint8_t value : values) {
    const uint64_t placed = uint64_t{value} << (bit % 32);
    words[bit / 32] |= static_cast<uint32_t>(placed);
    if (placed >> 32 != 0) words[bit / 32 + 1] |= static_cast<uint32_t>(placed >> 32);
    bit += static_cast<size_t>(bits);
  }
  return words;
}

std::vector<uint8_t> unpack_bits(std::span<const uint32_t> words, int64_t count, int bits) {
  if (static_cast<int64_t>(words.size()) < word_count(count, bits)) {
    throw Error(Status::internal,
                cat(words.size(), " words are too few for ", count, " values of ", bits, " bits"));
  }
  std::vector<uint8_t> values(static_cast<size_t>(count));
  const uint32_t mask = (1u << bits) - 1;
  size_t bit = 0;
  for (uint8_t& value : values) {
    const size_t word = bit / 32, shift = bit % 32;
    uint64_t pair = words[word];
    if (shift + static_cast<size_t>(bits) > 32) pair |= uint64_t{words[word + 1]} << 32;
    value = static_cast<uint8_t>(static_cast<uint32_t>(pair >> shift) & mask);
    bit += static_cast<size_t>(bits);
  }
  return values;
}

bool has_gptq_module(const Checkpoint& checkpoint, std::string_view module) {
  return checkpoint.find(cat(module, ".qweight")) != nullptr;
}

std::array<std::string, 4> gptq_module_names(std::string_view module) {
  return {cat(module, ".qweight"), cat(module, ".qzeros"), cat(module, ".scales"), cat(module, ".g_idx")};
}

QTensor read_gptq_module(const Checkpoint& checkpoint, std::string_view module, const QuantConfig& config,
                         int64_t in_features, int64_t out_features) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();  // g_idx counts in int32
  if (in_features < 1 || out_features < 1 || in_features > kMost || out_features > kMost) {
    throw Error(Fault::limit,
                cat(module, ": ", in_features, " inputs, ", out_features, " outputs, wanted 1 to ", kMost));
  }
  const Module m{checkpoint, std::string(module), in_features, out_features};
  const TensorInfo& qweight = m.require("qweight", kWordTypes, 2);
  const TensorInfo& scales = m.require("scales", kScaleTypes, 2);
  QTensor q{.bits = find_bits(m, qweight, config.bits), .rows = m.n, .cols = m.k, .groups = scales.shape[0]};
  m.require_shape(scales, q.groups, m.n);
  check_group_count(m, config, q.groups, scales);
  q.zeros = read_zeros(m, config, q.groups, q.bits);
  q.scales = read_scales(m, scales);
  q.group_of = read_groups(m, config, q.groups);
  const auto words = elements_of<uint32_t>(checkpoint.read(qweight.name, Access::read));
  q.codes = unpack_columns(words, m.k, m.n, q.bits);
  return q;
}

std::vector<TensorInfo> gptq_module_tensors(std::string_view module, int64_t in_features,
                                            int64_t out_features, int bits, int64_t group_size) {
  const int64_t groups = group_size == -1 ? 1 : ceil_div(in_features, group_size);
  std::vector<TensorInfo> tensors{
      {.name = cat(module, ".qweight"),
       .dtype = DType::i32,
       .shape = {word_count(in_features, bits), out_features}},
      {.name = cat(module, ".qzeros"),
       .dtype = DType::i32,
       .shape = {groups, word_count(out_features, bits)}},
      {.name = cat(module, ".scales"), .dtype = DType::f16, .shape = {groups, out_features}},
      {.name = cat(module, ".g_idx"), .dtype = DType::i32, .shape = {in_features}},
  };
  for (TensorInfo& info : tensors) {
    uint64_t bits_of_all = static_cast<uint64_t>(dtype_bits(info.dtype));
    for (int64_t d : info.shape) bits_of_all *= static_cast<uint64_t>(d);
    info.bytes = bits_of_all / 8;
  }
  return tensors;
}

std::vector<NamedBytes> write_gptq_module(const QTensor& q, std::string_view module, GptqFormat format) {
  std::vector<NamedBytes> tensors;
  tensors.push_back(named<uint32_t>(cat(module, ".qweight"), pack_columns(q)));
  tensors.push_back(named<uint32_t>(cat(module, ".qzeros"), pack_zeros(q, module, format)));
  tensors.push_back(named<uint16_t>(cat(module, ".scales"), pack_scales(q, module)));
  tensors.push_back(named<int32_t>(cat(module, ".g_idx"), q.group_of));
  return tensors;
}

}  // namespace gptq
