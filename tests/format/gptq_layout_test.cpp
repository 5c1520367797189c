// Packed tensors and QTensor: golden words, both formats, faults, and checkpoints of another program.
#include "format/gptq_layout.h"

#include <cmath>
#include <cstring>
#include <map>

#include "base/half.h"
#include "format/bit_stream.h"
#include "format/format_support.h"
#include "format/layout.h"
#include "format/memory_checkpoint.h"

namespace gptq {
namespace {

using test::expect_equal;
using test::MemoryCheckpoint;
using test::Outcome;
using test::outcome_of;

using Words = std::vector<uint32_t>;

TEST(PackBits, GoldenWords) {
  const std::map<int, Words> golden{
      {2, {0x1B1B1B1B, 0x1B1B1B1B}},
      {3, {0x53977053, 0x70539770, 0x97705397}},
      {4, {0x4D6F81A3, 0xC5E7092B, 0x4D6F81A3, 0xC5E7092B}},
      {8, {0x18110A03, 0x342D261F, 0x5049423B, 0x6C655E57, 0x88817A73, 0xA49D968F, 0xC0B9B2AB, 0xDCD5CEC7}},
  };
  for (const auto& [bits, words] : golden) {
    std::vector<uint8_t> values;
    for (int i = 0; i < 32; ++i) values.push_back(static_cast<uint8_t>((7 * i + 3) % (1 << bits)));
    EXPECT_EQ(pack_bits(values, bits), words) << bits;
    EXPECT_EQ(unpack_bits(words, 32, bits), values) << bits;
  }
}

TEST(PackBits, SymmetricZeroWords) {
  const std::map<int, std::pair<Words, Words>> golden{
      {2, {{0x55555555}, {0xAAAAAAAA}}},
      {3, {{0xDB6DB6DB, 0xB6DB6DB6, 0x6DB6DB6D}, {0x24924924, 0x49249249, 0x92492492}}},
      {4, {{0x77777777}, {0x88888888}}},
      {8, {{0x7F7F7F7F}, {0x80808080}}},
  };
  for (const auto& [bits, words] : golden) {
    const size_t count = words.first.size() * 32 / static_cast<size_t>(bits);
    const auto half = static_cast<uint8_t>(1 << (bits - 1));
    EXPECT_EQ(pack_bits(std::vector<uint8_t>(count, static_cast<uint8_t>(half - 1)), bits), words.first);
    EXPECT_EQ(pack_bits(std::vector<uint8_t>(count, half), bits), words.second);
  }
}

TEST(PackBits, EveryLength) {
  for (int bits : {2, 3, 4, 8}) {
    for (int64_t count = 0; count < 100; ++count) {
      std::vector<uint8_t> values;
      for (int64_t i = 0; i < count; ++i)
        values.push_back(static_cast<uint8_t>((i * i + 5 * i + 1) % (1 << bits)));
      const Words words = pack_bits(values, bits);
      ASSERT_EQ(static_cast<int64_t>(words.size()), (count * bits + 31) / 32);
      ASSERT_EQ(unpack_bits(words, count, bits), values);
    }
  }
}

constexpr int64_t kIn = 64, kOut = 16;

QTensor sample(int bits, int64_t k = kIn, int64_t n = kOut, int64_t group_size = 32) {
  QTensor q{.bits = bits, .rows = n, .cols = k, .groups = (k + group_size - 1) / group_size};
  const int levels = 1 << bits;
  for (int64_t i = 0; i < n * k; ++i) q.codes.push_back(static_cast<uint8_t>((i * 11 + i / k) % levels));
  for (int64_t i = 0; i < q.groups * n; ++i) {
    q.scales.push_back(fp16_to_float(static_cast<uint16_t>(0x2000 + i)));
    q.zeros.push_back(static_cast<uint16_t>(levels / 2));
  }
  for (int64_t i = 0; i < k; ++i) q.group_of.push_back(static_cast<int32_t>(i / group_size));
  return q;
}

void put(MemoryCheckpoint& checkpoint, const QTensor& q, QuantFormat format) {
  const auto infos = gptq_module_tensors("m", shape_of(q));
  const auto tensors = write_gptq_module(q, "m", shape_of(q), format);
  ASSERT_EQ(infos.size(), tensors.size());
  for (size_t i = 0; i < infos.size(); ++i) {
    ASSERT_EQ(infos[i].name, tensors[i].name);
    ASSERT_EQ(tensor_bytes(infos[i]), tensors[i].bytes.size()) << infos[i].name;
    checkpoint.put(infos[i].name.substr(2), infos[i].dtype, infos[i].shape, tensors[i].bytes);
  }
}

TEST(Module, RoundTripsForEveryWidthAndOddShapes) {
  const int64_t shapes[][3] = {{64, 16, 32}, {96, 24, 32}, {70, 13, 32},
                               {33, 1, 33},  {1, 5, 1},    {100, 7, 16}};
  for (int bits : {2, 3, 4, 8}) {
    for (const auto& [k, n, group_size] : shapes) {
      for (auto format : {QuantFormat::gptq, QuantFormat::gptq_v2}) {
        for (auto symmetry : {Symmetry::symmetric, Symmetry::asymmetric}) {
          QTensor q = sample(bits, k, n, group_size);
          if (symmetry == Symmetry::asymmetric) {
            for (size_t i = 0; i < q.zeros.size(); ++i) {  // v1 has no zero; the largest is 2^bits - 1 in v2
              q.zeros[i] = static_cast<uint16_t>(1 + i % static_cast<size_t>((1 << bits) - 1));
            }
          }
          MemoryCheckpoint checkpoint;
          put(checkpoint, q, format);
          const QuantConfig config{
              .bits = bits, .group_size = group_size, .symmetry = symmetry, .format = format};
          SCOPED_TRACE(testing::Message()
                       << bits << " bits, " << k << "x" << n << ", " << quant_format_name(format));
          expect_equal(read_module(checkpoint, "m", config, k, n), q);
        }
      }
    }
  }
}

TEST(Module, SymmetricZerosAreReadAsStoredWhateverTheLabel) {
  for (int bits : {2, 3, 4, 8}) {
    for (auto stored : {QuantFormat::gptq, QuantFormat::gptq_v2}) {
      for (auto label : {QuantFormat::gptq, QuantFormat::gptq_v2}) {
        MemoryCheckpoint checkpoint;
        put(checkpoint, sample(bits), stored);
        const QuantConfig config{.bits = bits, .group_size = 32, .format = label};
        expect_equal(read_module(checkpoint, "m", config, kIn, kOut), sample(bits));
      }
    }
  }
}

/// Eight outputs, one group: the zero points that a stored word means.
std::vector<uint16_t> zeros_of(uint32_t word, bool gptqmodel, QuantFormat format) {
  MemoryCheckpoint checkpoint;
  put(checkpoint, sample(4, 32, 8, 32), QuantFormat::gptq_v2);
  checkpoint.put<uint32_t>("qzeros", DType::i32, {1, 1}, {word});
  const QuantConfig config{.group_size = 32,
                           .symmetry = Symmetry::asymmetric,
                           .format = format,
                           .producer_is_gptqmodel = gptqmodel};
  return read_module(checkpoint, "m", config, 32, 8).zeros;
}

TEST(Module, AsymmetricVersionOneDependsOnItsProducer) {
  const std::vector<uint16_t> truth{0, 8, 8, 8, 8, 8, 8, 8};
  EXPECT_EQ(zeros_of(0x88888880, true, QuantFormat::gptq_v2), truth);
  EXPECT_EQ(zeros_of(0x88888880, false, QuantFormat::gptq_v2), truth);
  EXPECT_EQ(zeros_of(0x7777776F, true, QuantFormat::gptq), truth);
  EXPECT_EQ(zeros_of(0x7777777F, false, QuantFormat::gptq), truth);
  EXPECT_EQ(zeros_of(0x7777777F, true, QuantFormat::gptq), (std::vector<uint16_t>{0, 9, 8, 8, 8, 8, 8, 8}));
}

TEST(Module, VersionOneCantHoldAZeroPointOfZero) {
  QTensor q = sample(4);
  q.zeros[3] = 0;
  EXPECT_EQ(outcome_of([&] { write_gptq_module(q, "m", shape_of(q), QuantFormat::gptq); }).fault,
            Fault::unsupported);
  EXPECT_NO_THROW(write_gptq_module(q, "m", shape_of(q), QuantFormat::gptq_v2));
  q.zeros[3] = 16;
  EXPECT_NO_THROW(write_gptq_module(q, "m", shape_of(q), QuantFormat::gptq));
  EXPECT_EQ(outcome_of([&] { write_gptq_module(q, "m", shape_of(q), QuantFormat::gptq_v2); }).fault,
            Fault::unsupported);
}

class BadModule : public testing::Test {
 protected:
  void SetUp() override { put(checkpoint_, sample(4), QuantFormat::gptq); }
  Outcome read() const {
    return outcome_of([&] { read_module(checkpoint_, "m", config_, kIn, kOut); });
  }
  std::vector<int32_t> indices(int32_t last) const {
    auto group_of = sample(4).group_of;
    group_of.back() = last;
    return group_of;
  }

  MemoryCheckpoint checkpoint_;
  QuantConfig config_{.group_size = 32};
};

TEST_F(BadModule, IsGoodAtFirst) { EXPECT_EQ(read().message, ""); }

TEST_F(BadModule, MissingTensors) {  // row 65
  for (const char* suffix : {"qweight", "qzeros", "scales"}) {
    checkpoint_ = {};
    put(checkpoint_, sample(4), QuantFormat::gptq);
    checkpoint_.remove(suffix);
    const Outcome found = read();
    EXPECT_EQ(found.fault, Fault::mismatch) << suffix;
    EXPECT_TRUE(found.mentions("'m." + std::string(suffix) + "'")) << found.message;
  }
}

TEST_F(BadModule, WrongShapes) {  // row 65
  const std::vector<std::pair<const char*, std::vector<int64_t>>> cases{
      {"qweight", {9, kOut}}, {"qweight", {8, kOut + 1}}, {"qweight", {8 * kOut}}, {"qweight", {0, kOut}},
      {"qzeros", {3, 2}},     {"qzeros", {2, 3}},         {"qzeros", {4}},         {"scales", {2, kOut - 1}},
      {"scales", {3, kOut}},  {"scales", {0, kOut}},      {"scales", {2 * kOut}},  {"g_idx", {kIn - 1}},
      {"g_idx", {kIn, 1}},
  };
  for (const auto& [suffix, shape] : cases) {
    checkpoint_ = {};
    put(checkpoint_, sample(4), QuantFormat::gptq);
    int64_t count = 1;
    for (int64_t d : shape) count *= d;
    if (std::string_view(suffix) == "scales") {
      checkpoint_.put<uint16_t>(suffix, DType::f16, shape,
                                std::vector<uint16_t>(static_cast<size_t>(count), 0x3C00));
    } else {
      checkpoint_.put<int32_t>(suffix, DType::i32, shape,
                               std::vector<int32_t>(static_cast<size_t>(count), 1));
    }
    EXPECT_EQ(read().fault, Fault::mismatch)
        << suffix << " " << shape.size() << " " << shape[0] << read().message;
  }
}

TEST_F(BadModule, WrongTypes) {  // row 65
  checkpoint_.put<float>("qweight", DType::f32, {8, kOut}, std::vector<float>(8 * kOut));
  EXPECT_EQ(read().fault, Fault::mismatch);
  put(checkpoint_, sample(4), QuantFormat::gptq);
  checkpoint_.put<int32_t>("scales", DType::i32, {2, kOut}, std::vector<int32_t>(2 * kOut));
  EXPECT_EQ(read().fault, Fault::mismatch);
  put(checkpoint_, sample(4), QuantFormat::gptq);
  checkpoint_.put<int64_t>("g_idx", DType::i64, {kIn}, std::vector<int64_t>(kIn));
  EXPECT_EQ(read().fault, Fault::mismatch);
}

TEST_F(BadModule, GroupIndices) {  // row 66
  for (int32_t bad : {2, 100, INT32_MAX, -3, INT32_MIN}) {
    checkpoint_.put<int32_t>("g_idx", DType::i32, {kIn}, indices(bad));
    const Outcome found = read();
    EXPECT_EQ(found.fault, Fault::range) << bad;
    EXPECT_TRUE(found.mentions("m.g_idx")) << found.message;
  }
  checkpoint_.put<int32_t>("g_idx", DType::i32, {kIn}, indices(-1));  // counted from the end
  EXPECT_EQ(read_module(checkpoint_, "m", config_, kIn, kOut).group_of.back(), 1);
}

TEST_F(BadModule, Scales) {  // row 67
  for (uint16_t bad : {0x7C00, 0xFC00, 0x7E00, 0x0000, 0x8000, 0xBC00}) {
    std::vector<uint16_t> scales(2 * kOut, 0x3C00);
    scales[kOut + 3] = bad;
    checkpoint_.put<uint16_t>("scales", DType::f16, {2, kOut}, scales);
    const Outcome found = read();
    EXPECT_EQ(found.fault, Fault::numeric) << bad;
    EXPECT_TRUE(found.mentions("row 1") && found.mentions("column 3")) << found.message;
  }
}

TEST_F(BadModule, GroupSizes) {  // row 64
  for (int64_t size : {int64_t{0}, int64_t{-2}, int64_t{1000}, int64_t{48}, int64_t{40}}) {
    config_.group_size = size;
    EXPECT_EQ(read().fault, Fault::range) << size << read().message;
  }
  for (int64_t size : {16, 64, -1}) {
    config_.group_size = size;
    EXPECT_EQ(read().fault, Fault::mismatch) << size << read().message;
  }
}

TEST_F(BadModule, Sizes) {
  const auto fault = [&](int64_t k, int64_t n) {
    return outcome_of([&] { read_module(checkpoint_, "m", config_, k, n); }).fault;
  };
  EXPECT_EQ(fault(0, kOut), Fault::limit);
  EXPECT_EQ(fault(kIn, -1), Fault::limit);
  EXPECT_EQ(fault(INT64_MAX, kOut), Fault::limit);
  EXPECT_EQ(fault(INT32_MAX, INT32_MAX), Fault::mismatch);
  EXPECT_EQ(fault(kOut, kIn), Fault::mismatch);
}

TEST_F(BadModule, TheTensorsDecideTheWidth) {
  put(checkpoint_, sample(8), QuantFormat::gptq);
  expect_equal(read_module(checkpoint_, "m", config_, kIn, kOut), sample(8));
}

TEST_F(BadModule, AbsentOrZeroGroupsAreInOrder) {
  checkpoint_.put<int32_t>("g_idx", DType::i32, {kIn}, std::vector<int32_t>(kIn));
  expect_equal(read_module(checkpoint_, "m", config_, kIn, kOut), sample(4));
  checkpoint_.remove("g_idx");
  expect_equal(read_module(checkpoint_, "m", config_, kIn, kOut), sample(4));
}

TEST_F(BadModule, OtherScaleTypes) {
  std::vector<float> scales(2 * kOut, 0.25f);
  checkpoint_.put<float>("scales", DType::f32, {2, kOut}, scales);
  EXPECT_EQ(read_module(checkpoint_, "m", config_, kIn, kOut).scales, scales);
  checkpoint_.put<uint16_t>("scales", DType::bf16, {2, kOut},
                            std::vector<uint16_t>(2 * kOut, float_to_bf16(0.25f)));
  EXPECT_EQ(read_module(checkpoint_, "m", config_, kIn, kOut).scales, scales);
}

}  // namespace
}  // namespace gptq
