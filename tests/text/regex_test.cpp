// Regular expressions: what Oniguruma means, in the places where PCRE2 means something else.
#include "text/regex.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace gptq::test {
namespace {

std::vector<std::string> matches(std::string_view pattern, std::string_view text) {
  const Regex regex(pattern, PatternKind::regex, "test");
  RegexMatcher matcher;
  RegexMatches all(regex, matcher, text);
  std::vector<std::string> out;
  size_t begin = 0, end = 0;
  while (all.next(&begin, &end)) out.emplace_back(text.substr(begin, end - begin));
  return out;
}

using Texts = std::vector<std::string>;

TEST(Regex, SpaceIsUnicodeWhiteSpace) {
  EXPECT_EQ(matches("\\s", "a\xC2\x85 b"), (Texts{"\xC2\x85", " "}));
  EXPECT_EQ(matches("[\\s]", "\xE1\xA0\x8E"), Texts{}) << "U+180E";
  EXPECT_EQ(matches("[^\\S\\n]", " \n\xE3\x80\x80"), (Texts{" ", "\xE3\x80\x80"}));
  EXPECT_EQ(matches("\\S+",
                    "a\x1C"
                    "b c"),
            (Texts{"a\x1C"
                   "b",
                   "c"}));
}

TEST(Regex, WordCharacters) {
  EXPECT_EQ(matches("\\w+", "a\xCC\x81_1\xC2\xBD x"), (Texts{"a\xCC\x81_1\xC2\xBD", "x"}));
  EXPECT_EQ(matches("\\w", "\xE2\x82\x80"), Texts{}) << "U+2080";
  EXPECT_EQ(matches("[\\w]", "\xC2\xBD"), Texts{}) << "in a set";
  EXPECT_EQ(matches("\\w", "\xE2\x80\x8D"), Texts{}) << "U+200D";
  EXPECT_EQ(matches("\\b.", "ab cd"), (Texts{"a", " ", "c"}));
}

TEST(Regex, LinesAlwaysHaveEnds) {
  EXPECT_EQ(matches("\\s+$", "a \nb "), (Texts{" ", " "}));
  EXPECT_EQ(matches("^.", "a\nb"), (Texts{"a", "b"}));
  EXPECT_EQ(matches("(?m:a.b)", "a\nb"), Texts{"a\nb"}) << "m is what others call s";
}

TEST(Regex, Intervals) {
  EXPECT_EQ(matches("a{,2}b", "aaab"), Texts{"aab"});
  EXPECT_EQ(matches("a{1,2}+a", "aaa"), Texts{"aaa"}) << "not possessive";
  EXPECT_EQ(matches("a++a", "aaa"), Texts{}) << "possessive";
  EXPECT_EQ(matches("a{x", "a{x"), Texts{"a{x"});
}

TEST(Regex, CaseWithoutRegardAndHex) {
  EXPECT_EQ(matches("(?i:'s)", "'S 's '\xC5\xBF"), (Texts{"'S", "'s", "'\xC5\xBF"}));
  EXPECT_EQ(matches("\\h+", "xFFg0"), (Texts{"FF", "0"}));
  EXPECT_EQ(matches("\\u4e2d", "\xE4\xB8\xAD"), Texts{"\xE4\xB8\xAD"});
}

TEST(Regex, EmptyMatchesAdvance) {
  EXPECT_EQ(matches("x*", "a\xC3\xA9"), (Texts{"", "", ""}));
  EXPECT_EQ(matches("b*", "abb"), (Texts{"", "bb"}));
}

TEST(Regex, LiteralsMeanThemselves) {
  const Regex regex("a.[", PatternKind::literal, "test");
  RegexMatcher matcher;
  size_t begin = 0, end = 0;
  ASSERT_TRUE(matcher.find(regex, "xa.[", 0, &begin, &end));
  EXPECT_EQ(begin, 1u);
  EXPECT_EQ(end, 4u);
  EXPECT_FALSE(matcher.find(regex, "abc", 0, &begin, &end));
}

}  // namespace
}  // namespace gptq::test
