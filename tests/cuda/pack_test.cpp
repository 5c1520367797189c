// Weights packed by the kernel against those of pack(), word by word; a Linear whose rows come in several parts.
#include <cstring>

#include "backend_support.h"
#include "base/error.h"
#include "cuda/linear_cuda.h"
#include "weights_support.h"

namespace gptq::cuda {
namespace {

/// In two parts, on the device's side of an array that is NaN at first.
void expect_words(const PackedWeights& want, const void* fields, size_t field_bytes,
                  const std::string& what) {
  const Packing& shape = want.shape;
  std::vector<uint32_t> words(want.words.size(), 0xFFFF'FFFFu);
  const int32_t* const order = want.order.empty() ? nullptr : want.order.data();
  const int64_t first = std::min<int64_t>(shape.rows / kStripRows / 2 * kStripRows, shape.rows);
  const auto pack_part = [&](int64_t begin, int64_t end) {
    pack_rows(kQueue, shape,
              static_cast<const std::byte*>(fields) + static_cast<size_t>(begin * shape.cols) * field_bytes,
              order, begin, end - begin, words.data());
  };
  pack_part(0, first);
  pack_part(first, shape.rows);
  EXPECT_EQ(words, want.words) << what;
}

TEST(Pack, FieldsAreFoundWhereTheyWerePut) {
  for (int bits : {1, 2, 4, 8, 16}) {
    for (int r = 0; r < kStripRows; ++r) {
      for (int k = 0; k < kSlabInputs; ++k) {
        const Place place = place_in_plane(bits, r, k);
        const FieldAt at = field_in_plane(bits, place.word, place.shift);
        EXPECT_EQ(at.r, r) << bits;
        EXPECT_EQ(at.k, k) << bits;
      }
    }
  }
}

TEST(Pack, CodesAsTheHostPacksThem) {
  Random random(7);
  for (int bits : kBitWidths) {
    for (const auto& [rows, cols, group_size] : {std::array<int64_t, 3>{64, 128, 64},
                                                 {33, 200, 128},
                                                 {17, 100, 16},
                                                 {1, 1, 1},
                                                 {40, 70, 7},
                                                 {5, 384, 384}}) {
      for (auto order : {WeightShape::Order::sequential, WeightShape::Order::shuffled}) {
        const QTensor q = random_weights(
            random, {.bits = bits, .rows = rows, .cols = cols, .group_size = group_size, .order = order});
        expect_words(pack(q), q.codes.data(), 1, std::to_string(bits) + " bits, " + std::to_string(cols));
      }
    }
  }
}

TEST(Pack, HalvesAsTheHostPacksThem) {
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{48, 128}, {35, 100}, {1, 1}, {20, 72}}) {
    std::vector<uint16_t> numbers(static_cast<size_t>(rows * cols));
    for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<uint16_t>(0xFFFF - 7 * i);
    expect_words(pack_halves(numbers.data(), rows, cols), numbers.data(), 2, std::to_string(cols));
  }
}

class PreparesTest : public BackendTest {
 protected:
  static void expect_packed(const Linear& linear, const PackedWeights& want) {
    const Weights w = weights_of(linear);  // in the host's memory
    EXPECT_EQ(w.shape, want.shape);
    EXPECT_TRUE(std::equal(want.words.begin(), want.words.end(), w.words));
  }
};

TEST_F(PreparesTest, RowsInSeveralParts) {
  const int64_t cols = 2050, rows = Loader::kPackedTogether / 2 / cols + 21;
  std::vector<uint16_t> numbers(static_cast<size_t>(rows * cols)), rounded(numbers.size());
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<uint16_t>(i * 40503 >> 4 & 0xBBFF);
  for (DType dtype : {DType::bf16, DType::f16}) {  // of f16 without infinity and NaN
    for (size_t i = 0; i < numbers.size(); ++i)
      rounded[i] = dtype == DType::bf16 ? numbers[i] : float_to_bf16(fp16_to_float(numbers[i]));
    Tensor weight{.dtype = dtype, .shape = {rows, cols}};
    weight.data = reinterpret_cast<std::byte*>(numbers.data());
    expect_packed(*backend_->prepare(weight, nullptr), pack_halves(rounded.data(), rows, cols));
  }
  const QTensor q =
      random_weights(random_, {.rows = Loader::kPackedTogether / cols + 5, .cols = cols, .group_size = 2050});
  expect_packed(*backend_->prepare(q, nullptr), pack(q));
}

TEST_F(PreparesTest, WantOfMemoryLeavesNothing) {
  const QTensor q = random_weights(random_, {.rows = 64, .cols = 256});
  const size_t before = state_.used;
  for (size_t room : {size_t{0}, size_t{9000}, size_t{20000}}) {
    state_.limit = before + room;
    EXPECT_THROW((void)backend_->prepare(q, nullptr), Error);
    EXPECT_EQ(state_.used, before);
  }
  state_.limit = SIZE_MAX;
  expect_packed(*backend_->prepare(q, nullptr), pack(q));
  EXPECT_EQ(state_.turns, 0);
}

}  // namespace
}  // namespace gptq::cuda
