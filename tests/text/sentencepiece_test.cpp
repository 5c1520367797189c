// tokenizer.model: what is read from it, and files that are wrong.
#include "text/sentencepiece.h"

#include <bit>

#include "base/error.h"
#include "base/text.h"
#include "reference.h"

namespace gptq::test {
namespace {

std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  return out + static_cast<char>(value);
}

std::string bytes_field(int number, std::string_view value) {
  return cat(varint(number << 3 | 2), varint(value.size()), value);
}
std::string integer_field(int number, uint64_t value) { return varint(number << 3) + varint(value); }

std::string piece(std::string_view text, float score, uint64_t type) {
  const auto bits = std::bit_cast<uint32_t>(score);
  std::string number;
  for (int i = 0; i < 4; ++i) number += static_cast<char>(bits >> (8 * i));
  return bytes_field(1, cat(bytes_field(1, text), varint(2 << 3 | 5), number, integer_field(3, type)));
}

constexpr uint64_t kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5;

std::string pieces() {
  return cat(piece("<unk>", 0, kUnknown), piece("<s>", 0, kControl), piece("</s>", 0, kControl),
             piece("a", -3, kNormal), piece("b", -4, kNormal), piece("ab", -1, kNormal),
             piece("bb", -1, kNormal), piece("\xE2\x96\x81", -5, kNormal));
}

std::string spec(uint64_t model_type = 2) { return bytes_field(2, integer_field(3, model_type)); }
std::string plain_spaces() { return bytes_field(3, integer_field(3, 0) + integer_field(4, 0)); }

std::vector<int32_t> encode(const std::string& file, std::string_view text,
                            ParseSpecial parse = ParseSpecial::yes) {
  return load_sentencepiece(file, "tokenizer.model")->encode(text, AddSpecial::no, parse);
}

using Ids = std::vector<int32_t>;

TEST(SentencePiece, EqualScoresGoLeftFirst) {
  EXPECT_EQ(encode(pieces() + spec() + plain_spaces(), "abb"), (Ids{5, 4}));
  EXPECT_EQ(encode(pieces() + spec() + plain_spaces(), "bbb"), (Ids{6, 4}));
}

TEST(SentencePiece, SpacesAreJoinedAndPrefixed) {
  EXPECT_EQ(encode(pieces() + spec(), "  a   a "), (Ids{7, 3, 7, 3}));
  EXPECT_EQ(encode(pieces() + spec(), "   "), Ids{});
}

TEST(SentencePiece, UnknownNeighboursAreOne) {
  EXPECT_EQ(encode(pieces() + spec() + plain_spaces(), "axyza"), (Ids{3, 0, 3}));
}

TEST(SentencePiece, ControlPiecesOnlyWhenAskedFor) {
  EXPECT_EQ(encode(pieces() + spec() + plain_spaces(), "<s>a", ParseSpecial::yes), (Ids{1, 3}));
  EXPECT_EQ(encode(pieces() + spec() + plain_spaces(), "<s>a", ParseSpecial::no), (Ids{0, 3}));
}

TEST(SentencePiece, UserDefinedPiecesAreCutOut) {
  const std::string file = pieces() + piece("bab", 0, kUserDefined) + spec() + plain_spaces();
  EXPECT_EQ(encode(file, "abab"), (Ids{3, 8}));
}

TEST(SentencePiece, UnusedPiecesComeOutAsTheirParts) {
  const std::string file = pieces() + piece("abab", 0, kUnused) + spec() + plain_spaces();
  EXPECT_EQ(encode(file, "abab"), (Ids{5, 5}));
}

TEST(SentencePiece, SpecialTokensByConfig) {
  const std::string file = pieces() + spec() + plain_spaces();
  const auto around = [&](TokenizerConfig config) {
    return load_sentencepiece(file, "tokenizer.model", config)
        ->encode("a", AddSpecial::yes, ParseSpecial::yes);
  };
  EXPECT_EQ(around({}), (Ids{1, 3}));
  EXPECT_EQ(around({.bos_token = {}, .eos_token = {}, .add_bos_token = false, .add_eos_token = true}),
            (Ids{3, 2}));
}

Fault fault_of(const std::string& file) {
  try {
    load_sentencepiece(file, "tokenizer.model");
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("tokenizer.model"), std::string::npos) << error.what();
    return error.fault();
  }
  return Fault::none;
}

TEST(SentencePiece, HostileFiles) {
  const std::string good = pieces() + spec();
  EXPECT_EQ(fault_of(good), Fault::none);
  EXPECT_EQ(fault_of(""), Fault::format);
  EXPECT_EQ(fault_of(pieces()), Fault::none) << "the default is unigram";
  EXPECT_EQ(fault_of(pieces() + spec(3)), Fault::unsupported) << "words";
  for (uint64_t type : {1, 2}) {
    const auto with_map = [&](std::string_view map) {
      return fault_of(pieces() + spec(type) + bytes_field(3, bytes_field(2, map)));
    };
    EXPECT_EQ(with_map("map"), Fault::truncated);
    EXPECT_EQ(with_map(std::string_view("\4\0\0\0abc", 7)), Fault::truncated);
    EXPECT_EQ(with_map("\xFF\xFF\xFF\xFF"
                       "abcd"),
              Fault::truncated);
    EXPECT_EQ(with_map(std::string_view("\0\0\0\0", 4)), Fault::format);
    EXPECT_EQ(with_map(std::string_view("\3\0\0\0abc", 7)), Fault::format);
    EXPECT_EQ(with_map(std::string_view("\4\0\0\0abcd\xFF", 9)), Fault::format);
    EXPECT_EQ(with_map(std::string_view("\4\0\0\0\xFF\xFF\xFF\xFFx", 9)), Fault::none) << "leads nowhere";
  }
  EXPECT_EQ(fault_of(good + bytes_field(2, integer_field(24, 1))), Fault::unsupported);
  EXPECT_EQ(fault_of(good + piece("a", 0, kNormal)), Fault::duplicate);
  EXPECT_EQ(fault_of(good + piece("z", 0, 7)), Fault::range);
  EXPECT_EQ(fault_of(good + piece("", 0, kNormal)), Fault::format);
  EXPECT_EQ(fault_of(good + piece("\xFF", 0, kNormal)), Fault::format);
  EXPECT_EQ(fault_of(good + piece("z", std::bit_cast<float>(0x7FC00000u), kNormal)), Fault::numeric);
  EXPECT_EQ(fault_of(good + piece(std::string(5000, 'z'), 0, kNormal)), Fault::limit);
  EXPECT_EQ(fault_of(piece("a", 0, kNormal) + spec()), Fault::format) << "no unknown piece";
  EXPECT_EQ(fault_of(piece("a", 0, kNormal) + spec(1)), Fault::format) << "no unknown piece";
  EXPECT_EQ(fault_of(good + bytes_field(2, integer_field(35, 1)) + piece("<0x1Z>", 0, 6)), Fault::format);
  EXPECT_EQ(fault_of(good + varint(1 << 3 | 2) + varint(1000)), Fault::truncated);
  EXPECT_EQ(fault_of(good + varint(1 << 3 | 2) + varint(UINT64_MAX)), Fault::truncated);
  EXPECT_EQ(fault_of(good + "\x0B"), Fault::format) << "a group";
  EXPECT_EQ(fault_of(good + std::string(1, '\0')), Fault::format) << "field 0";
  EXPECT_EQ(fault_of(good + std::string(11, '\xFF')), Fault::format) << "an endless number";
  EXPECT_EQ(fault_of(good + integer_field(1, 5)), Fault::format) << "a piece that is a number";
}

TEST(SentencePiece, CutAnywhere) {
  const std::string good = pieces() + spec();
  size_t whole = 0;
  for (size_t n = 0; n < good.size(); ++n) whole += fault_of(good.substr(0, n)) == Fault::none ? 1 : 0;
  EXPECT_EQ(whole, 8u) << "behind each piece: then it is Unigram, by default";
}

}  // namespace
}  // namespace gptq::test
