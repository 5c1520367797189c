#include "quant/calibration.h"

#include <set>

#include "base/error.h"
#include "support/reference.h"

namespace gptq::test {
namespace {

std::shared_ptr<const Tokenizer> tokenizer() { return Tokenizer::load(source_dir() / "samples/model"); }

std::string text() { return read_file(source_dir() / "samples/stories.txt"); }

TEST(Calibration, CutsConsecutiveSequences) {
  const auto ids = tokenizer()->encode(text(), AddSpecial::yes, ParseSpecial::yes);
  const Sequences sequences = cut_text(*tokenizer(), text(), 5, 100, std::nullopt, 4096);
  ASSERT_EQ(sequences.size(), 5u);
  for (size_t s = 0; s < 5; ++s) {
    EXPECT_EQ(sequences[s], std::vector<int32_t>(ids.begin() + static_cast<int64_t>(s) * 100,
                                                 ids.begin() + static_cast<int64_t>(s + 1) * 100));
  }
}

TEST(Calibration, DrawsAtRandomWithoutRepetition) {
  const Sequences all = cut_text(*tokenizer(), text(), 1000, 50, std::nullopt, 4096);
  const Sequences drawn = cut_text(*tokenizer(), text(), 8, 50, 1, 4096);
  ASSERT_EQ(drawn.size(), 8u);
  EXPECT_EQ(std::set(drawn.begin(), drawn.end()).size(), 8u);
  for (const auto& sequence : drawn) EXPECT_NE(std::find(all.begin(), all.end(), sequence), all.end());
  EXPECT_EQ(drawn, cut_text(*tokenizer(), text(), 8, 50, 1, 4096));
  EXPECT_NE(drawn, cut_text(*tokenizer(), text(), 8, 50, 2, 4096));
  EXPECT_NE(drawn, Sequences(all.begin(), all.begin() + 8));
}

TEST(Calibration, ShortTexts) {
  const Sequences one =
      cut_text(*tokenizer(), "Once upon a time there was a cat.", 128, 512, std::nullopt, 4096);
  ASSERT_EQ(one.size(), 1u);
  EXPECT_LT(one[0].size(), 20u);
  try {
    cut_text(*tokenizer(), "", 1, 10, std::nullopt, 4096);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::invalid_argument);
  }
}

TEST(Calibration, IdsBeyondTheEmbedding) {
  try {
    cut_text(*tokenizer(), text(), 1, 100, std::nullopt, 300);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::range);
  }
}

}  // namespace
}  // namespace gptq::test
