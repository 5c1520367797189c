// Texts that end a generation, however the text is cut.
#include "text/stop_strings.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace gptq::test {
namespace {

using More = StopStrings::More;

/// What comes before the stop string that is complete first, the longest of those; all if none is.
std::string wanted(const std::string& text, const std::vector<std::string>& strings) {
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t longest = 0;
    for (const std::string& string : strings) {
      if (text.substr(0, end).ends_with(string)) longest = std::max(longest, string.size());
    }
    if (longest > 0) return text.substr(0, end - longest);
  }
  return text;
}

struct Read {
  std::string text;
  bool stopped = false;
};

/// In pieces of 0 to `most` bytes.
template <class Random>
Read read(const std::string& text, const std::vector<std::string>& strings, size_t most, Random& random) {
  StopStrings stop(strings);
  Read result;
  size_t at = 0;
  while (at < text.size()) {
    const size_t size = std::min(random() % (most + 1), text.size() - at);
    auto seen = stop.look(text.substr(at, size), More::may_come);
    at += size;
    result.text += seen.text;
    result.stopped = seen.stopped;
    if (result.stopped) return result;
    EXPECT_EQ(result.text + seen.held, text.substr(0, at));
    EXPECT_TRUE(seen.held.empty() ||
                std::any_of(strings.begin(), strings.end(),
                            [&](const std::string& s) { return s.starts_with(seen.held); }))
        << seen.held;
    stop.keep(std::move(seen));
  }
  const auto seen = stop.look("", More::ends);
  EXPECT_EQ(seen.held, "");
  result.text += seen.text;
  result.stopped = seen.stopped;
  return result;
}

TEST(StopStrings, EndATextHoweverItIsCut) {
  std::mt19937 random(1);
  const auto any = [&](size_t least, size_t most) {
    std::string text(least + random() % (most - least + 1), 'a');
    for (char& c : text) c = static_cast<char>('a' + random() % 2);
    return text;
  };
  int stopped = 0;
  constexpr int kRounds = 4000;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<std::string> strings(random() % 4);
    for (std::string& string : strings) string = any(1, 8);
    const std::string text = any(0, 40);
    const Read got = read(text, strings, 1 + random() % 12, random);
    ASSERT_EQ(got.text, wanted(text, strings));
    ASSERT_EQ(got.stopped, got.text != text);
    stopped += got.stopped ? 1 : 0;
  }
  EXPECT_GT(stopped, kRounds / 4);
  EXPECT_LT(stopped, 3 * kRounds / 4);
}

TEST(StopStrings, HoldOnlyWhatMayBeTheBeginningOfOne) {
  StopStrings stop({"\nUser:", "end"});
  const auto next = [&](const char* piece) {
    auto seen = stop.look(piece, More::may_come);
    std::string text = seen.text;
    stop.keep(std::move(seen));
    return text;
  };
  EXPECT_EQ(next("Well"), "Well");
  EXPECT_EQ(next(", the "), ", the ");
  EXPECT_EQ(next("e"), "");
  EXPECT_EQ(next("n"), "");
  EXPECT_EQ(next("g"), "eng");
  EXPECT_EQ(next("\n"), "");
  EXPECT_EQ(next("\nUse"), "\n");
  EXPECT_EQ(stop.look("r", More::ends).text, "\nUser");
  EXPECT_EQ(stop.look("r: no", More::may_come).text, "");
  EXPECT_TRUE(stop.look("r: no", More::may_come).stopped);
}

}  // namespace
}  // namespace gptq::test
