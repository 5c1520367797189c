#include "base/fields.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace gptq {
namespace {

template <int kBits>
void check(Random& random) {
  for (int turn = 0; turn < 200; ++turn) {
    uint64_t fields = 0, bytes = 0;
    for (int i = 0; i < 8; ++i) {
      const uint64_t value = turn == 0 ? (1u << kBits) - 1 : random.below(1u << kBits);
      fields |= value << (i * kBits);
      bytes |= value << (i * 8);
    }
    ASSERT_EQ(spread_fields<kBits>(fields), bytes);
    ASSERT_EQ(gather_fields<kBits>(bytes), fields);
  }
}

TEST(Fields, AreBytesAndBack) {
  Random random(1);
  check<1>(random);
  check<2>(random);
  check<3>(random);
  check<4>(random);
}

}  // namespace
}  // namespace gptq
