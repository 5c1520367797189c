// AutoAWQ's two layouts. Zero points are stored as they are, and no input is out of order.
//
//   GEMM  qweight i32 [K, N/8]      nibble i of word c is the code of output 8c + kOrder[i]
//         qzeros  i32 [G, N/8]      in the same order
//         scales  f16 [G, N]
//   GEMV  qweight i32 [N, K/8]      nibbles in their natural order along the inputs
//         qzeros  i32 [N, Z]        along the groups; Z is at least G/8, wider by padding
//         scales  f16 [N, 8*Z]
#include <array>

#include "base/error.h"
#include "base/text.h"
#include "format/layout.h"

namespace gptq {
namespace {

constexpr int kBits = 4;
constexpr int64_t kPerWord = 8;
constexpr std::array<int64_t, 8> kOrder{0, 2, 4, 6, 1, 3, 5, 7};

void check_width(const StoredModule& m, const QuantConfig& config, int64_t packed, std::string_view what) {
  if (config.bits != kBits) {
    throw Error(Fault::unsupported, cat(m.name, ": AWQ of ", config.bits, " bits, wanted 4"));
  }
  if (packed % kPerWord != 0) {
    throw Error(Fault::unsupported, cat(m.name, ": AWQ of ", packed, " ", what, ", wanted a multiple of 8"));
  }
}

uint8_t nibble(uint32_t word, int64_t i) { return static_cast<uint8_t>(word >> (4 * i) & 15); }

QTensor empty_tensor(const StoredModule& m, const QuantConfig& config) {
  const int64_t per_group = m.inputs_per_group(config.group_size);
  QTensor q{.bits = kBits, .rows = m.n, .cols = m.k, .groups = ceil_div(m.k, per_group)};
  q.group_of = m.groups_in_order(per_group);
  return q;
}

QTensor read_gemm(const StoredModule& m, const QuantConfig& config) {
  check_width(m, config, m.n, "outputs");
  const int64_t words = m.n / kPerWord;
  const TensorInfo& qweight = m.require_matrix("qweight", kWordTypes, m.k, words);
  QTensor q = empty_tensor(m, config);
  const TensorInfo& qzeros = m.require_matrix("qzeros", kWordTypes, q.groups, words);
  q.scales = m.read_scales(m.require_matrix("scales", kScaleTypes, q.groups, m.n));
  const auto zeros = m.read<uint32_t>(qzeros), codes = m.read<uint32_t>(qweight);
  q.zeros.resize(static_cast<size_t>(q.groups * m.n));
  for (size_t w = 0; w < zeros.size(); ++w) {
    for (int64_t i = 0; i < kPerWord; ++i) {
      q.zeros[w * kPerWord + static_cast<size_t>(kOrder[static_cast<size_t>(i)])] = nibble(zeros[w], i);
    }
  }
  q.codes.resize(static_cast<size_t>(m.n * m.k));
  for (int64_t k = 0; k < m.k; ++k) {
    for (int64_t c = 0; c < words; ++c) {
      const uint32_t word = codes[static_cast<size_t>(k * words + c)];
      for (int64_t i = 0; i < kPerWord; ++i) {
        const int64_t output = c * kPerWord + kOrder[static_cast<size_t>(i)];
        q.codes[static_cast<size_t>(output * m.k + k)] = nibble(word, i);
      }
    }
  }
  return q;
}

QTensor read_gemv(const StoredModule& m, const QuantConfig& config) {
  check_width(m, config, m.k, "inputs");
  const TensorInfo& qweight = m.require_matrix("qweight", kWordTypes, m.n, m.k / kPerWord);
  QTensor q = empty_tensor(m, config);
  const TensorInfo& qzeros = m.require("qzeros", kWordTypes, 2);
  const int64_t width = qzeros.shape[1];
  if (width > m.k || width * kPerWord < q.groups)
    m.refuse_shape(qzeros, cat("room for ", q.groups, " groups"));
  m.require_shape(qzeros, m.n, width);
  const TensorInfo& scales = m.require_matrix("scales", kScaleTypes, m.n, width * kPerWord);
  const auto zero_words = m.read<uint32_t>(qzeros), words = m.read<uint32_t>(qweight);
  const std::vector<float> padded = to_float(m.checkpoint.read(scales.name, Access::read));
  for (int64_t g = 0; g < q.groups; ++g) {
    for (int64_t n = 0; n < m.n; ++n) {
      const float scale = padded[static_cast<size_t>(n * width * kPerWord + g)];
      m.check_scale(scales, scale, n, g);
      q.scales.push_back(scale);
      q.zeros.push_back(nibble(zero_words[static_cast<size_t>(n * width + g / kPerWord)], g % kPerWord));
    }
  }
  q.codes.reserve(words.size() * kPerWord);
  for (uint32_t word : words) {
    for (int64_t i = 0; i < kPerWord; ++i) q.codes.push_back(nibble(word, i));
  }
  return q;
}

constexpr std::string_view kOthers[] = {"qzeros", "scales"};

}  // namespace

const Layout kAwqGemmLayout{.codes = "qweight", .others = kOthers, .read = read_gemm};
const Layout kAwqGemvLayout{.codes = "qweight", .others = kOthers, .read = read_gemv};

}  // namespace gptq
