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
#include "base/fields.h"
#include "base/half.h"
#include "base/log.h"
#include "base/text.h"
#include "format/bit_stream.h"
#include "format/layout.h"

namespace gptq {
namespace {

static_assert(std::endian::native == std::endian::little, "words are read and written as they are in files");

void check_group_count(const StoredModule& m, const QuantConfig& config, int64_t groups,
                       const TensorInfo& scales) {
  const int64_t per_group = m.inputs_per_group(config.group_size);
  if (ceil_div(m.k, per_group) == groups) return;
  const bool odd = config.group_size > m.k || m.k % per_group != 0;
  throw Error(
      odd ? Fault::range : Fault::mismatch,
      cat(scales.file, ": tensor ", quoted(scales.name), " has ", groups, " groups, a 'group_size' of ",
          config.group_size, " makes ", ceil_div(m.k, per_group), " of ", m.k, " inputs"));
}

/// A group size that leaves a remainder is believed only if the groups really have it: all full but the last.
void check_partial_group(const StoredModule& m, const QuantConfig& config, std::span<const int32_t> group_of,
                         int64_t groups) {
  const int64_t per_group = m.inputs_per_group(config.group_size);
  if (m.k % per_group == 0) return;
  std::vector<int64_t> members(static_cast<size_t>(groups));
  for (int32_t g : group_of) ++members[static_cast<size_t>(g)];
  const bool full =
      std::all_of(members.begin(), members.end() - 1, [&](int64_t n) { return n == per_group; });
  if (full) return;
  throw Error(Fault::range, cat(m.name, ": 'group_size' is ", config.group_size,
                                ", which neither divides the ", m.k, " inputs nor fits ", m.tensor("g_idx")));
}

std::vector<int32_t> read_groups(const StoredModule& m, const QuantConfig& config, int64_t groups) {
  const int64_t per_group = m.inputs_per_group(config.group_size);
  if (!m.has("g_idx")) return m.groups_in_order(per_group);
  auto group_of = m.read_group_index("g_idx", groups);
  // old files hold zeros where the order is the natural one
  const bool all_zero = std::all_of(group_of.begin(), group_of.end(), [](int32_t g) { return g == 0; });
  if (all_zero) return m.groups_in_order(per_group);
  check_partial_group(m, config, group_of, groups);
  return group_of;
}

/// The zero points of a whole-word v1 writer: one was taken from every field at once, so borrows crossed fields.
void add_one_per_word(std::span<uint32_t> words, int bits) {
  const uint32_t ones = bits == 2 ? 0x55555555u : bits == 4 ? 0x11111111u : 0x01010101u;
  for (uint32_t& word : words) word += ones;
}

/// For symmetric modules the stored constant tells the format; empty if the fields are not all one of the two.
std::optional<QuantFormat> format_of_constant(std::span<const uint8_t> fields, int bits) {
  const int half = 1 << (bits - 1);
  const auto all_are = [&](int value) {
    return std::all_of(fields.begin(), fields.end(), [&](uint8_t field) { return field == value; });
  };
  if (all_are(half - 1)) return QuantFormat::gptq;
  if (all_are(half)) return QuantFormat::gptq_v2;
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
std::vector<uint16_t> read_zeros(const StoredModule& m, const QuantConfig& config, int64_t groups, int bits) {
  const TensorInfo& info = m.require("qzeros", kWordTypes, 2);
  m.require_shape(info, groups, word_count(m.n, bits));
  auto words = m.read<uint32_t>(info);
  auto fields = zero_fields(words, groups, m.n, bits);
  if (config.symmetry == Symmetry::symmetric) {
    if (const auto format = format_of_constant(fields, bits)) {
      if (*format != config.format) {
        log(LogLevel::warning,
            cat(info.file, ": tensor ", quoted(info.name), " is stored as ", quant_format_name(*format),
                ", the configuration says ", quant_format_name(config.format), "; read as stored"));
      }
      return std::vector<uint16_t>(fields.size(), static_cast<uint16_t>(1 << (bits - 1)));
    }
    log(LogLevel::warning, cat(info.file, ": tensor ", quoted(info.name),
                               " is not symmetric as the configuration says; read as asymmetric"));
  }
  int add = config.format == QuantFormat::gptq ? 1 : 0;
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

/// Bits [bit, bit + 32) of a column of words [][n], none of them behind the word `last`.
uint64_t bits_of_column(std::span<const uint32_t> words, int64_t n, int64_t col, int64_t bit, int64_t last) {
  const int64_t word = bit / 32;
  const uint64_t high = words[static_cast<size_t>(std::min(word + 1, last) * n + col)];
  return (high << 32 | words[static_cast<size_t>(word * n + col)]) >> bit % 32;
}

constexpr int64_t kTile = 16;  // columns side by side: a cache line of words

/// words [ceil(k*bits/32)][n] -> codes [n][k], of columns [begin, end)
template <int kBits>
void unpack_columns(std::span<const uint32_t> words, int64_t k, int64_t n, int64_t begin, int64_t end,
                    uint8_t* codes) {
  const int64_t last = word_count(k, kBits) - 1;
  for (int64_t n0 = begin; n0 < end; n0 += kTile) {
    const int64_t n1 = std::min(end, n0 + kTile);
    for (int64_t row = 0; row < k; row += 8) {
      const auto count = static_cast<size_t>(std::min<int64_t>(8, k - row));
      for (int64_t col = n0; col < n1; ++col) {
        uint64_t eight;
        if constexpr (kBits == 8) {
          const uint64_t low = words[static_cast<size_t>(row / 4 * n + col)];
          eight = uint64_t{words[static_cast<size_t>(std::min(row / 4 + 1, last) * n + col)]} << 32 | low;
        } else {
          eight = spread_fields<kBits>(bits_of_column(words, n, col, row * kBits, last) &
                                       ((uint64_t{1} << 8 * kBits) - 1));
        }
        std::memcpy(codes + col * k + row, &eight, count);
      }
    }
  }
}

std::vector<uint8_t> unpack_columns(const StoredModule& m, std::span<const uint32_t> words, int bits) {
  constexpr int64_t kTilesAtOnce = 4;
  const auto unpack = bits == 2   ? unpack_columns<2>
                      : bits == 3 ? unpack_columns<3>
                      : bits == 4 ? unpack_columns<4>
                                  : unpack_columns<8>;
  std::vector<uint8_t> codes(static_cast<size_t>(m.k * m.n));
  m.parallel_for(ceil_div(m.n, kTile), kTilesAtOnce, [&](int64_t begin, int64_t end) {
    unpack(words, m.k, m.n, begin * kTile, std::min(m.n, end * kTile), codes.data());
  });
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

std::vector<uint32_t> pack_zeros(const QTensor& q, std::string_view module, QuantFormat format) {
  const int less = format == QuantFormat::gptq ? 1 : 0;
  const auto n = static_cast<size_t>(q.rows);
  std::vector<uint32_t> words;
  std::vector<uint8_t> fields(n);
  for (size_t g = 0; g < static_cast<size_t>(q.groups); ++g) {
    for (size_t i = 0; i < n; ++i) {
      const int field = q.zeros[g * n + i] - less;
      if (field < 0 || field >= 1 << q.bits) {
        throw Error(Fault::unsupported,
                    cat(module, ": the zero point ", q.zeros[g * n + i], " can't be stored in ", q.bits,
                        " bits of format ", quant_format_name(format)));
      }
      fields[i] = static_cast<uint8_t>(field);
    }
    const auto row = pack_bits(fields, q.bits);
    words.insert(words.end(), row.begin(), row.end());
  }
  return words;
}

QTensor read_gptq(const StoredModule& m, const QuantConfig& config) {
  const TensorInfo& qweight = m.require("qweight", kWordTypes, 2);
  const TensorInfo& scales = m.require("scales", kScaleTypes, 2);
  if (qweight.shape[1] != m.n)
    m.refuse_shape(qweight, cat("[", word_count(m.k, config.bits), ", ", m.n, "]"));
  const int bits = m.find_bits(qweight, 0, config.bits);
  QTensor q{.bits = bits, .rows = m.n, .cols = m.k, .groups = scales.shape[0]};
  m.require_shape(scales, q.groups, m.n);
  check_group_count(m, config, q.groups, scales);
  q.zeros = read_zeros(m, config, q.groups, q.bits);
  q.scales = m.read_scales(scales);
  q.group_of = read_groups(m, config, q.groups);
  const Tensor words = m.checkpoint.read(qweight.name, Access::read);
  q.codes = unpack_columns(m, StoredModule::words(words), q.bits);
  return q;
}

constexpr std::string_view kOthers[] = {"qzeros", "scales", "g_idx"};

}  // namespace

const Layout kGptqLayout{.codes = "qweight", .others = kOthers, .read = read_gptq};

std::vector<TensorInfo> gptq_module_tensors(std::string_view module, const ModuleShape& shape) {
  const int64_t k = shape.in_features, n = shape.out_features;
  return {
      {.name = cat(module, ".qweight"), .dtype = DType::i32, .shape = {word_count(k, shape.bits), n}},
      {.name = cat(module, ".qzeros"),
       .dtype = DType::i32,
       .shape = {shape.groups, word_count(n, shape.bits)}},
      {.name = cat(module, ".scales"), .dtype = shape.scale_type, .shape = {shape.groups, n}},
      {.name = cat(module, ".g_idx"), .dtype = DType::i32, .shape = {k}},
  };
}

std::vector<NamedBytes> write_gptq_module(const QTensor& q, std::string_view module, const ModuleShape& shape,
                                          QuantFormat format) {
  std::vector<NamedBytes> tensors;
  tensors.push_back(named<uint32_t>(cat(module, ".qweight"), pack_columns(q)));
  tensors.push_back(named<uint32_t>(cat(module, ".qzeros"), pack_zeros(q, module, format)));
  tensors.push_back({cat(module, ".scales"), pack_scales(q.scales, shape.scale_type, module)});
  tensors.push_back(named<int32_t>(cat(module, ".g_idx"), q.group_of));
  return tensors;
}

}  // namespace gptq
