// GGUF files: what a written one reads as, each fault of a header, and blocks against their formulas.
#include "format/gguf.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "base/half.h"
#include "base/staged_file.h"
#include "format/format_support.h"
#include "format/gguf_blocks.h"
#include "format/gguf_writer.h"
#include "support/test_data.h"

namespace gptq {
namespace {

using test::little_endian;
using test::Outcome;
using test::outcome_of;

std::string u32(uint32_t value) { return little_endian(value).substr(0, 4); }
std::string u64(uint64_t value) { return little_endian(value); }
std::string text(std::string_view value) { return u64(value.size()) + std::string(value); }

/// A header of these parts, padded, with `data` behind it.
std::string gguf(uint64_t tensors, uint64_t settings, const std::string& rest, const std::string& data = {},
                 const std::string& version = u32(3)) {
  std::string file = "GGUF" + version + u64(tensors) + u64(settings) + rest;
  if (tensors > 0) file.resize((file.size() + 31) / 32 * 32, '\0');
  return file + data;
}

std::string tensor(std::string_view name, const std::vector<uint64_t>& inner_first, uint32_t type,
                   uint64_t offset) {
  std::string out = text(name) + u32(static_cast<uint32_t>(inner_first.size()));
  for (uint64_t d : inner_first) out += u64(d);
  return out + u32(type) + u64(offset);
}

GgufHeader parse(const std::string& file, const GgufLimits& limits = {}) {
  return parse_gguf_header(
      [&](uint64_t offset, std::span<std::byte> out) {
        std::memcpy(out.data(), file.data() + offset, out.size());
      },
      file.size(), "x.gguf", limits);
}

TEST(GgufHeader, ReadsEveryTypeOfValue) {
  const std::string settings =
      text("a") + u32(0) + "\x07" + text("b") + u32(1) + "\xFF" + text("c") + u32(2) +
      std::string("\x01\x01") + text("d") + u32(3) + "\xFE\xFF" + text("e") + u32(4) + u32(4'000'000'000) +
      text("f") + u32(5) + u32(0xFFFFFFFF) + text("g") + u32(6) + u32(std::bit_cast<uint32_t>(0.5f)) +
      text("h") + u32(7) + "\x01" + text("i") + u32(8) + text("words") + text("j") + u32(10) +
      u64(uint64_t{1} << 40) + text("k") + u32(11) + u64(UINT64_MAX) + text("l") + u32(12) +
      u64(std::bit_cast<uint64_t>(0.25)) + text("m") + u32(9) + u32(8) + u64(2) + text("x") + text("") +
      text("n") + u32(9) + u32(5) + u64(2) + u32(1) + u32(0xFFFFFFFE) + text("o") + u32(9) + u32(6) + u64(1) +
      u32(std::bit_cast<uint32_t>(2.0f)) + text("p") + u32(9) + u32(7) + u64(2) + std::string("\0\1", 2);
  const GgufHeader header = parse(gguf(0, 16, settings));
  const auto integer = [&](const char* key) { return header.integer(key, INT64_MIN, INT64_MAX); };
  EXPECT_EQ(integer("a"), 7);
  EXPECT_EQ(integer("b"), -1);
  EXPECT_EQ(integer("c"), 257);
  EXPECT_EQ(integer("d"), -2);
  EXPECT_EQ(integer("e"), 4'000'000'000);
  EXPECT_EQ(integer("f"), -1);
  EXPECT_EQ(header.number("g", 0, 1), 0.5);
  EXPECT_EQ(header.boolean("h"), true);
  EXPECT_EQ(*header.text("i"), "words");
  EXPECT_EQ(integer("j"), int64_t{1} << 40);
  EXPECT_EQ(integer("k"), -1);
  EXPECT_EQ(header.number("l", 0, 1), 0.25);
  EXPECT_EQ(*header.texts("m"), (std::vector<std::string>{"x", ""}));
  EXPECT_EQ(*header.integers("n"), (std::vector<int64_t>{1, -2}));
  EXPECT_EQ(*header.numbers("o"), (std::vector<double>{2.0}));
  EXPECT_EQ(*header.integers("p"), (std::vector<int64_t>{0, 1}));
  EXPECT_EQ(integer("none"), std::nullopt);
  EXPECT_EQ(outcome_of([&] { header.integer("i", 0, 1); }).fault, Fault::format);
  EXPECT_EQ(outcome_of([&] { header.integer("a", 0, 6); }).fault, Fault::range);
}

TEST(GgufHeader, ReadsTensors) {
  const std::string file =
      gguf(2, 0, tensor("w", {64, 2}, 2, 32) + tensor("b", {3}, 0, 0), std::string(32 + 72, 'x'));
  const GgufHeader header = parse(file);
  ASSERT_EQ(header.tensors().size(), 2u);
  EXPECT_EQ(header.tensors()[0].name, "b");
  const GgufTensor* w = header.find("w");
  ASSERT_NE(w, nullptr);
  EXPECT_EQ(w->shape, (std::vector<int64_t>{2, 64}));
  EXPECT_EQ(w->bytes, 72u);
  EXPECT_EQ(header.find("c"), nullptr);
  EXPECT_EQ(header.data_start() % 32, 0u);
  EXPECT_EQ(header.data_start() + 32 + 72, file.size());
}

struct Case {
  std::string what, file;
  Fault fault;
};

std::vector<Case> faults() {
  const std::string one = tensor("a", {4}, 0, 0), data(16, 'x');
  return {
      {"empty", "", Fault::truncated},
      {"another magic", "GGML" + u32(3) + u64(0) + u64(0), Fault::format},
      {"version 1", gguf(0, 0, "", "", u32(1)), Fault::unsupported},
      {"big-endian", gguf(0, 0, "", "", std::string("\0\0\0\3", 4)), Fault::unsupported},
      {"2^63 tensors", gguf(uint64_t{1} << 63, 0, ""), Fault::limit},
      {"2^63 settings", gguf(0, uint64_t{1} << 63, ""), Fault::limit},
      {"fewer settings than told", gguf(0, 1, ""), Fault::truncated},
      {"key behind the end", gguf(0, 1, u64(100) + "abc"), Fault::truncated},
      {"key of 2^64 - 1 bytes", gguf(0, 1, u64(UINT64_MAX) + "abc"), Fault::truncated},
      {"key too long", gguf(0, 1, text(std::string(2000, 'k')) + u32(0) + "x"), Fault::limit},
      {"key no UTF-8", gguf(0, 1, text("\xFF") + u32(0) + "x"), Fault::format},
      {"key twice", gguf(0, 2, text("k") + u32(0) + "x" + text("k") + u32(0) + "x"), Fault::duplicate},
      {"value of type 13", gguf(0, 1, text("k") + u32(13) + u64(0)), Fault::unsupported},
      {"boolean of 2", gguf(0, 1, text("k") + u32(7) + "\x02"), Fault::range},
      {"2^63", gguf(0, 1, text("k") + u32(10) + u64(uint64_t{1} << 63)), Fault::range},
      {"text behind the end", gguf(0, 1, text("k") + u32(8) + u64(9) + "abc"), Fault::truncated},
      {"array of 2^63", gguf(0, 1, text("k") + u32(9) + u32(0) + u64(uint64_t{1} << 63)), Fault::truncated},
      {"array of texts by far too many", gguf(0, 1, text("k") + u32(9) + u32(8) + u64(3) + u64(0) + u64(0)),
       Fault::truncated},
      {"array of arrays", gguf(0, 1, text("k") + u32(9) + u32(9) + u64(1) + u32(0) + u64(0)),
       Fault::unsupported},
      {"alignment 0", gguf(0, 1, text("general.alignment") + u32(4) + u32(0)), Fault::range},
      {"alignment 24", gguf(0, 1, text("general.alignment") + u32(4) + u32(24)), Fault::range},
      {"alignment a text", gguf(0, 1, text("general.alignment") + u32(8) + text("32")), Fault::format},
      {"tensor without name", gguf(1, 0, tensor("", {4}, 0, 0), data), Fault::format},
      {"no dimension", gguf(1, 0, tensor("a", {}, 0, 0), data), Fault::limit},
      {"five dimensions", gguf(1, 0, tensor("a", {1, 1, 1, 1, 4}, 0, 0), data), Fault::limit},
      {"dimension 0", gguf(1, 0, tensor("a", {0}, 0, 0), data), Fault::range},
      {"dimension 2^63", gguf(1, 0, tensor("a", {uint64_t{1} << 63}, 0, 0), data), Fault::range},
      {"product beyond 2^64", gguf(1, 0, tensor("a", {uint64_t{1} << 40, uint64_t{1} << 40}, 0, 0), data),
       Fault::range},
      {"bytes beyond 2^64", gguf(1, 0, tensor("a", {uint64_t{1} << 62}, 0, 0), data), Fault::range},
      {"a cut block", gguf(1, 0, tensor("a", {16, 2}, 2, 0), data), Fault::range},
      {"type Q4_K", gguf(1, 0, tensor("a", {256}, 12, 0), std::string(144, 'x')), Fault::unsupported},
      {"type 999", gguf(1, 0, tensor("a", {256}, 999, 0), data), Fault::unsupported},
      {"behind the end", gguf(1, 0, tensor("a", {5}, 0, 0), data), Fault::truncated},
      {"offset behind the end", gguf(1, 0, tensor("a", {4}, 0, 32), data), Fault::truncated},
      {"offset near 2^64", gguf(1, 0, tensor("a", {4}, 0, UINT64_MAX - 31), data), Fault::truncated},
      {"offset not aligned", gguf(1, 0, tensor("a", {1}, 0, 4), data), Fault::format},
      {"tensors that overlap", gguf(2, 0, one + tensor("b", {1}, 0, 0), data), Fault::mismatch},
      {"tensor twice", gguf(2, 0, one + tensor("a", {1}, 0, 32), std::string(36, 'x')), Fault::duplicate},
  };
}

TEST(GgufHeader, RefusesByName) {
  for (const Case& bad : faults()) {
    const Outcome outcome = outcome_of([&] { parse(bad.file); });
    EXPECT_EQ(outcome.fault, bad.fault) << bad.what << ": " << outcome.message;
    EXPECT_NE(outcome.message.find("x.gguf"), std::string::npos) << bad.what << ": " << outcome.message;
  }
}

TEST(GgufHeader, EveryCutIsAnError) {
  const std::string file = gguf(2, 2,
                                text("k") + u32(9) + u32(8) + u64(2) + text("x") + text("yz") + text("l") +
                                    u32(4) + u32(7) + tensor("w", {64, 2}, 2, 32) + tensor("b", {3}, 0, 0),
                                std::string(32 + 72, 'x'));
  EXPECT_EQ(parse(file).tensors().size(), 2u);
  for (size_t size = 0; size < file.size(); ++size)
    EXPECT_EQ(outcome_of([&] { parse(file.substr(0, size)); }).fault, Fault::truncated) << size;
}

TEST(GgufHeader, HasLimits) {
  const std::string file = gguf(0, 1, text("k") + u32(9) + u32(0) + u64(100) + std::string(100, 'x'));
  EXPECT_EQ(outcome_of([&] { parse(file, {.elements = 99}); }).fault, Fault::limit);
  EXPECT_EQ(outcome_of([&] { parse(file, {.header_bytes = 100}); }).fault, Fault::limit);
  EXPECT_EQ(outcome_of([&] { parse(file, {.settings = 0}); }).fault, Fault::limit);
  // refused before there is memory for it
  const std::string texts = gguf(0, 1, text("k") + u32(9) + u32(8) + u64(100) + std::string(800, '\0'));
  EXPECT_EQ(parse(texts).texts("k")->size(), 100u);
  const Outcome refused = outcome_of([&] { parse(texts, {.header_bytes = 400}); });
  EXPECT_EQ(refused.fault, Fault::limit);
  EXPECT_NE(refused.message.find("100 elements"), std::string::npos) << refused.message;
}

/// Values of one block, by the formulas of its layout, written down here anew.
TEST(GgufBlocks, UnpackByTheirFormulas) {
  const auto half = [](float value) {
    const uint16_t bits = float_to_fp16(value);
    return std::string{static_cast<char>(bits & 0xFF), static_cast<char>(bits >> 8)};
  };
  std::string nibbles;
  for (int i = 0; i < 16; ++i) nibbles += static_cast<char>(i | (15 - i) << 4);
  std::vector<float> out(32);
  unpack_gguf_row(GgufType::q4_0, test::bytes_of(half(0.5f) + nibbles), out);
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(out[static_cast<size_t>(i)], static_cast<float>(i - 8) * 0.5f);
    EXPECT_EQ(out[static_cast<size_t>(16 + i)], static_cast<float>(15 - i - 8) * 0.5f);
  }
  unpack_gguf_row(GgufType::q4_1, test::bytes_of(half(0.5f) + half(-3.0f) + nibbles), out);
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(out[static_cast<size_t>(i)], static_cast<float>(i) * 0.5f - 3);
    EXPECT_EQ(out[static_cast<size_t>(16 + i)], static_cast<float>(15 - i) * 0.5f - 3);
  }
  std::string bytes;
  for (int i = 0; i < 32; ++i) bytes += static_cast<char>(i * 8 - 128);
  unpack_gguf_row(GgufType::q8_0, test::bytes_of(half(0.25f) + bytes), out);
  for (int i = 0; i < 32; ++i)
    EXPECT_EQ(out[static_cast<size_t>(i)], static_cast<float>(i * 8 - 128) * 0.25f);
}

TEST(GgufBlocks, Q6KByItsFormula) {
  // code of weight i: i % 64; scale of its 16: i / 16 - 8
  std::string low(128, '\0'), high(64, '\0'), scales;
  for (size_t i = 0; i < 256; ++i) {
    const size_t code = i % 64, part = i / 128, j = i % 128;
    low[part * 64 + j % 64] |= static_cast<char>((code & 15) << (j < 64 ? 0 : 4));
    high[part * 32 + j % 32] |= static_cast<char>((code >> 4) << (2 * (j / 32)));
  }
  for (int i = 0; i < 16; ++i) scales += static_cast<char>(i - 8);
  std::vector<float> out(256);
  unpack_gguf_row(GgufType::q6_k, test::bytes_of(low + high + scales + std::string("\x00\x38", 2)),
                  out);  // d = 0.5
  for (int i = 0; i < 256; ++i)
    EXPECT_EQ(out[static_cast<size_t>(i)], 0.5f * static_cast<float>((i / 16 - 8) * (i % 64 - 32))) << i;
}

TEST(GgufBlocks, RoundToTheNearest) {
  std::vector<float> row(64), back(64);
  for (size_t i = 0; i < row.size(); ++i)
    row[i] = std::sin(static_cast<float>(i) * 1.7f) * (i < 32 ? 1.0f : 300.0f);
  std::fill(row.begin() + 40, row.begin() + 44, 0.0f);
  for (const auto& [type, step] :
       {std::pair(GgufType::q4_0, 1.0f / 8), std::pair(GgufType::q4_1, 2.0f / 15),
        std::pair(GgufType::q8_0, 1.0f / 127), std::pair(GgufType::f16, 1.0f / 1024),
        std::pair(GgufType::bf16, 1.0f / 128), std::pair(GgufType::f32, 1e-30f)}) {
    const GgufBlock block = block_of(type);
    std::vector<std::byte> packed(row.size() / static_cast<size_t>(block.elements) * block.bytes);
    pack_gguf_row(type, row, packed, "w");
    unpack_gguf_row(type, packed, back);
    for (size_t i = 0; i < row.size(); ++i) {
      // Q4_0 has no code for the opposite of its largest value
      const float most = step * (i < 32 ? 1.0f : 300.0f) * (type == GgufType::q4_0 ? 1.01f : 0.51f);
      EXPECT_NEAR(back[i], row[i], most) << gguf_type_name(static_cast<uint32_t>(type)) << " " << i;
    }
  }
  std::vector<std::byte> packed(68);
  std::fill(row.begin(), row.end(), 0.0f);
  pack_gguf_row(GgufType::q8_0, row, packed, "w");
  unpack_gguf_row(GgufType::q8_0, packed, back);
  EXPECT_EQ(back, row);
  row[3] = INFINITY;
  EXPECT_EQ(outcome_of([&] { pack_gguf_row(GgufType::q8_0, row, packed, "w"); }).fault, Fault::numeric);
  row[3] = 1e30f;
  EXPECT_EQ(outcome_of([&] { pack_gguf_row(GgufType::q8_0, row, packed, "w"); }).fault, Fault::numeric);
}

/// All codes and zero points there are: those that fit a type come back bit for bit, -128 of Q8_0 among them.
TEST(GgufBlocks, KeepTheCodesOfQuantizedRows) {
  for (int bits : kBitWidths) {
    const int levels = 1 << bits;
    QTensor q{.bits = bits, .rows = levels, .cols = 256, .groups = 2};
    for (int n = 0; n < levels; ++n) {
      for (int k = 0; k < 256; ++k) q.codes.push_back(static_cast<uint8_t>((k + n) % levels));
    }
    for (int k = 0; k < 256; ++k) q.group_of.push_back(k / 128);
    q.scales.assign(static_cast<size_t>(2 * levels), 0.0123f);
    for (float& scale : q.scales) scale = fp16_to_float(float_to_fp16(scale));
    q.zeros.assign(static_cast<size_t>(2 * levels), static_cast<uint16_t>(levels / 2));
    const GgufFit fit = fit_of(q);
    EXPECT_EQ(fit.lowest, -levels / 2);
    EXPECT_EQ(fit.highest, levels / 2 - 1);
    EXPECT_EQ(fit.fits(GgufType::q4_0), bits <= 4);
    EXPECT_TRUE(fit.fits(GgufType::q8_0));
    for (GgufType type : {GgufType::q4_0, GgufType::q8_0}) {
      if (!fit.fits(type)) continue;
      std::vector<std::byte> packed(256 / 32 * block_of(type).bytes);
      std::vector<float> wanted(256), found(256);
      for (int64_t row = 0; row < q.rows; ++row) {
        pack_gguf_row(type, q, row, packed, "w");
        unpack_gguf_row(type, packed, found);
        dequantize_row(q, row, wanted.data());
        ASSERT_EQ(found, wanted) << bits << " bits, row " << row;
      }
    }
  }
}

TEST(GgufBlocks, KnowWhatTheyCantHold) {
  QTensor q{.bits = 4, .rows = 1, .cols = 64, .groups = 2};
  for (int k = 0; k < 64; ++k) q.codes.push_back(static_cast<uint8_t>(k % 16)), q.group_of.push_back(k / 32);
  q.scales = {0.5f, 0.25f};
  q.zeros = {3, 8};
  EXPECT_FALSE(fit_of(q).fits(GgufType::q4_0));  // 15 - 3
  EXPECT_TRUE(fit_of(q).fits(GgufType::q4_1));
  EXPECT_TRUE(fit_of(q).fits(GgufType::q8_0));
  std::swap(q.group_of[0], q.group_of[40]);
  for (GgufType type : {GgufType::q4_0, GgufType::q4_1, GgufType::q8_0}) EXPECT_FALSE(fit_of(q).fits(type));
  q.bits = 8;
  q.codes[0] = 255;
  std::swap(q.group_of[0], q.group_of[40]);
  EXPECT_FALSE(fit_of(q).fits(GgufType::q4_1));
  EXPECT_FALSE(fit_of(q).fits(GgufType::q8_0));  // 255 - 3
}

TEST(GgufWriter, WritesWhatTheReaderReads) {
  const test::TemporaryFolder folder;
  GgufSettings settings;
  settings.integer("n", 7);
  settings.number("x", 0.5f);
  settings.boolean("b", true);
  settings.text("t", "words");
  settings.texts("a", std::vector<std::string>{"one", ""});
  settings.integers("i", std::vector<int32_t>{-1, 2});
  settings.numbers("f", std::vector<float>{0.25f});
  const std::vector<GgufTensor> tensors = {{.name = "w", .type = GgufType::f32, .shape = {3, 2}},
                                           {.name = "q", .type = GgufType::q8_0, .shape = {1, 32}}};
  {
    StagedFile file(folder / "x.gguf", Overwrite::no);
    GgufWriter writer(file.writer(), settings, tensors);
    const std::vector<float> rows = {1, 2, 3, 4, 5, 6};
    const auto bytes = std::as_bytes(std::span(rows));
    writer.write_rows("q", 0, std::vector<std::byte>(34, std::byte{1}));
    writer.write_rows("w", 1, bytes.subspan(8));
    EXPECT_EQ(outcome_of([&] { writer.check_complete(); }).status, Status::internal);
    writer.write_rows("w", 0, bytes.first(8));
    EXPECT_EQ(outcome_of([&] { writer.write_rows("w", 3, bytes.first(8)); }).status, Status::internal);
    EXPECT_EQ(outcome_of([&] { writer.write_rows("w", 0, bytes.first(7)); }).status, Status::internal);
    EXPECT_EQ(outcome_of([&] { writer.write_rows("v", 0, bytes); }).status, Status::internal);
    writer.check_complete();
    file.commit();
  }
  EXPECT_TRUE(is_gguf(folder / "x.gguf"));
  const GgufFile file(folder / "x.gguf");
  EXPECT_EQ(file.header().integer("n", 0, 9), 7);
  EXPECT_EQ(file.header().number("x", 0, 1), 0.5);
  EXPECT_EQ(file.header().boolean("b"), true);
  EXPECT_EQ(*file.header().text("t"), "words");
  EXPECT_EQ(*file.header().texts("a"), (std::vector<std::string>{"one", ""}));
  EXPECT_EQ(*file.header().integers("i"), (std::vector<int64_t>{-1, 2}));
  EXPECT_EQ(*file.header().numbers("f"), (std::vector<double>{0.25}));
  const GgufTensor* w = file.header().find("w");
  ASSERT_NE(w, nullptr);
  std::vector<float> row(2);
  unpack_gguf_row(w->type, file.read_rows(*w, 1, 1), row);
  EXPECT_EQ(row, (std::vector<float>{3, 4}));
  test::write_file(folder / "no.gguf", "GGU");
  EXPECT_FALSE(is_gguf(folder / "no.gguf"));
  EXPECT_FALSE(is_gguf(folder.path()));
}

}  // namespace
}  // namespace gptq
