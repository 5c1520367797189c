#include "cuda/layout.h"

#include <algorithm>
#include <numeric>

#include "base/half.h"

namespace gptq::cuda {
namespace {

/// Rows of activations that begin at multiples of 16 bytes are read as they are.
constexpr int64_t kVectorInputs = 8;

constexpr int64_t whole(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

/// Members of each group, in sequence.
std::vector<std::vector<int32_t>> members_of(const QTensor& q) {
  std::vector<std::vector<int32_t>> members(static_cast<size_t>(q.groups));
  for (int64_t k = 0; k < q.cols; ++k)
    members[static_cast<size_t>(q.group_of[static_cast<size_t>(k)])].push_back(static_cast<int32_t>(k));
  return members;
}

/// The piece that is as long as each group but the last one, or 0.
int64_t regular_piece(const std::vector<std::vector<int32_t>>& members) {
  if (members.empty() || members.back().empty()) return 0;
  const auto size = static_cast<int64_t>(members.front().size());
  for (size_t g = 0; g + 1 < members.size(); ++g) {
    if (static_cast<int64_t>(members[g].size()) != size) return 0;
  }
  if (static_cast<int64_t>(members.back().size()) > size) return 0;
  if (members.size() == 1) return whole(size, kSlabInputs);
  return size == 16 || size == 32 || size % kSlabInputs == 0 ? size : 0;
}

/// Sets piece, packed_inputs, order and piece_groups.
void plan(const QTensor& q, PackedWeights& packed) {
  const auto members = members_of(q);
  const int64_t regular = regular_piece(members);
  Packing& shape = packed.shape;
  shape.piece = regular > 0 ? regular : kStepInputs;
  packed.groups = q.groups;
  for (int64_t g = 0; g < q.groups; ++g) {
    const auto& inputs = members[static_cast<size_t>(g)];
    packed.order.insert(packed.order.end(), inputs.begin(), inputs.end());
    if (regular > 0) {
      packed.piece_groups.push_back(static_cast<int32_t>(g));
      continue;
    }
    const int64_t pieces =
        std::max<int64_t>(1, whole(static_cast<int64_t>(inputs.size()), kStepInputs) / kStepInputs);
    packed.piece_groups.insert(packed.piece_groups.end(), static_cast<size_t>(pieces),
                               static_cast<int32_t>(g));
    packed.order.resize(packed.piece_groups.size() * kStepInputs, -1);
  }
  shape.packed_inputs = whole(static_cast<int64_t>(packed.order.size()), kSlabInputs);
  packed.order.resize(static_cast<size_t>(shape.packed_inputs), -1);
  // of the padding; a group of its own would have no scales
  packed.piece_groups.resize(static_cast<size_t>(shape.pieces()),
                             q.groups > 0 ? static_cast<int32_t>(q.groups - 1) : 0);
  bool in_order = q.cols % kVectorInputs == 0;
  for (int64_t i = 0; i < shape.packed_inputs; ++i)
    in_order &= packed.order[static_cast<size_t>(i)] == (i < q.cols ? i : -1);
  if (in_order) packed.order.clear();
}

/// The input at place i of the packed ones, or -1.
int64_t input_at(const PackedWeights& packed, int64_t i) {
  if (packed.order.empty()) return i < packed.shape.cols ? i : -1;
  return packed.order[static_cast<size_t>(i)];
}

/// Calls at(slab, row of the strip, input of the slab, row, input) for each weight that is there.
template <class F>
void for_each_weight(const PackedWeights& packed, F at) {
  const Packing& shape = packed.shape;
  for (int64_t row = 0; row < shape.rows; ++row) {
    for (int64_t i = 0; i < shape.packed_inputs; ++i) {
      const int64_t input = input_at(packed, i);
      if (input < 0) continue;
      at(shape.first_word(row / kStripRows, i / kSlabInputs), static_cast<int>(row % kStripRows),
         static_cast<int>(i % kSlabInputs), row, input);
    }
  }
}

float scale_at(const PackedWeights& packed, int64_t at) {
  return packed.scales_f32.empty() ? fp16_to_float(packed.scales_f16[static_cast<size_t>(at)])
                                   : packed.scales_f32[static_cast<size_t>(at)];
}

void pack_parameters(const QTensor& q, PackedWeights& packed) {
  const Packing& shape = packed.shape;
  const auto count = static_cast<size_t>(shape.parameters());
  const bool f16 = std::all_of(q.scales.begin(), q.scales.end(),
                               [](float s) { return fp16_to_float(float_to_fp16(s)) == s; });
  const auto middle = static_cast<uint16_t>(1 << (q.bits - 1));
  const bool symmetric = std::all_of(q.zeros.begin(), q.zeros.end(), [&](uint16_t z) { return z == middle; });
  (f16 ? packed.scales_f16.resize(count) : packed.scales_f32.resize(count));
  if (!symmetric) packed.zeros.assign(count, middle);
  for (int64_t p = 0; p < shape.pieces(); ++p) {
    for (int64_t row = 0; row < q.rows; ++row) {
      const auto from = static_cast<size_t>(packed.piece_groups[static_cast<size_t>(p)] * q.rows + row);
      const auto to = static_cast<size_t>(shape.parameter(row, p));
      if (q.groups == 0) continue;
      if (f16) {
        packed.scales_f16[to] = float_to_fp16(q.scales[from]);
      } else {
        packed.scales_f32[to] = q.scales[from];
      }
      if (!symmetric) packed.zeros[to] = q.zeros[from];
    }
  }
}

}  // namespace

PackedWeights plan_packing(const QTensor& q) {
  PackedWeights packed;
  packed.shape.bits = q.bits;
  packed.shape.rows = q.rows;
  packed.shape.cols = q.cols;
  plan(q, packed);
  pack_parameters(q, packed);
  return packed;
}

PackedWeights pack(const QTensor& q) {
  PackedWeights packed = plan_packing(q);
  packed.words.resize(static_cast<size_t>(packed.shape.words()));
  for_each_weight(packed, [&](int64_t slab, int r, int k, int64_t row, int64_t input) {
    set_field(packed.words.data() + slab, q.bits, r, k, q.codes[static_cast<size_t>(row * q.cols + input)]);
  });
  return packed;
}

QTensor unpack(const PackedWeights& packed) {
  const Packing& shape = packed.shape;
  QTensor q{.bits = shape.bits, .rows = shape.rows, .cols = shape.cols, .groups = packed.groups};
  q.codes.resize(static_cast<size_t>(q.rows * q.cols));
  q.scales.resize(static_cast<size_t>(q.groups * q.rows));
  q.zeros.assign(q.scales.size(), static_cast<uint16_t>(1 << (q.bits - 1)));
  q.group_of.resize(static_cast<size_t>(q.cols));
  for (int64_t i = 0; i < shape.packed_inputs; ++i) {
    const int64_t input = input_at(packed, i);
    if (input >= 0)
      q.group_of[static_cast<size_t>(input)] = packed.piece_groups[static_cast<size_t>(i / shape.piece)];
  }
  for_each_weight(packed, [&](int64_t slab, int r, int k, int64_t row, int64_t input) {
    q.codes[static_cast<size_t>(row * q.cols + input)] =
        static_cast<uint8_t>(get_field(packed.words.data() + slab, q.bits, r, k));
  });
  for (int64_t p = 0; q.groups > 0 && p < shape.pieces(); ++p) {
    for (int64_t row = 0; row < q.rows; ++row) {
      const auto to = static_cast<size_t>(packed.piece_groups[static_cast<size_t>(p)] * q.rows + row);
      const int64_t from = shape.parameter(row, p);
      q.scales[to] = scale_at(packed, from);
      if (!packed.zeros.empty()) q.zeros[to] = packed.zeros[static_cast<size_t>(from)];
    }
  }
  return q;
}

PackedWeights plan_halves(int64_t rows, int64_t cols) {
  PackedWeights packed;
  packed.shape = {.bits = 16, .rows = rows, .cols = cols, .packed_inputs = whole(cols, kSlabInputs)};
  packed.shape.piece = packed.shape.packed_inputs;
  if (cols % kVectorInputs != 0) {
    packed.order.assign(static_cast<size_t>(packed.shape.packed_inputs), -1);
    std::iota(packed.order.begin(), packed.order.begin() + cols, 0);
  }
  return packed;
}

PackedWeights pack_halves(const uint16_t* numbers, int64_t rows, int64_t cols) {
  PackedWeights packed = plan_halves(rows, cols);
  packed.words.resize(static_cast<size_t>(packed.shape.words()));
  for_each_weight(packed, [&](int64_t slab, int r, int k, int64_t row, int64_t input) {
    set_field(packed.words.data() + slab, 16, r, k, numbers[row * cols + input]);
  });
  return packed;
}

void unpack_halves(const PackedWeights& packed, uint16_t* out) {
  for_each_weight(packed, [&](int64_t slab, int r, int k, int64_t row, int64_t input) {
    out[row * packed.shape.cols + input] =
        static_cast<uint16_t>(get_field(packed.words.data() + slab, 16, r, k));
  });
}

}  // namespace gptq::cuda
