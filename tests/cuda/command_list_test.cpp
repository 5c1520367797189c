// Lists of a step's ops: when two of them do the same.
#include "cuda/command_list.h"

#include <algorithm>

#include "cuda_support.h"

namespace gptq::cuda {
namespace {

/// What lies between the members of arguments says nothing; all else does.
TEST(CommandList, IsComparedByWhatItDoes) {
  alignas(Weights) std::byte memory[2][sizeof(Weights)];
  std::fill_n(memory[0], sizeof(Weights), std::byte{0x00});
  std::fill_n(memory[1], sizeof(Weights), std::byte{0xFF});
  const auto weights = [&](int i) -> Weights& {
    auto& w = *reinterpret_cast<Weights*>(memory[i]);
    w.shape.bits = 4;
    w.shape.rows = w.shape.cols = w.shape.packed_inputs = w.shape.piece = 64;
    w.words = nullptr;
    w.scales_f16 = w.zeros = nullptr;
    w.scales_f32 = w.bias = nullptr;
    w.order = nullptr;
    return w;
  };
  int32_t ids[2] = {};
  const auto list = [&](const Weights& w, const int32_t* at, int64_t count, size_t bytes) {
    CommandList list;
    Queue queue = kQueue;
    queue.list = &list;
    cuda::embed(queue, Element::bf16, w, at, count, memory);
    list.add_clear(memory, bytes);
    return list;
  };
  const CommandList one = list(weights(0), ids, 2, 1);
  EXPECT_EQ(one.size(), 2u);
  EXPECT_TRUE(one == list(weights(1), ids, 2, 1));
  EXPECT_FALSE(one == list(weights(1), ids + 1, 2, 1)) << "another address";
  EXPECT_FALSE(one == list(weights(1), ids, 1, 1)) << "another grid";
  EXPECT_FALSE(one == list(weights(1), ids, 2, 2)) << "another size";
  EXPECT_FALSE(one == CommandList());
  Weights other = weights(1);
  other.shape.piece = 32;
  EXPECT_FALSE(one == list(other, ids, 2, 1)) << "another number in the middle";
}

}  // namespace
}  // namespace gptq::cuda
