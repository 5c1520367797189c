// What the wrappers of cuda/device.cuh give is what is written in wrappers.golden: by their twins here, by the instructions
// themselves on a GPU. A new wrapper needs a line there: the one that the test then prints.
#include "wrappers.h"

#include <bit>
#include <cstdio>
#include <fstream>
#include <map>
#include <span>

#include "cuda_support.h"
#include "support/test_data.h"

namespace gptq::cuda {
namespace {

constexpr const char* kNames[] = {"lop3_mask",
                                  "lop3_parity",
                                  "permute_bytes",
                                  "count_bits",
                                  "lowest_bit",
                                  "half_to_float",
                                  "bfloat_to_float",
                                  "half_from_float",
                                  "bfloat_from_float",
                                  "pack_half",
                                  "pack_bfloat",
                                  "sub_half",
                                  "sub_bfloat",
                                  "shuffle_xor",
                                  "shuffle",
                                  "shuffle_up",
                                  "shuffle_doubles",
                                  "ballot",
                                  "multiply_half",
                                  "multiply_bfloat",
                                  "load_matrices",
                                  "load_matrices_transposed",
                                  "copy_whole",
                                  "copy_or_not",
                                  "copy_once",
                                  "load_once",
                                  "add_release",
                                  "add_acquire_release",
                                  "exp2"};
static_assert(std::size(kNames) == kWrappers);

constexpr size_t kOfWrapper = size_t{kWrapperLanes} * kWrapperResults;

std::vector<uint32_t> results() {
  Random random(41);
  std::vector<uint32_t> in(size_t{kWrapperRounds} * kWrapperLanes * kWrapperInputs),
      out(kWrapperRounds * kWrappers * kOfWrapper);
  for (uint32_t& word : in) word = static_cast<uint32_t>(random.below(uint64_t{1} << 32));
  run_wrappers(kQueue, in.data(), out.data());
  return out;
}

/// One NaN is as good as another.
uint32_t without_payload(Wrapper w, uint32_t x) {
  const auto half = [](uint32_t bits) { return (bits & 0x7FFF) > 0x7C00 ? 0x7FFFu : bits; };
  const auto bfloat = [](uint32_t bits) { return (bits & 0x7FFF) > 0x7F80 ? 0x7FFFu : bits; };
  switch (w) {
    case Wrapper::half_to_float:
    case Wrapper::bfloat_to_float: return (x & 0x7FFFFFFF) > 0x7F800000 ? 0x7FFFFFFFu : x;
    case Wrapper::half_from_float: return half(x);
    case Wrapper::bfloat_from_float: return bfloat(x);
    case Wrapper::pack_half: return half(x & 0xFFFF) | half(x >> 16) << 16;
    case Wrapper::pack_bfloat: return bfloat(x & 0xFFFF) | bfloat(x >> 16) << 16;
    default: return x;
  }
}

/// FNV-1a of all that a wrapper gave.
uint64_t hash_of(const std::vector<uint32_t>& out, Wrapper w) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (size_t round = 0; round < kWrapperRounds; ++round) {
    for (uint32_t word :
         std::span(out).subspan((round * kWrappers + static_cast<size_t>(w)) * kOfWrapper, kOfWrapper)) {
      const uint32_t bits = without_payload(w, word);
      for (int i = 0; i < 4; ++i) hash = (hash ^ (bits >> 8 * i & 0xFF)) * 0x100000001b3u;
    }
  }
  return hash;
}

TEST(Wrappers, GiveTheBitsThatTheirTwinsGive) {
  std::map<std::string, std::string> golden;
  std::ifstream file(test::source_dir() / "tests/cuda/wrappers.golden");
  for (std::string name, hash; file >> name >> hash;) golden[name] = hash;
  EXPECT_EQ(golden.size(), size_t{kWrappers} - 1);
  const std::vector<uint32_t> out = results();
  for (int w = 0; w + 1 < kWrappers; ++w) {
    char hash[17];
    std::snprintf(hash, sizeof hash, "%016llx",
                  static_cast<unsigned long long>(hash_of(out, static_cast<Wrapper>(w))));
    EXPECT_EQ(golden[kNames[w]], hash) << "the line is " << kNames[w] << ' ' << hash;
  }
}

TEST(Wrappers, PowersOfTwoAreNear) {
  const std::vector<uint32_t> out = results();
  int count = 0;
  for (size_t round = 0; round < kWrapperRounds; ++round) {
    for (size_t lane = 0; lane < kWrapperLanes; ++lane) {
      const size_t at =
          (round * kWrappers + static_cast<size_t>(Wrapper::exp2)) * kOfWrapper + lane * kWrapperResults;
      const double got = std::bit_cast<float>(out[at]),
                   wanted = std::exp2(double{std::bit_cast<float>(out[at + 1])});
      EXPECT_NEAR(got, wanted, 3 * 0x1p-23 * wanted);
      count += got != 0 ? 1 : 0;
    }
  }
  EXPECT_GT(count, 200);
}

}  // namespace
}  // namespace gptq::cuda
