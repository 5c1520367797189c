// The header of a safetensors file: what is accepted, and the fault of everything else.
#include <chrono>

#include "format/format_support.h"
#include "format/safetensors.h"

namespace gptq {
namespace {

using test::bytes_of;
using test::entry;
using test::Outcome;
using test::outcome_of;
using test::safetensors_file;

Outcome parse(std::string_view file) {
  return outcome_of([&] { parse_safetensors_header(bytes_of(file), file.size(), "x.safetensors"); });
}

std::string repeated(std::string_view text, size_t times) {
  std::string out;
  for (size_t i = 0; i < times; ++i) out += text;
  return out;
}

const std::string kFour(4, 'x'), kEight(8, 'x');

struct Case {
  int row;  // of the catalogue of bad inputs
  std::string what;
  std::string file;
  Fault fault;
};

/// One F32 scalar, its entry changed.
std::string with_entry(std::string_view value) {
  return safetensors_file("{\"a\":" + std::string(value) + "}", kFour);
}
std::string with_header(std::string_view header) { return safetensors_file(header, kFour); }

std::string with_length(uint64_t length, std::string_view rest) {
  return test::little_endian(length) + std::string(rest);
}

std::vector<Case> length_cases() {
  const std::string good = "{" + entry("a", "F32", "[1]", 0, 4) + "}";
  return {
      {1, "empty", "", Fault::truncated},
      {1, "7 bytes", "abcdefg", Fault::truncated},
      {2, "header longer than the file", with_length(100, "{}"), Fault::truncated},
      {2, "by one", with_length(3, "{}"), Fault::truncated},
      {3, "header above the limit", with_length(100'000'001, "{}"), Fault::limit},
      {4, "2^64-1", with_length(UINT64_MAX, "{}"), Fault::limit},
      {4, "2^63", with_length(uint64_t{1} << 63, "{}"), Fault::limit},
      {4, "2^64-8", with_length(UINT64_MAX - 7, "{}"), Fault::limit},
      {5, "no header", with_length(0, ""), Fault::format},
      {5, "array", safetensors_file("[]"), Fault::format},
      {5, "null", safetensors_file("null"), Fault::format},
      {5, "string", safetensors_file("\"a\""), Fault::format},
      {6, "cut in a token", with_length(good.size() - 9, good + kFour), Fault::format},
      {41, "pickle", std::string("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a", 11), Fault::format},
      {41, "pickle 4", std::string("\x80\x04\x95\x10\0\0\0\0\0\0\0}", 12), Fault::format},
      {41, "zip", std::string("PK\x03\x04\0\0\x08\x08\0\0\0\0", 12), Fault::format},
      {41, "GGUF", std::string("GGUF\x03\0\0\0\0\0\0\0", 12), Fault::format},
      {41, "HTML", "<!DOCTYPE html><html>", Fault::format},
      {41, "HTML without doctype", "<html><head></head></html>", Fault::format},
      {41, "LFS", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", Fault::format},
  };
}

std::vector<Case> json_cases() {
  const std::string a = entry("a", "F32", "[1]", 0, 4), b = entry("b", "F32", "[1]", 0, 4);
  std::vector<Case> cases{
      {7, "overlong", with_header("{\"\xC0\x80\":1}"), Fault::format},
      {7, "lone FF", with_header("{\"\xFF\":1}"), Fault::format},
      {7, "encoded surrogates", with_header("{\"\xED\xA0\x80\xED\xB0\x80\":1}"), Fault::format},
      {8, "byte order mark", with_header("\xEF\xBB\xBF{" + a + "}"), Fault::format},
      {10, "NUL behind", with_header("{" + a + "}" + std::string(3, '\0')), Fault::format},
      {10, "NUL in front", with_header(std::string(1, '\0') + "{" + a + "}"), Fault::format},
      {10, "object behind", with_header("{" + a + "}{}"), Fault::format},
      {10, "comment", with_header("{" + a + "}//x"), Fault::format},
      {10, "block comment", with_header("{/**/" + a + "}"), Fault::format},
      {10, "trailing comma", with_header("{" + a + ",}"), Fault::format},
      {10, "NaN", with_entry("{\"dtype\":\"F32\",\"shape\":[NaN],\"data_offsets\":[0,4]}"), Fault::format},
      {10, "leading zero", with_entry("{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,04]}"),
       Fault::format},
      {11, "lone surrogate", with_header("{" + entry("\\ud800", "F32", "[1]", 0, 4) + "}"), Fault::format},
      {11, "surrogates reversed", with_header("{" + entry("\\udc00\\ud800", "F32", "[1]", 0, 4) + "}"),
       Fault::format},
      {11, "control character", with_header("{" + entry("a\nb", "F32", "[1]", 0, 4) + "}"), Fault::format},
      {13, "same twice", with_header("{" + a + "," + a + "}"), Fault::duplicate},
      {14, "two types", with_header("{" + a + "," + entry("a", "I32", "[1]", 0, 4) + "}"), Fault::duplicate},
      {15, "by an escape", with_header("{" + a + "," + entry("\\u0061", "F32", "[1]", 0, 4) + "}"),
       Fault::duplicate},
      {16, "metadata twice", with_header("{\"__metadata__\":{},\"__metadata__\":{}," + a + "}"),
       Fault::duplicate},
      {16, "key twice", with_header("{\"__metadata__\":{\"k\":\"\",\"k\":\"\"}," + a + "}"),
       Fault::duplicate},
      {17, "dtype twice",
       with_entry("{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}"),
       Fault::duplicate},
  };
  for (size_t depth : {size_t{200}, size_t{100'000}}) {
    const std::string deep = repeated("[", depth) + repeated("]", depth);
    const std::string objects = repeated("{\"a\":", depth) + "1" + repeated("}", depth);
    cases.push_back({12, "deep", with_header(deep), Fault::limit});
    cases.push_back({12, "deep objects", with_header(objects), Fault::limit});
    cases.push_back({12, "unclosed", with_header(repeated("[", depth)), Fault::limit});
    cases.push_back(
        {12, "in a field",
         with_entry("{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":" + deep + "}"),
         Fault::limit});
    cases.push_back({12, "in shape", with_entry("{\"shape\":" + deep + "}"), Fault::limit});
  }
  return cases;
}

std::vector<Case> entry_cases() {
  std::vector<Case> cases{
      {18, "no dtype", with_entry(R"({"shape":[1],"data_offsets":[0,4]})"), Fault::format},
      {18, "no shape", with_entry(R"({"dtype":"F32","data_offsets":[0,4]})"), Fault::format},
      {18, "no offsets", with_entry(R"({"dtype":"F32","shape":[1]})"), Fault::format},
      {18, "dtype is null", with_entry(R"({"dtype":null,"shape":[1],"data_offsets":[0,4]})"), Fault::format},
      {18, "dtype is a list", with_entry(R"({"dtype":["F32"],"shape":[1],"data_offsets":[0,4]})"),
       Fault::format},
      {18, "shape is a number", with_entry(R"({"dtype":"F32","shape":1,"data_offsets":[0,4]})"),
       Fault::format},
      {18, "shape is an object", with_entry(R"({"dtype":"F32","shape":{"0":1},"data_offsets":[0,4]})"),
       Fault::format},
      {18, "shape in shape", with_entry(R"({"dtype":"F32","shape":[[1]],"data_offsets":[0,4]})"),
       Fault::format},
      {20, "entry is an array", with_entry(R"(["F32",[1],[0,4]])"), Fault::format},
      {20, "entry is a number", with_entry("7"), Fault::format},
      {20, "entry is null", with_entry("null"), Fault::format},
      {29, "shape wraps", with_header("{" + entry("a", "F32", "[4294967296,4294967296]", 0, 4) + "}"),
       Fault::range},
      {29, "bits wrap", with_header("{" + entry("a", "F64", "[4611686018427387904]", 0, 0) + "}"),
       Fault::range},
      {29, "dimension 2^63", with_header("{" + entry("a", "U8", "[9223372036854775808]", 0, 4) + "}"),
       Fault::range},
      {31, "one too few", with_header("{" + entry("a", "F32", "[1]", 0, 3) + "}"), Fault::mismatch},
      {31, "other type", with_header("{" + entry("a", "F16", "[1]", 0, 4) + "}"), Fault::mismatch},
      {31, "scalar", with_header("{" + entry("a", "F16", "[]", 0, 4) + "}"), Fault::mismatch},
      {32, "half a byte", with_header("{" + entry("a", "F4", "[1]", 0, 1) + "}"), Fault::format},
      {32, "F6 times 3", with_header("{" + entry("a", "F6_E2M3", "[3]", 0, 3) + "}"), Fault::format},
      {33, "F33", with_header("{" + entry("a", "F33", "[1]", 0, 4) + "}"), Fault::unsupported},
      {33, "f32", with_header("{" + entry("a", "f32", "[1]", 0, 4) + "}"), Fault::unsupported},
      {33, "no name", with_header("{" + entry("a", "", "[1]", 0, 4) + "}"), Fault::unsupported},
      {35, "empty name", with_header("{" + entry("", "F32", "[1]", 0, 4) + "}"), Fault::format},
      {35, "NUL in a name", with_header("{" + entry("a\\u0000b", "F32", "[1]", 0, 4) + "}"), Fault::format},
      {35, "64 KiB name", with_header("{" + entry(std::string(65536, 'n'), "F32", "[1]", 0, 4) + "}"),
       Fault::limit},
      {35, "1025 bytes", with_header("{" + entry(std::string(1025, 'n'), "F32", "[1]", 0, 4) + "}"),
       Fault::limit},
      {36, "rank 9", with_header("{" + entry("a", "F32", "[1,1,1,1,1,1,1,1,1]", 0, 4) + "}"), Fault::limit},
      {36, "rank 100,000",
       with_header("{" + entry("a", "F32", "[1" + repeated(",1", 99'999) + "]", 0, 4) + "}"), Fault::limit},
      {38, "metadata holds a number", with_header(R"({"__metadata__":{"a":1}})"), Fault::format},
      {38, "metadata holds an object", with_header(R"({"__metadata__":{"a":{}}})"), Fault::format},
      {38, "metadata holds null", with_header(R"({"__metadata__":{"a":null}})"), Fault::format},
      {38, "metadata is an array", with_header(R"({"__metadata__":[]})"), Fault::format},
      {38, "metadata is a string", with_header(R"({"__metadata__":"a"})"), Fault::format},
  };
  for (const char* shape : {"[0,4294967296,4294967296,4294967296]", "[4294967296,0,4294967296,4294967296]",
                            "[4294967296,4294967296,0,4294967296]", "[4294967296,4294967296,4294967296,0]"}) {
    cases.push_back({30, shape, safetensors_file("{" + entry("a", "F32", shape, 0, 0) + "}"), Fault::range});
  }
  return cases;
}

std::vector<Case> offset_cases() {
  const auto with_offsets = [](std::string_view offsets) {
    return with_entry("{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":" + std::string(offsets) + "}");
  };
  const auto two = [](std::string_view type_a, std::string_view shape_a, uint64_t a0, uint64_t a1,
                      uint64_t b0, uint64_t b1, size_t data) {
    return safetensors_file(
        "{" + entry("a", type_a, shape_a, a0, a1) + "," + entry("b", "F32", "[1]", b0, b1) + "}",
        std::string(data, 'x'));
  };
  std::string ten = "{" + entry("t0", "F32", "[1]", 0, 4);
  for (int i = 1; i < 10; ++i) ten += "," + entry("t" + std::to_string(i), "F32", "[1]", 0, 4);
  std::vector<Case> cases{
      {21, "one", with_offsets("[0]"), Fault::format},
      {21, "none", with_offsets("[]"), Fault::format},
      {21, "three", with_offsets("[0,4,4]"), Fault::format},
      {21, "null", with_offsets("null"), Fault::format},
      {21, "nulls", with_offsets("[null,null]"), Fault::format},
      {21, "strings", with_offsets("[\"0\",\"4\"]"), Fault::format},
      {21, "booleans", with_offsets("[false,true]"), Fault::format},
      {22, "4.0", with_offsets("[0,4.0]"), Fault::range},
      {22, "4e0", with_offsets("[0,4e0]"), Fault::range},
      {22, "-0", with_offsets("[-0,4]"), Fault::range},
      {22, "-1", with_offsets("[-1,3]"), Fault::range},
      {22, "2^64", with_offsets("[0,18446744073709551616]"), Fault::range},
      {22, "1e999", with_offsets("[0,1e999]"), Fault::range},
      {23, "backwards", with_offsets("[4,0]"), Fault::range},
      {24, "beyond the end", safetensors_file("{" + entry("a", "F32", "[2]", 0, 8) + "}", kFour),
       Fault::truncated},
      {24, "far beyond",
       safetensors_file("{" + entry("a", "U8", "[18446744073709551]", 0, 18446744073709551u) + "}"),
       Fault::truncated},
      {25, "polyglot", safetensors_file("{" + entry("a", "F32", "[1]", 0, 4) + "}", kEight), Fault::format},
      {25, "data without tensors", safetensors_file("{}", kFour), Fault::format},
      {26, "hole at the start", safetensors_file("{" + entry("a", "F32", "[1]", 4, 8) + "}", kEight),
       Fault::format},
      {26, "hole between", two("F32", "[1]", 0, 4, 8, 12, 12), Fault::format},
      {27, "partial overlap", two("F64", "[1]", 0, 8, 4, 8, 8), Fault::format},
      {27, "aliases", two("F32", "[1]", 0, 4, 0, 4, 4), Fault::format},
      {27, "ten on one range", safetensors_file(ten + "}", kFour), Fault::format},
      {28, "empty inside", two("F32", "[0]", 2, 2, 0, 4, 4), Fault::format},
      {28, "empty beyond", two("F32", "[0]", 8, 8, 0, 4, 4), Fault::format},
  };
  return cases;
}

class BadHeader : public testing::TestWithParam<Case> {};

TEST_P(BadHeader, HasItsFault) {
  const Case& c = GetParam();
  const Outcome found = parse(c.file);
  EXPECT_EQ(fault_name(found.fault), fault_name(c.fault))
      << "row " << c.row << ", " << c.what << ": " << found.message;
  EXPECT_TRUE(found.mentions("x.safetensors")) << found.message;
  EXPECT_LT(found.message.size(), 600u);
}

std::string case_name(const testing::TestParamInfo<Case>& info) {
  return "Row" + std::to_string(info.param.row) + "No" + std::to_string(info.index);
}
INSTANTIATE_TEST_SUITE_P(Length, BadHeader, testing::ValuesIn(length_cases()), case_name);
INSTANTIATE_TEST_SUITE_P(Json, BadHeader, testing::ValuesIn(json_cases()), case_name);
INSTANTIATE_TEST_SUITE_P(Entry, BadHeader, testing::ValuesIn(entry_cases()), case_name);
INSTANTIATE_TEST_SUITE_P(Offsets, BadHeader, testing::ValuesIn(offset_cases()), case_name);

TEST(Header, SaysWhatAFileLooksLike) {
  EXPECT_TRUE(parse("version https://git-lfs.github.com/spec/v1\n").mentions("git-LFS"));
  EXPECT_TRUE(parse(std::string("GGUF\x03\0\0\0\0\0\0\0", 12)).mentions("GGUF"));
  EXPECT_TRUE(parse(std::string("PK\x03\x04\0\0\x08\x08\0\0\0\0", 12)).mentions("zip"));
  EXPECT_TRUE(parse(std::string("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9", 9)).mentions("pickle"));
  EXPECT_TRUE(parse("<html><body>404").mentions("HTML"));
}

TEST(Header, FaultsCarryAnOffset) {
  const std::string good = "{" + entry("a", "F32", "[1]", 0, 4) + "}";
  EXPECT_TRUE(parse(with_length(20, good + kFour)).mentions("byte 21"))
      << parse(with_length(20, good + kFour)).message;
}

TEST(Header, AcceptsWhatTheFormatAllows) {
  const std::string a = entry("a", "F32", "[1]", 0, 4);
  for (const std::string& header :
       {"{" + a + "}", " \t\r\n{" + a + "}", "{" + a + "}  \n", "{\"__metadata__\":null," + a + "}",
        "{" + a + ",\"__metadata__\":{\"format\":\"pt\",\"\":\"\"}}",
        "{" + entry("../x", "F32", "[1]", 0, 4) + "}", "{" + entry("a", "F32", "[]", 0, 4) + "}",
        "{" + entry("a", "F32", "[1,1,1,1,1,1,1,1]", 0, 4) + "}",
        "{" + entry(std::string(1024, 'n'), "F32", "[1]", 0, 4) + "}",
        "{" + a + "," + entry("b", "F32", "[0]", 0, 0) + "," + entry("c", "F64", "[7,0]", 4, 4) + "}",
        std::string(R"({"a":{"x":[{"dtype":1}],"dtype":"F32","shape":[1],"data_offsets":[0,4],"y":null}})"),
        "{" + entry("a", "BOOL", "[4]", 0, 4) + "}", "{" + entry("a", "F4", "[8]", 0, 4) + "}",
        "{" + entry("\\ud83d\\ude00", "F32", "[1]", 0, 4) + "}"}) {
    EXPECT_EQ(parse(with_header(header)).message, "") << header;
  }
  EXPECT_EQ(parse(safetensors_file("{}")).message, "");
}

TEST(Header, KnowsAllTypes) {
  for (const char* name :
       {"F64",     "F32",         "F16",         "BF16",    "I64",     "I32", "I16",     "I8",
        "U64",     "U32",         "U16",         "U8",      "BOOL",    "C64", "F8_E4M3", "F8_E5M2",
        "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F6_E2M3", "F6_E3M2", "F4"}) {
    const std::string file = safetensors_file("{" + entry("a", name, "[0]", 0, 0) + "}");
    const auto header = parse_safetensors_header(bytes_of(file), file.size(), "x");
    ASSERT_EQ(header.entries.size(), 1u);
    EXPECT_EQ(dtype_name(header.entries[0].dtype), name);
  }
}

TEST(Header, ReportsEntriesByPlace) {
  const std::string file =
      safetensors_file("{" + entry("b", "F32", "[1,2]", 4, 12) + "," + entry("a", "U8", "[4]", 0, 4) + "}",
                       std::string(12, 'x'));
  const auto header = parse_safetensors_header(bytes_of(file), file.size(), "x");
  ASSERT_EQ(header.entries.size(), 2u);
  EXPECT_EQ(header.entries[0].name, "a");
  EXPECT_EQ(header.entries[1].name, "b");
  EXPECT_EQ(header.entries[1].shape, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(header.entries[1].begin, 4u);
  EXPECT_EQ(header.data_start, file.size() - 12);
}

TEST(Header, LimitsCanBeLowered) {
  const std::string file =
      with_header("{" + entry("abc", "F32", "[1,1]", 0, 4) + "," + entry("d", "F32", "[0]", 0, 0) + "}");
  const auto fault = [&](const SafetensorsLimits& limits) {
    return outcome_of([&] { parse_safetensors_header(bytes_of(file), file.size(), "x", limits); }).fault;
  };
  EXPECT_EQ(fault({}), Fault::none);
  EXPECT_EQ(fault({.tensors = 2, .name_bytes = 3, .rank = 2}), Fault::none);
  EXPECT_EQ(fault({.header_bytes = 10}), Fault::limit);
  EXPECT_EQ(fault({.tensors = 1}), Fault::limit);
  EXPECT_EQ(fault({.name_bytes = 2}), Fault::limit);
  EXPECT_EQ(fault({.rank = 1}), Fault::limit);
}

/// Row 37, and the price of names that share their first bytes.
TEST(Header, AMillionTensorsTakeLinearTime) {
  const auto timed = [](int count, uint64_t stride) {
    std::string header = "{";
    for (int i = 0; i < count; ++i) {
      if (i > 0) header += ',';
      header += entry("layer." + std::to_string(static_cast<uint64_t>(i) * stride), "F32", "[0]", 0, 0);
    }
    const std::string file = safetensors_file(header + "}");
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(parse(file).message, "");
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  const double small = timed(30'000, 2654435761u), large = timed(300'000, 2654435761u);
  EXPECT_LT(large, 40 * small + 0.5);
}

}  // namespace
}  // namespace gptq
