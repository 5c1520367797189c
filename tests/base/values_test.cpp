// Small value types: half precision, checked arithmetic, text for messages, tensors and quantized matrices.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "base/checked.h"
#include "base/error.h"
#include "base/half.h"
#include "base/hash64.h"
#include "base/qtensor.h"
#include "base/tensor.h"
#include "base/text.h"

namespace gptq {
namespace {

template <class Call>
Fault fault_of(const Call& call) {
  try {
    call();
    return Fault::none;
  } catch (const Error& error) {
    return error.fault();
  }
}

TEST(Hash64, IsXxh64) {
  std::string long_text;
  for (int i = 0; i < 1280; ++i) long_text += static_cast<char>(i % 256);
  long_text += "xyz1";
  const std::pair<std::string, std::string_view> cases[] = {
      // by the xxhash package of Python
      {"", "ef46db3751d8e999"},        {"a", "d24ec4f1a98c6e5b"},
      {"abc", "44bc2cf5ad770999"},     {"abcdefghabcdefghabcdefgh", "0a9c5db8c746559b"},
      {long_text, "34bca6760bb14602"},
  };
  for (const auto& [text, wanted] : cases) {
    for (size_t piece : {1, 7, 31, 32, 33, 64, 5000}) {
      Hash64 hash;
      for (size_t at = 0; at < text.size(); at += piece) hash.add(std::string_view(text).substr(at, piece));
      EXPECT_EQ(hash.text(), wanted) << text.size() << " in pieces of " << piece;
    }
  }
}

/// The value of fp16 bits by definition.
double fp16_value(uint16_t h) {
  const int exponent = (h >> 10) & 31, mantissa = h & 1023;
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return (h & 0x8000) != 0 ? -magnitude : magnitude;
}

TEST(Half, EveryFp16ValueSurvives) {
  for (uint32_t h = 0; h < 65536; ++h) {
    const auto bits = static_cast<uint16_t>(h);
    const float f = fp16_to_float(bits);
    if ((h & 0x7C00) != 0x7C00) {
      ASSERT_EQ(f, fp16_value(bits)) << h;
      ASSERT_EQ(std::signbit(f), (h & 0x8000) != 0);
    } else if ((h & 0x3FF) != 0) {
      ASSERT_TRUE(std::isnan(f));
      ASSERT_TRUE(std::isnan(fp16_to_float(float_to_fp16(f))));
      continue;
    } else {
      ASSERT_TRUE(std::isinf(f));
    }
    ASSERT_EQ(float_to_fp16(f), bits);
  }
}

/// Between two neighbours: nearer wins, halfway goes to the even one.
TEST(Half, RoundsToNearestEven) {
  for (uint32_t h = 0; h < 0x7BFF; ++h) {
    const float low = fp16_to_float(static_cast<uint16_t>(h)),
                high = fp16_to_float(static_cast<uint16_t>(h + 1));
    const float middle = low + (high - low) / 2;  // exact: float has more bits
    ASSERT_EQ(float_to_fp16(middle), h + (h & 1)) << h;
    ASSERT_EQ(float_to_fp16(std::nextafter(middle, low)), h) << h;
    ASSERT_EQ(float_to_fp16(std::nextafter(middle, high)), h + 1) << h;
    ASSERT_EQ(float_to_fp16(-middle), 0x8000u + h + (h & 1)) << h;
  }
  EXPECT_EQ(float_to_fp16(65519.996f), 0x7BFF);
  EXPECT_EQ(float_to_fp16(65520.0f), 0x7C00);
  EXPECT_EQ(float_to_fp16(std::numeric_limits<float>::max()), 0x7C00);
  EXPECT_EQ(float_to_fp16(-std::numeric_limits<float>::infinity()), 0xFC00);
  EXPECT_EQ(float_to_fp16(1e-30f), 0);
}

TEST(Half, EveryBf16Value) {
  for (uint32_t h = 0; h < 65536; ++h) {
    const auto bits = static_cast<uint16_t>(h);
    const float f = bf16_to_float(bits);
    if (std::isnan(f)) {
      ASSERT_TRUE(std::isnan(bf16_to_float(float_to_bf16(f))));
    } else {
      ASSERT_EQ(float_to_bf16(f), bits);
    }
  }
  EXPECT_EQ(float_to_bf16(std::bit_cast<float>(0x3F808000u)), 0x3F80);  // halfway, to even
  EXPECT_EQ(float_to_bf16(std::bit_cast<float>(0x3F818000u)), 0x3F82);
  EXPECT_EQ(float_to_bf16(std::bit_cast<float>(0x3F808001u)), 0x3F81);
  EXPECT_TRUE(std::isnan(bf16_to_float(float_to_bf16(std::bit_cast<float>(0x7F800001u)))));
}

TEST(Checked, Products) {
  const auto product = [](std::vector<int64_t> shape) { return checked_product(shape); };
  EXPECT_EQ(product({}), 1u);
  EXPECT_EQ(product({2, 3, 4}), 24u);
  EXPECT_EQ(product({int64_t{1} << 62, 3}), uint64_t{3} << 62);
  EXPECT_EQ(product({int64_t{1} << 62, 4}), std::nullopt);
  EXPECT_EQ(product({0, 5}), 0u);
  const int64_t big = int64_t{1} << 32;
  for (auto shape :
       {std::vector<int64_t>{0, big, big, big}, {big, 0, big, big}, {big, big, 0, big}, {big, big, big, 0}}) {
    EXPECT_EQ(product(shape), std::nullopt);
  }
  EXPECT_EQ(product({-1}), std::nullopt);
  EXPECT_EQ(checked_add(UINT64_MAX, 1), std::nullopt);
  EXPECT_EQ(checked_mul(uint64_t{1} << 32, uint64_t{1} << 32), std::nullopt);
}

TEST(Text, CatAndShapes) {
  EXPECT_EQ(cat("layer ", 3, ": ", 0.5, ' ', std::string("x"), -7, 18446744073709551615u),
            "layer 3: 0.5 x-718446744073709551615");
  EXPECT_EQ(shape_text(std::vector<int64_t>{2, 3}), "[2, 3]");
  EXPECT_EQ(shape_text({}), "[]");
  EXPECT_LT(shape_text(std::vector<int64_t>(100'000, 1)).size(), 100u);
}

TEST(Text, QuotedIsSafeToPrint) {
  EXPECT_EQ(quoted("plain"), "'plain'");
  EXPECT_EQ(quoted("a\n\x1b[31m\x7f"), "'a\\x0a\\x1b[31m\\x7f'");
  EXPECT_EQ(quoted("\xC3\xA9\xFF"), "'\xC3\xA9\\xff'");
  std::string text(1000, 'a');
  EXPECT_LT(quoted(text).size(), 100u);  // and not std::quoted
  EXPECT_EQ(quoted(std::as_const(text), 4), "'aaaa...'");
}

TEST(Text, Utf8) {
  for (std::string_view good :
       {"a", "\xC2\x80", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_EQ(utf8_length(good), good.size());
    for (size_t cut = 1; cut < good.size(); ++cut) EXPECT_EQ(utf8_length(good.substr(0, cut)), 0u);
  }
  for (std::string_view bad :
       {"\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
        "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "\xC2\x41"}) {
    EXPECT_EQ(utf8_length(bad), 0u);
    EXPECT_FALSE(is_utf8(bad));
  }
  EXPECT_EQ(utf8_length(""), 0u);
  EXPECT_TRUE(is_utf8("caf\xC3\xA9"));
}

TEST(Text, Nearest) {
  const std::string_view names[] = {"llama", "mistral", "qwen2"};
  EXPECT_EQ(nearest("lama", names), "llama");
  EXPECT_EQ(nearest("qwen3", names), "qwen2");
  EXPECT_EQ(nearest("zzzzzzzzzzzz", names), "");
}

TEST(Faults, EndTheirMessages) {
  EXPECT_STREQ(Error(Fault::truncated, "short").what(), "short [TRUNC]");
  EXPECT_EQ(Error(Fault::limit, "").status(), Status::unsupported);
  EXPECT_EQ(Error(Fault::exists, "").status(), Status::io);
  EXPECT_EQ(Error(Status::busy, "x").fault(), Fault::none);
}

TEST(Tensors, ConvertToFloat) {
  std::byte* bytes = nullptr;
  const Tensor doubles = make_tensor(DType::f64, {2, 2}, &bytes);
  EXPECT_EQ(to_float(doubles), std::vector<float>(4));  // zeroed
  const double values[] = {1.5, -2, 1e300, 0.1};
  std::memcpy(bytes, values, sizeof values);
  EXPECT_EQ(to_float(doubles), (std::vector<float>{1.5f, -2.0f, INFINITY, 0.1f}));
  float last[2];
  to_float(doubles, 2, 2, last);
  EXPECT_EQ(last[1], 0.1f);
  const Tensor integers = make_tensor(DType::i32, {1}, &bytes);
  EXPECT_EQ(fault_of([&] { to_float(integers); }), Fault::unsupported);
  EXPECT_EQ(make_tensor(DType::f6_e2m3, {4}, &bytes).bytes, 3u);
  EXPECT_EQ(make_tensor(DType::f32, {0, 3}, &bytes).bytes, 0u);
}

QTensor small_q() {
  QTensor q{.bits = 3, .rows = 2, .cols = 4, .groups = 2};
  q.codes = {0, 1, 2, 3, 4, 5, 6, 7};
  q.scales = {0.5f, 2.0f, 1.0f, 0.25f};
  q.zeros = {4, 0, 8, 3};
  q.group_of = {0, 1, 1, 0};
  return q;
}

TEST(QTensors, Dequantize) {
  const QTensor q = small_q();
  EXPECT_NO_THROW(validate(q, "q"));
  float row[4];
  dequantize_row(q, 0, row);
  EXPECT_EQ(std::vector<float>(row, row + 4), (std::vector<float>{-2.0f, -7.0f, -6.0f, -0.5f}));
  dequantize_row(q, 1, row);
  EXPECT_EQ(std::vector<float>(row, row + 4), (std::vector<float>{8.0f, 0.5f, 0.75f, 14.0f}));
  const QTensor part = slice_rows(q, 1, 2);
  EXPECT_NO_THROW(validate(part, "part"));
  float same[4];
  dequantize_row(part, 0, same);
  EXPECT_EQ(std::vector<float>(same, same + 4), std::vector<float>(row, row + 4));
}

TEST(QTensors, Validation) {
  const auto fault_after = [](auto change) {
    QTensor q = small_q();
    change(q);
    return fault_of([&] { validate(q, "q"); });
  };
  EXPECT_EQ(fault_after([](QTensor& q) { q.bits = 5; }), Fault::unsupported);
  EXPECT_EQ(fault_after([](QTensor& q) { q.rows = 0; }), Fault::mismatch);
  EXPECT_EQ(fault_after([](QTensor& q) { q.codes.pop_back(); }), Fault::mismatch);
  EXPECT_EQ(fault_after([](QTensor& q) { q.codes[3] = 8; }), Fault::range);
  EXPECT_EQ(fault_after([](QTensor& q) { q.zeros[3] = 9; }), Fault::range);
  EXPECT_EQ(fault_after([](QTensor& q) { q.group_of[0] = 2; }), Fault::range);
  EXPECT_EQ(fault_after([](QTensor& q) { q.group_of[0] = -1; }), Fault::range);
  EXPECT_EQ(fault_after([](QTensor& q) { q.scales[2] = NAN; }), Fault::numeric);
}

}  // namespace
}  // namespace gptq
