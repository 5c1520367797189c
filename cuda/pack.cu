// Weights as they lie on disk and in the solver, row by row, into the layout of the GPU (layout.h). Plain twin: pack().
//
//   fields [rows, cols] -> words [strips][slabs][slab_words(bits)]
//
// A block has a slab, a thread some of its words: 32 / bits fields of two rows each, which the other threads of the warp
// read beside. A field that is missing to a whole strip or slab is 0.
#include "cuda/launch.cuh"

namespace gptq::cuda {
namespace {

constexpr int kThreads = 128;

/// A slab's fields, row by row.
template <class Field>
struct SlabOf {
  const Field* fields;   // of the strip's first row
  const int32_t* order;  // of the slab's first input; null: in order
  int64_t cols, first;   // input
  int rows;

  GPTQ_DEVICE uint32_t at(int r, int k) const {
    const int64_t input = order != nullptr ? order[k] : first + k < cols ? first + k : -1;
    return r < rows && input >= 0 ? fields[r * cols + input] : 0u;
  }
};

/// A word of a plane whose fields are bits [from, from + bits) of the slab's.
template <int bits, class Slab>
GPTQ_DEVICE uint32_t word_of_plane(const Slab& slab, int word, int from) {
  uint32_t value = 0;
#pragma unroll
  for (int shift = 0; shift < 32; shift += bits) {
    const FieldAt at = field_in_plane(bits, word, shift);
    value |= (slab.at(at.r, at.k) >> from & ((1u << bits) - 1)) << shift;
  }
  return value;
}

template <int bits, class Field>
__global__ void __launch_bounds__(kThreads)
    pack_slabs(Packing shape, const Field* fields, const int32_t* order, int64_t first, int64_t count,
               uint32_t* words) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const int64_t slabs = shape.slabs(), strip = block_x() / slabs, slab = block_x() % slabs;
  const int64_t row = strip * kStripRows, left = count - row;
  const SlabOf<Field> from{.fields = fields + row * shape.cols,
                           .order = order != nullptr ? order + slab * kSlabInputs : nullptr,
                           .cols = shape.cols,
                           .first = slab * kSlabInputs,
                           .rows = left < kStripRows ? static_cast<int>(left) : kStripRows};
  uint32_t* const to = words + shape.first_word(first / kStripRows + strip, slab);
  for (int word = thread_x(); word < slab_words(bits); word += kThreads) {
    if constexpr (bits == 3) {
      const int high = word - slab_words(2);
      to[word] = high < 0 ? word_of_plane<2>(from, word, 0) : word_of_plane<1>(from, high, 2);
    } else {
      to[word] = word_of_plane<bits>(from, word, 0);
    }
  }
}

template <int bits, class Field>
void launch_pack(const Queue& queue, const Packing& shape, const void* fields, const int32_t* order,
                 int64_t first, int64_t count, uint32_t* words) {
  launch(queue, pack_slabs<bits, Field>,
         {.x = divide_up(count, kStripRows) * shape.slabs(), .threads = kThreads}, shape,
         static_cast<const Field*>(fields), order, first, count, words);
}

}  // namespace

void pack_rows(const Queue& queue, const Packing& shape, const void* fields, const int32_t* order,
               int64_t first, int64_t count, uint32_t* words) {
  switch (shape.bits) {
    case 2: return launch_pack<2, uint8_t>(queue, shape, fields, order, first, count, words);
    case 3: return launch_pack<3, uint8_t>(queue, shape, fields, order, first, count, words);
    case 4: return launch_pack<4, uint8_t>(queue, shape, fields, order, first, count, words);
    case 8: return launch_pack<8, uint8_t>(queue, shape, fields, order, first, count, words);
    case 16: return launch_pack<16, uint16_t>(queue, shape, fields, order, first, count, words);
    default: throw Error(Status::internal, cat("weights of ", shape.bits, " bits"));
  }
}

}  // namespace gptq::cuda
