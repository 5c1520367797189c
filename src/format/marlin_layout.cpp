// The layout of Marlin's first kernels: 4 bits, symmetric, inputs in their order.
//
//   B  i32 [K/16, 2N]  codes as the tensor cores want them. With row tile t, column tile c of 64, lane l of 32 and part p
//                      of 4, word 128c + 4l + p of row t holds, in nibble i, element kOrder[i] of
//                        column n = 64c + 16p + l/4 at rows r, r+1, r+8, r+9, then the same rows of column n + 8
//                      where r = 16t + 2(l % 4)
//   s  f16 [G, N]      within every 64 columns [8][8] transposed; for one group alone, within every 32 columns, by
//                      kChannelOrder
#include <array>

#include "base/error.h"
#include "base/text.h"
#include "format/layout.h"

namespace gptq {
namespace {

constexpr int kBits = 4;
constexpr int64_t kRows = 16, kColumns = 64;  // of a tile
constexpr std::array<int64_t, 8> kOrder{0, 2, 4, 6, 1, 3, 5, 7};
constexpr std::array<int64_t, 4> kTileRows{0, 1, 8, 9};
constexpr std::array<int64_t, 8> kChannelOrder{0, 1, 8, 9, 16, 17, 24, 25};

/// Where the scale of stored place i stands, in a block of 64 columns or, for one group, of 32.
int64_t column_of_scale(int64_t i, int64_t groups) {
  if (groups > 1) return i % 8 * 8 + i / 8;
  return 2 * (i / 8) + kChannelOrder[static_cast<size_t>(i % 8)];
}

std::vector<uint8_t> unpack_tiles(const std::vector<uint32_t>& words, int64_t k, int64_t n) {
  std::vector<uint8_t> codes(static_cast<size_t>(n * k));
  size_t next = 0;
  for (int64_t tile = 0; tile < k / kRows; ++tile) {
    for (int64_t columns = 0; columns < n; columns += kColumns) {
      for (int64_t lane = 0; lane < 32; ++lane) {
        for (int64_t part = 0; part < 4; ++part) {
          const uint32_t word = words[next++];
          for (size_t i = 0; i < 8; ++i) {
            const int64_t element = kOrder[i];
            const int64_t row = kRows * tile + 2 * (lane % 4) + kTileRows[static_cast<size_t>(element % 4)];
            const int64_t column = columns + 16 * part + lane / 4 + 8 * (element / 4);
            codes[static_cast<size_t>(column * k + row)] = static_cast<uint8_t>(word >> (4 * i) & 15);
          }
        }
      }
    }
  }
  return codes;
}

QTensor read_marlin(const StoredModule& m, const QuantConfig& config) {
  if (config.bits != kBits || m.k % kRows != 0 || m.n % kColumns != 0) {
    throw Error(Fault::unsupported, cat(m.name, ": Marlin of ", config.bits, " bits, ", m.k, " inputs, ", m.n,
                                        " outputs, wanted 4, a multiple of 16 and one of 64"));
  }
  const TensorInfo& words = m.require_matrix("B", kWordTypes, m.k / kRows, 2 * m.n);
  const int64_t per_group = m.inputs_per_group(config.group_size);
  QTensor q{.bits = kBits, .rows = m.n, .cols = m.k, .groups = ceil_div(m.k, per_group)};
  const std::vector<float> stored = m.read_scales(m.require_matrix("s", kScaleTypes, q.groups, m.n));
  q.scales.resize(stored.size());
  const int64_t block = q.groups > 1 ? 64 : 32;
  for (int64_t i = 0; i < q.groups * m.n; ++i) {
    const int64_t place = i / block * block + column_of_scale(i % block, q.groups);
    q.scales[static_cast<size_t>(place)] = stored[static_cast<size_t>(i)];
  }
  q.zeros.assign(stored.size(), 1 << (kBits - 1));
  q.group_of = m.groups_in_order(per_group);
  q.codes = unpack_tiles(m.read<uint32_t>(words), m.k, m.n);
  return q;
}

constexpr std::string_view kOthers[] = {"s", "workspace"};

}  // namespace

const Layout kMarlinLayout{.codes = "B", .others = kOthers, .read = read_marlin};

}  // namespace gptq
