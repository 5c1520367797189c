// JSON of unknown origin: what is refused and how, and what the typed getters answer.
#include "base/json.h"

#include <gtest/gtest.h>

#include <chrono>
#include <limits>

#include "base/json_writer.h"

namespace gptq {
namespace {

struct Outcome {
  Fault fault = Fault::none;
  std::string message;
};

template <class Call>
Outcome outcome_of(const Call& call) {
  try {
    call();
    return {};
  } catch (const Error& error) {
    return {error.fault(), error.what()};
  }
}

Outcome parse(std::string_view text, const JsonLimits& limits = {}) {
  return outcome_of([&] { parse_json(text, "x.json", limits); });
}

TEST(ParseJson, Accepts) {
  for (std::string_view text : {"null", "true", "0", "-0", "1.5e3", "\"\"", "[]", "{}",
                                " \t\r\n{ \"a\" : [ 1 , { } ] } \n", "\"\\ud83d\\ude00\"", "\"\\u0000\"",
                                "\"\xF0\x9F\x98\x80\"", "[18446744073709551615,-9223372036854775808]",
                                "{\"a\":{\"a\":1}}", "[{\"a\":1},{\"a\":1}]", "\"\xEF\xBB\xBF\"", "1e-999"}) {
    EXPECT_EQ(parse(text).message, "") << text;
  }
}

TEST(ParseJson, Refuses) {
  using namespace std::string_view_literals;
  for (std::string_view text : {""sv,
                                " "sv,
                                "nul"sv,
                                "{"sv,
                                "[1,]"sv,
                                "{\"a\":1,}"sv,
                                "{a:1}"sv,
                                "{'a':1}"sv,
                                "[1 2]"sv,
                                "01"sv,
                                "-"sv,
                                "1."sv,
                                ".5"sv,
                                "+1"sv,
                                "0x10"sv,
                                "NaN"sv,
                                "Infinity"sv,
                                "-Infinity"sv,
                                "{} {}"sv,
                                "[]x"sv,
                                "//\n1"sv,
                                "/**/1"sv,
                                "\"a"sv,
                                "\"\n\""sv,
                                "\"\\x\""sv,
                                "\"\\ud800\""sv,
                                "\"\\udc00\""sv,
                                "\"\\ud800\\u0041\""sv,
                                "\"\\u12\""sv,
                                "\"\xC0\x80\""sv,
                                "\"\xED\xA0\x80\""sv,
                                "\"\xFF\""sv,
                                "\"\xF4\x90\x80\x80\""sv,
                                "\"\xE2\x82\""sv,
                                "\xEF\xBB\xBF{}"sv,
                                "{}\0"sv,
                                "\0{}"sv,
                                "[1,\0]"sv,
                                "{\"a\"}"sv,
                                "{\"a\":}"sv,
                                "{1:2}"sv,
                                "]"sv,
                                "\xFF\xFE{\0}\0"sv}) {
    const Outcome found = parse(text);
    EXPECT_EQ(found.fault, Fault::format) << text;
    EXPECT_NE(found.message.find("x.json: byte "), std::string::npos) << found.message;
  }
}

TEST(ParseJson, DuplicateKeys) {
  for (std::string_view text :
       {R"({"a":1,"a":1})", R"({"a":1,"b":2,"\u0061":3})", R"([{"x":{"k":1,"j":2,"k":{}}}])",
        R"({"":1,"":2})", R"({"a":{"b":1},"c":2,"a":{"b":1}})"}) {
    const Outcome found = parse(text);
    EXPECT_EQ(found.fault, Fault::duplicate) << text;
    EXPECT_NE(found.message.find("byte "), std::string::npos);
  }
}

TEST(ParseJson, NumbersTooLarge) {
  for (std::string_view text : {"1e999", "[-1e400]", "{\"a\":1e309}"})
    EXPECT_EQ(parse(text).fault, Fault::range) << text;
  EXPECT_EQ(parse_json("18446744073709551616", "x")->get<double>(), 18446744073709551616.0);
}

std::string nested(size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

TEST(ParseJson, DepthAndSizeOnBothSidesOfTheLimits) {
  EXPECT_EQ(parse(nested(64)).message, "");
  EXPECT_EQ(parse(nested(65)).fault, Fault::limit);
  EXPECT_EQ(parse(std::string(1'000'000, '[')).fault, Fault::limit);
  EXPECT_EQ(parse(nested(3), {.max_depth = 3}).message, "");
  EXPECT_EQ(parse(nested(4), {.max_depth = 3}).fault, Fault::limit);
  EXPECT_EQ(parse("[1,2]", {.max_bytes = 5}).message, "");
  EXPECT_EQ(parse("[1,2]", {.max_bytes = 4}).fault, Fault::limit);
  EXPECT_EQ(parse("{\"a\":[[],{}]}", {.max_depth = 3}).message, "");
}

TEST(ParseJson, EveryPrefixAndDamagedByte) {
  const std::string whole = R"({"a":[1,-2.5e3,true,null,"x\u00e9\n"],"b":{"c":{}},"d":""})";
  EXPECT_EQ(parse(whole).message, "");
  for (size_t size = 0; size < whole.size(); ++size)
    EXPECT_EQ(parse(whole.substr(0, size)).fault, Fault::format) << size;
  for (size_t at = 0; at < whole.size(); ++at) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(byte);
      parse(damaged);
    }
  }
}

TEST(ParseJson, MessagesAreShort) {
  EXPECT_LT(parse("\"" + std::string(1'000'000, 'a')).message.size(), 500u);
  EXPECT_LT(parse("{\"" + std::string(100'000, 'a') + "\":1,\"" + std::string(100'000, 'a') + "\":1}")
                .message.size(),
            500u);
}

TEST(ParseJson, ManyKeysInAnyOrderTakeLinearTime) {
  const auto timed = [](size_t count) {
    std::string text = "{";
    for (size_t i = 0; i < count; ++i) text += (i == 0 ? "\"" : ",\"") + std::to_string(count - i) + "\":0";
    text += "}";
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(parse(text).message, "");
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  const double small = timed(20'000);
  EXPECT_LT(timed(200'000), 40 * small + 0.5);
}

TEST(ParseJson, PrintsBack) {
  const std::string text = R"({"z":1,"a":{"y":[1.5,"é\n\"",null,true,-7],"b":{}},"m":[]})";
  EXPECT_EQ(print_json(parse_json(text, "x")),
            R"({"a":{"b":{},"y":[1.5,"é\n\"",null,true,-7]},"m":[],"z":1})");
  EXPECT_NO_THROW(print_json(Json("\xFF")));
}

TEST(JsonWriter, WritesInBothLayouts) {
  const auto written = [](JsonLayout layout) {
    JsonWriter out(layout);
    out.begin_object();
    out.member("b\n", 1.5);
    out.key("list");
    out.begin_array();
    out.value(int64_t{-7});
    out.value("é");
    out.value(true);
    out.null();
    out.end_array();
    out.key("none");
    out.begin_object();
    out.end_object();
    out.member("a", UINT64_MAX);
    out.end_object();
    return out.take();
  };
  EXPECT_EQ(written(JsonLayout::one_line),
            R"({"b\n":1.5,"list":[-7,"é",true,null],"none":{},"a":18446744073709551615})");
  EXPECT_EQ(written(JsonLayout::indented),
            "{\n  \"b\\n\": 1.5,\n  \"list\": [\n    -7,\n    \"é\",\n    true,\n    null\n  ],\n"
            "  \"none\": {},\n  \"a\": 18446744073709551615\n}");
  JsonWriter odd;
  odd.begin_array();
  odd.value("\xFF");
  odd.value(std::numeric_limits<double>::quiet_NaN());
  odd.end_array();
  EXPECT_EQ(odd.take(), "[\"\xEF\xBF\xBD\",null]");
}

TEST(SetJsonMember, ReplacesInPlaceOrAppends) {
  const auto edit = [](std::string_view text) {
    std::string out = set_json_member(text, "x.json", "q", R"({"bits":4,"of":[1]})");
    std::erase_if(out, [](char c) { return c == ' ' || c == '\n'; });
    return out;
  };
  EXPECT_EQ(edit("{}"), R"({"q":{"bits":4,"of":[1]}})");
  EXPECT_EQ(edit(R"({"z":1e-05,"a":{"q":0}})"), R"({"z":1e-05,"a":{"q":0},"q":{"bits":4,"of":[1]}})");
  EXPECT_EQ(edit(R"({"q":{"old":[{"q":1}],"q":2},"a":[[],{}]})"), R"({"q":{"bits":4,"of":[1]},"a":[[],{}]})");
  EXPECT_EQ(edit(R"({"q":null,"a":"q"})"), R"({"q":{"bits":4,"of":[1]},"a":"q"})");
  for (const char* text : {"[]", "1", R"([{"q":1}])"}) {
    EXPECT_EQ(outcome_of([&] { edit(text); }).fault, Fault::format) << text;
  }
  EXPECT_EQ(outcome_of([&] { edit(R"({"a":1,"a":1})"); }).fault, Fault::duplicate);
}

class Getters : public testing::Test {
 protected:
  const JsonDocument json_ =
      parse_json(R"({"i":5,"neg":-5,"big":9223372036854775808,"f":4.0,"t":true,"s":"text","n":null,
                                    "o":{"x":1},"a":[1],"huge":1e300})",
                 "c.json");
  const JsonObject object_{json_, "c.json"};

  template <class Call>
  void expect(Fault fault, std::string_view key, const Call& call) {
    const Outcome found = outcome_of(call);
    EXPECT_EQ(found.fault, fault) << key << ": " << found.message;
    EXPECT_NE(found.message.find("c.json: '" + std::string(key) + "' is "), std::string::npos)
        << found.message;
  }
};

TEST_F(Getters, Integers) {
  EXPECT_EQ(object_.integer({"i"}, 0, 5), 5);
  EXPECT_EQ(object_.integer({"absent", "n", "neg"}, -5, 0), -5);
  EXPECT_EQ(object_.integer_or({"n"}, 0, 9, 3), 3);
  EXPECT_EQ(object_.maybe_integer({"absent"}, 0, 9), std::nullopt);
  EXPECT_EQ(object_.maybe_integer({"i"}, 0, 9), 5);
  expect(Fault::range, "i", [&] { object_.integer({"i"}, 6, 9); });
  expect(Fault::range, "i", [&] { object_.integer_or({"i"}, 0, 4, 1); });
  expect(Fault::range, "big", [&] { object_.integer({"big"}, INT64_MIN, INT64_MAX); });
  for (const char* key : {"f", "t", "s", "o", "a", "huge"}) {
    expect(Fault::range, key, [&] { object_.integer({key}, INT64_MIN, INT64_MAX); });
  }
  expect(Fault::format, "absent", [&] { object_.integer({"absent", "other"}, 0, 1); });
}

TEST_F(Getters, OtherTypes) {
  EXPECT_EQ(object_.number({"i"}, 0, 10), 5.0);
  EXPECT_EQ(object_.number_or({"absent"}, 0, 10, 2.5), 2.5);
  expect(Fault::range, "huge", [&] { object_.number({"huge"}, 0, 1e200); });
  expect(Fault::range, "s", [&] { object_.number({"s"}, 0, 1); });
  EXPECT_TRUE(object_.boolean_or({"t"}, false));
  EXPECT_TRUE(object_.boolean_or({"n"}, true));
  expect(Fault::format, "i", [&] { object_.boolean_or({"i"}, true); });
  EXPECT_EQ(object_.string({"s"}), "text");
  EXPECT_EQ(object_.string_or({"absent"}, "other"), "other");
  expect(Fault::format, "i", [&] { object_.string({"i"}); });
  expect(Fault::format, "absent", [&] { object_.string({"absent"}); });
}

TEST_F(Getters, Objects) {
  EXPECT_EQ(object_.object({"o"})->integer({"x"}, 0, 1), 1);
  EXPECT_FALSE(object_.object({"n"}).has_value());
  const Outcome found = outcome_of([&] { object_.object({"o"})->integer({"x"}, 5, 6); });
  EXPECT_NE(found.message.find("c.json: o: 'x' is 1, wanted an integer from 5 to 6"), std::string::npos)
      << found.message;
  EXPECT_EQ(outcome_of([&] { object_.object({"a"}); }).fault, Fault::format);
  EXPECT_EQ(outcome_of([&] { JsonObject((*json_)["a"], "a"); }).fault, Fault::format);
  std::string_view key;
  EXPECT_NE(object_.find({"absent", "s"}, &key), nullptr);
  EXPECT_EQ(key, "s");
  EXPECT_FALSE(object_.has({"n"}));
}

}  // namespace
}  // namespace gptq
