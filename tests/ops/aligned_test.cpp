// Blocks of memory for packed weights.
#include "cpu/aligned.h"

#include <cstring>
#include <vector>

#include "ops_support.h"

namespace gptq::test {
namespace {

using cpu::AlignedBlock;
using cpu::kHugePage;
using cpu::Pages;

TEST(AlignedBlock, IsThereFromEndToEnd) {
  for (size_t bytes :
       {size_t{1}, size_t{64}, kHugePage - 1, kHugePage, kHugePage + 1, 3 * kHugePage + 4097}) {
    for (Pages pages : {Pages::usual, Pages::huge}) {
      AlignedBlock block(bytes, pages);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(block.data()) % cpu::kCacheLine, 0u);
      EXPECT_EQ(block.bytes(), bytes);
      std::memset(block.data(), 7, bytes);
      AlignedBlock other = std::move(block), empty;
      EXPECT_EQ(block.bytes(), 0u);  // NOLINT: what was moved from is empty
      EXPECT_EQ(other.data()[bytes - 1], std::byte{7});
      other = std::move(empty);
      EXPECT_EQ(other.bytes(), 0u);
    }
  }
}

/// A process may have 65,530 mappings, a mixture of experts more than 40,000 matrices.
TEST(AlignedBlock, AreOneMappingEach) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__x86_64__)
  GTEST_SKIP() << "address space is for a plain build on x86-64";
#endif
  std::vector<AlignedBlock> blocks;
  for (int i = 0; i < 40'000; ++i)
    ASSERT_NO_THROW(blocks.emplace_back(kHugePage + 100'000, Pages::huge)) << i;
}

TEST(AlignedBlock, TooLargeIsRefused) {
  EXPECT_THROW(AlignedBlock(SIZE_MAX / 2, Pages::huge), std::bad_alloc);
  EXPECT_THROW(AlignedBlock(SIZE_MAX, Pages::huge), std::bad_alloc);
}

}  // namespace
}  // namespace gptq::test
