// Packed weights: every field has a place of its own, and what went in comes out.
#include "cuda/layout.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <set>

#include "base/half.h"

namespace gptq::cuda {
namespace {

enum class Scales : uint8_t { f16, f32 };
enum class Zeros : uint8_t { middle, own };

QTensor random_weights(int bits, int64_t rows, std::vector<int32_t> group_of, int64_t groups, Scales scales,
                       Zeros zeros) {
  std::mt19937 random(static_cast<unsigned>(rows * 31 + bits));
  QTensor q{.bits = bits, .rows = rows, .cols = static_cast<int64_t>(group_of.size()), .groups = groups};
  q.group_of = std::move(group_of);
  q.codes.resize(static_cast<size_t>(q.rows * q.cols));
  for (uint8_t& c : q.codes) c = static_cast<uint8_t>(random() % (1u << bits));
  q.scales.resize(static_cast<size_t>(groups * rows));
  for (float& s : q.scales) {
    s = std::uniform_real_distribution<float>(0.01f, 1)(random);
    if (scales == Scales::f16) s = fp16_to_float(float_to_fp16(s));
  }
  q.zeros.resize(q.scales.size());
  for (uint16_t& z : q.zeros)
    z = static_cast<uint16_t>(zeros == Zeros::middle ? 1u << (bits - 1) : random() % ((1u << bits) + 1));
  return q;
}

std::vector<int32_t> groups_of(int64_t cols, int64_t size) {
  std::vector<int32_t> group_of(static_cast<size_t>(cols));
  for (int64_t k = 0; k < cols; ++k) group_of[static_cast<size_t>(k)] = static_cast<int32_t>(k / size);
  return group_of;
}

void expect_equal(const QTensor& a, const QTensor& b) {
  EXPECT_EQ(a.bits, b.bits);
  EXPECT_EQ(a.rows, b.rows);
  EXPECT_EQ(a.cols, b.cols);
  EXPECT_EQ(a.groups, b.groups);
  EXPECT_EQ(a.codes, b.codes);
  EXPECT_EQ(a.scales, b.scales);
  EXPECT_EQ(a.zeros, b.zeros);
  EXPECT_EQ(a.group_of, b.group_of);
}

void expect_round_trip(const QTensor& q) {
  const PackedWeights packed = pack(q);
  const Packing& shape = packed.shape;
  EXPECT_EQ(shape.packed_inputs % kSlabInputs, 0);
  EXPECT_TRUE(shape.piece == 16 || shape.piece == 32 || shape.piece % 64 == 0);
  EXPECT_EQ(static_cast<int64_t>(packed.piece_groups.size()), shape.pieces());
  expect_equal(unpack(packed), q);
}

TEST(Layout, FieldsHaveAPlaceOfTheirOwn) {
  for (int bits : {1, 2, 4, 8, 16}) {
    std::set<int> seen;
    for (int r = 0; r < kStripRows; ++r) {
      for (int k = 0; k < kSlabInputs; ++k) {
        const Place at = place_in_plane(bits, r, k);
        EXPECT_GE(at.word, 0);
        EXPECT_LT(at.word, slab_words(bits));
        EXPECT_EQ(at.shift / 16, (at.shift + bits - 1) / 16);  // of one half
        for (int i = 0; i < bits; ++i) seen.insert(at.word * 32 + at.shift + i);
      }
    }
    EXPECT_EQ(static_cast<int>(seen.size()), kStripRows * kSlabInputs * bits);
    EXPECT_EQ(*seen.rbegin(), kStripRows * kSlabInputs * bits - 1);
  }
}

/// Lane 9 has rows 2 and 10, and inputs 4 to 7 of each step: in a word for each step, the first register's first.
TEST(Layout, ALaneHasItsPartOfTheFragments) {
  std::vector<uint32_t> slab(slab_words(4));
  for (int i = 0; i < 4; ++i) {
    set_field(slab.data(), 4, 2, 32 + 4 + i, static_cast<uint32_t>(1 + i));
    set_field(slab.data(), 4, 10, 32 + 4 + i, static_cast<uint32_t>(5 + i));
  }
  EXPECT_EQ(slab[9 * 4 + 2], 0x8462'7351u);
  EXPECT_EQ(std::count(slab.begin(), slab.end(), 0u), slab_words(4) - 1);
}

TEST(Layout, WhatGoesInComesOut) {
  for (int bits : kBitWidths) {
    for (const auto& [rows, cols, size] : {std::array<int64_t, 3>{16, 64, 64},
                                           {1, 1, 1},
                                           {33, 200, 128},
                                           {40, 256, 32},
                                           {17, 100, 16},
                                           {5, 384, 384},
                                           {64, 130, 1000},
                                           {16, 96, 48},
                                           {8, 70, 7}}) {
      for (Zeros zeros : {Zeros::middle, Zeros::own}) {
        for (Scales scales : {Scales::f16, Scales::f32})
          expect_round_trip(
              random_weights(bits, rows, groups_of(cols, size), (cols + size - 1) / size, scales, zeros));
      }
    }
  }
}

TEST(Layout, GroupsMayLieAnywhere) {
  std::mt19937 random(3);
  for (int bits : kBitWidths) {
    std::vector<int32_t> group_of = groups_of(256, 64);
    std::shuffle(group_of.begin(), group_of.end(), random);
    const QTensor sorted_rows = random_weights(bits, 20, group_of, 4, Scales::f16, Zeros::own);
    EXPECT_EQ(pack(sorted_rows).shape.packed_inputs, 256);
    EXPECT_EQ(pack(sorted_rows).shape.piece, 64);
    expect_round_trip(sorted_rows);
    for (int32_t& g : group_of) g = static_cast<int32_t>(random() % 9);                  // of any size
    expect_round_trip(random_weights(bits, 20, group_of, 11, Scales::f32, Zeros::own));  // two have none
  }
}

TEST(Layout, OneGroupAndNoneTakeNoMoreThanTheyMust) {
  const PackedWeights whole = pack(random_weights(4, 32, groups_of(320, 320), 1, Scales::f16, Zeros::middle));
  EXPECT_EQ(whole.shape.pieces(), 1);
  EXPECT_EQ(whole.words.size() * 8, 32u * 320);
  EXPECT_TRUE(whole.zeros.empty());
  EXPECT_TRUE(whole.order.empty());
  EXPECT_TRUE(whole.scales_f32.empty());
  expect_round_trip(random_weights(4, 0, groups_of(64, 64), 1, Scales::f16, Zeros::middle));
  expect_round_trip(random_weights(4, 3, {}, 0, Scales::f16, Zeros::middle));
}

TEST(Layout, HalvesComeBack) {
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{16, 64}, {1, 1}, {35, 100}, {0, 5}}) {
    std::vector<uint16_t> numbers(static_cast<size_t>(rows * cols)), back(numbers.size());
    std::iota(numbers.begin(), numbers.end(), uint16_t{1});
    unpack_halves(pack_halves(numbers.data(), rows, cols), back.data());
    EXPECT_EQ(back, numbers);
  }
}

}  // namespace
}  // namespace gptq::cuda
