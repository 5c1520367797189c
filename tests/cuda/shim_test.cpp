// The shim itself: instructions against their definition, and the faults that it is there to find.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "cuda/launch.cuh"

namespace gptq::cuda {
namespace {

constexpr Queue kQueue;

/// One block, for each of some orders of its threads.
template <class F>
void run_block(int threads, size_t shared_bytes, F kernel) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    shim::behave({.seed = seed});
    shim::run({.threads = threads, .shared_bytes = shared_bytes}, kernel);
  }
}

template <class F>
std::string misuse_of(int threads, size_t shared_bytes, F kernel) {
  try {
    shim::run({.threads = threads, .shared_bytes = shared_bytes}, kernel);
  } catch (const shim::Misuse& misuse) {
    return misuse.what();
  }
  return "none";
}

template <class T>
T random_element(std::mt19937& random) {
  return from_float<T>(std::uniform_real_distribution<float>(-2, 2)(random));
}

template <class T>
void multiply_is_a_product() {
  std::mt19937 random(7);
  // stored as the instruction's description in the PTX manual says, not as the twin does
  T a[16][16], b[16][8];
  float c[16][8], d[16][8];
  for (auto& row : a) {
    for (T& x : row) x = random_element<T>(random);
  }
  for (auto& row : b) {
    for (T& x : row) x = random_element<T>(random);
  }
  for (auto& row : c) {
    for (float& x : row) x = std::uniform_real_distribution<float>(-2, 2)(random);
  }
  run_block(32, 0, [&] {
    const int lane = lane_of_thread(), group = lane >> 2, in_group = lane % 4;
    uint32_t af[4] = {}, bf[2] = {};
    float df[4];
    for (int i = 0; i < 8; ++i) {  // a_i
      const int row = i < 2 || (i >= 4 && i < 6) ? group : group + 8;
      const int col = in_group * 2 + (i & 1) + (i >= 4 ? 8 : 0);
      af[i / 2] |= static_cast<uint32_t>(a[row][col].bits) << i % 2 * 16;
    }
    for (int i = 0; i < 4; ++i) {  // b_i
      const int row = in_group * 2 + (i & 1) + (i >= 2 ? 8 : 0);
      bf[i / 2] |= static_cast<uint32_t>(b[row][group].bits) << i % 2 * 16;
    }
    for (int i = 0; i < 4; ++i) df[i] = c[i < 2 ? group : group + 8][in_group * 2 + (i & 1)];
    multiply_16816<T>(df, af, bf);
    for (int i = 0; i < 4; ++i) d[i < 2 ? group : group + 8][in_group * 2 + (i & 1)] = df[i];
  });
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 8; ++j) {
      double wanted = c[i][j];
      for (int k = 0; k < 16; ++k) wanted += double{to_float(a[i][k])} * double{to_float(b[k][j])};
      EXPECT_NEAR(d[i][j], wanted, 1e-5);
    }
  }
}

TEST(Shim, MultipliesMatrices) {
  multiply_is_a_product<Half>();
  multiply_is_a_product<BFloat>();
}

TEST(Shim, LoadsMatrices) {
  for (const bool transposed : {false, true}) {
    run_block(32, 4 * 128, [&] {
      auto* const shared = reinterpret_cast<uint16_t*>(shared_memory());
      const int lane = lane_of_thread();
      for (int i = lane; i < 256; i += 32) shared[i] = static_cast<uint16_t>(i);
      sync_warp();
      uint32_t d[4];
      const void* const row = shared + lane * 8;
      transposed ? load_matrices_transposed(d, row) : load_matrices(d, row);
      for (int i = 0; i < 4; ++i) {
        const int r = lane / 4, c = lane % 4 * 2;
        EXPECT_EQ(d[i] & 0xFFFF, static_cast<uint32_t>(i * 64 + (transposed ? c * 8 + r : r * 8 + c)));
        EXPECT_EQ(d[i] >> 16, static_cast<uint32_t>(i * 64 + (transposed ? c * 8 + 8 + r : r * 8 + c + 1)));
      }
    });
  }
}

TEST(Shim, Shuffles) {
  run_block(64, 0, [] {
    const int thread = thread_x(), lane = lane_of_thread(), first = thread - lane;
    EXPECT_EQ(shuffle_xor(static_cast<float>(thread), 5), static_cast<float>(first + (lane ^ 5)));
    EXPECT_EQ(shuffle_xor(1e-12 + thread, 5), 1e-12 + (first + (lane ^ 5)));
    EXPECT_EQ(shuffle(static_cast<uint32_t>(thread), 9), static_cast<uint32_t>(first + 9));
    EXPECT_EQ(shuffle_up(static_cast<uint32_t>(thread), 4),
              static_cast<uint32_t>(lane < 4 ? thread : thread - 4));
    EXPECT_EQ(ballot(lane % 3 == 0), 0x49249249u);
  });
}

TEST(Shim, DoesBits) {
  EXPECT_EQ((lop3<0xEA>(0x1234u, 0x00FFu, 0x6400u)), (0x1234u & 0x00FFu) | 0x6400u);
  EXPECT_EQ((lop3<0x96>(0xF0F0u, 0xCCCCu, 0xAAAAu)), 0xF0F0u ^ 0xCCCCu ^ 0xAAAAu);
  EXPECT_EQ(permute_bytes(0x33221100u, 0x77665544u, 0x7140u), 0x77114400u);
  EXPECT_EQ(count_bits(0x80010F00u), 6);
  EXPECT_EQ(lowest_bit(0x80010F00u), 8);
  EXPECT_EQ(sub2<Half>(0x64056407u, 0x64086408u), pack2<Half>(-1.0f, -3.0f));
  EXPECT_EQ(sub2<BFloat>(0x43054307u, 0x43084308u), pack2<BFloat>(-1.0f, -3.0f));
}

/// A reduction as it should be, and without its barrier.
TEST(Shim, FindsAMissingBarrier) {
  int wrong = 0;
  for (const bool barrier : {true, false}) {
    for (uint64_t seed = 1; seed <= 20; ++seed) {
      shim::behave({.seed = seed});
      float sum = 0;
      shim::run({.threads = 128, .shared_bytes = 512}, [&] {
        auto* const shared = reinterpret_cast<float*>(shared_memory());
        shared[thread_x()] = 1;
        if (barrier) sync_threads();
        if (thread_x() > 0) return;
        for (int i = 0; i < 128; ++i) sum += shared[i];
      });
      if (barrier) {
        EXPECT_EQ(sum, 128.0f);
      }
      if (!barrier && !(sum == 128.0f)) ++wrong;
    }
  }
  EXPECT_GE(wrong, 19);
}

TEST(Shim, CopiesArriveAtTheWaitAlone) {
  alignas(16) static float from[64];
  for (int i = 0; i < 64; ++i) from[i] = static_cast<float>(i);
  run_block(32, 512, [] {
    auto* const shared = reinterpret_cast<float*>(shared_memory());
    float* const mine = shared + thread_x() % 8 * 4;
    if (thread_x() >= 8) return;
    mine[0] = 5;
    copy_async16(mine, from + thread_x() * 4);
    copies_commit();
    copy_async16(mine + 64, from + thread_x() * 4, 0);
    copies_commit();
    EXPECT_TRUE(std::isnan(mine[0]));
    copies_wait<1>();
    EXPECT_EQ(mine[3], static_cast<float>(thread_x() * 4 + 3));
    EXPECT_TRUE(std::isnan(mine[64]));
    copies_wait<0>();
    EXPECT_EQ(mine[64], 0.0f);
  });
  EXPECT_NE(misuse_of(32, 512, [] { copy_async16(shared_memory(), from); }).find("before the copies"),
            std::string::npos);
  EXPECT_NE(misuse_of(32, 512, [] { copy_async16(shared_memory() + 8, from); }).find("not a multiple of 16"),
            std::string::npos);
  EXPECT_NE(misuse_of(32, 512, [] { copy_async16(shared_memory() + 512, from); })
                .find("where shared memory is not"),
            std::string::npos);
}

TEST(Shim, FindsLanesThatGoTheirOwnWay) {
  EXPECT_NE(misuse_of(32, 0,
                      [] {
                        if (thread_x() < 8) {
                          ballot(true);
                        } else {
                          shuffle(1.0f, 0);
                        }
                      })
                .find("different instructions"),
            std::string::npos);
  EXPECT_NE(misuse_of(64, 0,
                      [] {
                        if (thread_x() >= 32) sync_threads();
                      })
                .find("barrier"),
            std::string::npos);
  EXPECT_NE(misuse_of(64, 0,
                      [] {
                        if (thread_x() != 3) ballot(true);
                      })
                .find("without end"),
            std::string::npos);
}

/// Each block waits for the one after it.
TEST(Shim, BlocksWaitForEachOther) {
  std::vector<uint32_t> flags(9);
  flags[8] = 1;
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    shim::behave({.seed = seed});
    std::fill_n(flags.begin(), 8, 0u);
    shim::run({.x = 8, .threads = 32, .all_resident = true}, [&] {
      if (thread_x() > 0) return;
      while (load_acquire(&flags[static_cast<size_t>(block_x()) + 1]) == 0) pause();
      add_release(&flags[static_cast<size_t>(block_x())], 1);
    });
    EXPECT_EQ(flags, std::vector<uint32_t>(9, 1));
  }
}

TEST(Shim, CountsBankConflicts) {
  const auto conflicts = [](int stride) {
    shim::reset_counts();
    shim::run({.threads = 32, .shared_bytes = 32 * 256}, [=] {
      load_shared16(shared_memory() + lane_of_thread() * stride);
      sync_warp();
    });
    EXPECT_EQ(shim::counts().accesses, 4u);
    return shim::counts().conflicts;
  };
  EXPECT_EQ(conflicts(16), 0u);
  EXPECT_EQ(conflicts(144), 0u);
  EXPECT_EQ(conflicts(64), 4u * 3);
  EXPECT_EQ(conflicts(128), 4u * 7);
}

TEST(Shim, LaunchesEveryBlockOnce) {
  std::vector<int> seen(3 * 4 * 5);
  static std::vector<int>* out;
  out = &seen;
  struct Kernel {
    static void count(int add) {
      if (thread_x() == 17) (*out)[static_cast<size_t>((block_z() * 4 + block_y()) * 3 + block_x())] += add;
    }
  };
  launch(kQueue, Kernel::count, {.x = 3, .y = 4, .z = 5, .threads = 64}, 2);
  launch(kQueue, Kernel::count, {.x = 0, .y = 4, .z = 5, .threads = 64}, 2);
  EXPECT_EQ(seen, std::vector<int>(60, 2));
}

}  // namespace
}  // namespace gptq::cuda
