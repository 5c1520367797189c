// Products with rounded inputs by the matrix product of bytes of arm64 (FEAT_I8MM). One instruction takes 2 rows and 2
// columns with 8 inputs each, and adds to 2 x 2 sums:
//   a = row 0 | row 1, b = column 0 | column 1, 8 bytes each     sums += r0 c0, r0 c1, r1 c0, r1 c1
// So fields lie as [inputs / 8][kTileCols][8], those of 8 bits less 128. Few rows go the way of the dot product.
#if defined(__aarch64__)

#include "cpu/ints_neon.h"

#include "cpu/field_bytes.h"

namespace gptq::cpu {
namespace {

constexpr int kPairs = 4;     // of rows, taken at once
constexpr int64_t kCols = 8;  // likewise
constexpr int kColPairs = kCols / 2;
constexpr int64_t kOctet = 8 * kTileCols;  // bytes of 8 inputs of all columns

int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

template <int kBits>
[[gnu::flatten]] void unpack_panel(const uint32_t* words, int64_t units, uint8_t* out) {
  using R = ByteRun<kBits>;
  for (; units > 0; units -= R::kUnits, words += R::kWords * kPanel, out += R::kPairs * kOctet) {
    unrolled<R::kPairs>([&](auto pair) {
      fetch_pair<kBits, pair.value>(words + kPrefetch);
      unrolled<kParts>([&](auto part) {
        Ints even, odd;
        read_pair<kBits, pair.value>(words + part.value * kW, even, odd);
        uint8_t* const to = out + pair.value * kOctet + part.value * kW * 8;
        vst1q_u8(to, vreinterpretq_u8_s32(vzip1q_s32(even.low, odd.low)));
        vst1q_u8(to + 16, vreinterpretq_u8_s32(vzip2q_s32(even.low, odd.low)));
        vst1q_u8(to + 32, vreinterpretq_u8_s32(vzip1q_s32(even.high, odd.high)));
        vst1q_u8(to + 48, vreinterpretq_u8_s32(vzip2q_s32(even.high, odd.high)));
      });
    });
  }
}

void unpack(const QPanel& first, int64_t panels, int64_t begin, int64_t end, uint8_t* fields) {
  for (int64_t p = 0; p < panels; ++p) {
    const uint32_t* words = panel_at(first, p).words + panel_words(begin, first.bits);
    uint8_t* const out = fields + p * kPanel * 8;
    switch (first.bits) {
      case 2: unpack_panel<2>(words, end - begin, out); break;
      case 3: unpack_panel<3>(words, end - begin, out); break;
      case 4: unpack_panel<4>(words, end - begin, out); break;
      default: unpack_panel<8>(words, end - begin, out); break;
    }
  }
}

/// The first or last two sums of two vectors.
int32x4_t firsts(int32x4_t a, int32x4_t b) { return vcombine_s32(vget_low_s32(a), vget_low_s32(b)); }
int32x4_t lasts(int32x4_t a, int32x4_t b) { return vcombine_s32(vget_high_s32(a), vget_high_s32(b)); }

/// Some columns, and kRowPairs pairs of rows, the last of which may be one row: it is taken twice, and stored once.
template <int kRowPairs>
[[gnu::flatten]] void multiply_rows(const RoundedStep& step, const RoundedRows& rows, int64_t col,
                                    int64_t cols, bool accumulate) {
  const int64_t count = step.blocks.count, last = rows.rows - 1;
  const auto row_of = [last](int64_t r) { return least(r, last); };
  float sums[2 * kRowPairs][kCols] = {};
  for (int64_t r = 0; accumulate && r <= last; ++r) {
    for (int64_t c = 0; c < cols; ++c) sums[r][c] = rows.y[r * rows.ldy + c];
  }
  // a second panel that is not there reads what the first has
  const int64_t panel = step.panels > 1 ? col / kPanel : 0;
  const int middle = byte_middle(step.first.bits);
  const uint8_t* fields = step.fields + 8 * col;
  for (int64_t b = step.begin; b < step.end; ++b) {
    int32x4_t dots[kRowPairs][kColPairs];
    unrolled<kRowPairs>([&](auto p) {
      const int32x2_t one = vdup_n_s32(-middle * rows.sums[row_of(2 * p.value) * count + b]),
                      two = vdup_n_s32(-middle * rows.sums[row_of(2 * p.value + 1) * count + b]);
      unrolled<kColPairs>([&](auto c) { dots[p.value][c.value] = vcombine_s32(one, two); });
    });
    const int64_t begin = block_begin(step.blocks, b);
    const int8_t* q = rows.q + begin * kUnit;
    for (int64_t unit = begin; unit < step.blocks.ends[b]; ++unit, q += kUnit, fields += 2 * kOctet) {
      int8x16_t left[2][kRowPairs];
      unrolled<kRowPairs>([&](auto p) {
        const int64x2_t one = vreinterpretq_s64_s8(vld1q_s8(q + row_of(2 * p.value) * rows.ldq)),
                        two = vreinterpretq_s64_s8(vld1q_s8(q + row_of(2 * p.value + 1) * rows.ldq));
        left[0][p.value] = vreinterpretq_s8_s64(vzip1q_s64(one, two));
        left[1][p.value] = vreinterpretq_s8_s64(vzip2q_s64(one, two));
      });
      unrolled<2 * kColPairs>([&](auto i) {
        constexpr int kHalf = i.value / kColPairs, kC = i.value % kColPairs;
        const int8x16_t right = vreinterpretq_s8_u8(vld1q_u8(fields + kHalf * kOctet + kC * 16));
        unrolled<kRowPairs>(
            [&](auto p) { dots[p.value][kC] = vmmlaq_s32(dots[p.value][kC], left[kHalf][p.value], right); });
      });
    }
    const int64_t at = (panel * step.first.groups + step.blocks.groups[b]) * kPanel + col % kPanel;
    const bool has_zeros = are_there(step.first.zeros);
    const Floats scales = load<Floats>(step.first.scales, at),
                 zeros = has_zeros ? load<Floats>(step.first.zeros, at) : Floats::set(0.0f);
    unrolled<4 * kRowPairs>([&](auto i) {
      constexpr int kRow = i.value / 2, kHalf = i.value % 2;
      const int32x4_t one = dots[kRow / 2][2 * kHalf], two = dots[kRow / 2][2 * kHalf + 1];
      const int64_t input = row_of(kRow) * count + b;
      float32x4_t dot = vcvtq_f32_s32(kRow % 2 == 0 ? firsts(one, two) : lasts(one, two));
      if (has_zeros) {
        const auto of_inputs = static_cast<float>(rows.sums[input]);
        dot = vfmsq_f32(dot, (kHalf == 0 ? zeros.low : zeros.high), vdupq_n_f32(of_inputs));
      }
      const float32x4_t scale =
          vmulq_f32(kHalf == 0 ? scales.low : scales.high, vdupq_n_f32(rows.scales[input]));
      float* const sum = sums[kRow] + 4 * kHalf;
      vst1q_f32(sum, vfmaq_f32(vld1q_f32(sum), dot, scale));
    });
  }
  for (int64_t r = 0; r <= last; ++r) {
    for (int64_t c = 0; c < cols; ++c) rows.y[r * rows.ldy + c] = sums[r][c];
  }
}

void multiply(const RoundedStep& step, const RoundedRows& rows, int64_t cols, bool accumulate) {
  constexpr decltype(&multiply_rows<1>) kOfPairs[kPairs] = {multiply_rows<1>, multiply_rows<2>,
                                                            multiply_rows<3>, multiply_rows<4>};
  RoundedRows part = rows;
  for (int64_t r = 0; r < rows.rows; r += part.rows) {
    part.rows = least(2 * kPairs, rows.rows - r);
    part.q = rows.q + r * rows.ldq;
    part.scales = rows.scales + r * step.blocks.count;
    part.sums = rows.sums + r * step.blocks.count;
    for (int64_t col = 0; col < cols; col += kCols) {
      part.y = rows.y + r * rows.ldy + col;
      kOfPairs[(part.rows - 1) / 2](step, part, col, least(kCols, cols - col), accumulate);
    }
  }
}

}  // namespace

RoundedKernels rounded_neon_i8mm() {
  RoundedKernels kernels = kRoundedNeonDotprod;
  kernels.unpack = unpack;
  kernels.multiply = multiply;
  return kernels;
}

}  // namespace gptq::cpu

#endif
