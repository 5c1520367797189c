#include "session/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "base/error.h"

namespace gptq {
namespace {

constexpr int kDraws = 200'000;

/// Share of each token over many draws.
std::map<int32_t, double> shares(const SamplerOptions& options, const std::vector<float>& logits) {
  Sampler sampler(options);
  std::map<int32_t, double> result;
  for (int i = 0; i < kDraws; ++i) result[sampler.sample(logits, {})] += 1.0 / kDraws;
  return result;
}

const std::vector<float> kLogits{std::log(0.5f), std::log(0.3f), std::log(0.15f), std::log(0.05f)};

TEST(Sampler, GreedyTakesTheFirstOfEqualBest) {
  Sampler sampler({});
  EXPECT_EQ(sampler.sample(std::vector<float>{1, 3, 3, 2}, {}), 1);
  EXPECT_EQ(argmax(std::vector<float>{-5, -5}), 0);
}

/// The largest logits as a backend finds them.
std::vector<Ranked> largest_of(const std::vector<float>& logits, int64_t count) {
  const auto backend = create_backend("cpu", {.threads = 1});
  std::vector<float> row = logits;
  std::vector<Ranked> out(static_cast<size_t>(count));
  backend->create_stream(nullptr)->largest(
      {reinterpret_cast<std::byte*>(row.data()), 1, static_cast<int64_t>(row.size())}, count, out);
  return out;
}

/// Ties, tokens of the history among the best, infinities: with every set of options the same tokens, draw by draw.
TEST(Sampler, TheLargestAreEnough) {
  Random random(9);
  std::vector<float> logits(500);
  for (float& v : logits) v = static_cast<float>(random.below(41)) / 4 - 5;
  const std::vector<int32_t> history{3, 7, 7, 100, 450, 451, 452, 453, 12};
  for (size_t i : {7u, 100u, 450u, 200u}) logits[i] = 6;
  for (const float special : {0.0f, -INFINITY, INFINITY}) {
    if (special != 0) logits[33] = logits[12] = special;
    for (double temperature : {0.0, 0.7, 30.0}) {
      for (int64_t top_k : {1, 2, 40}) {
        for (double top_p : {1.0, 0.6}) {
          for (double penalty : {1.0, 1.3, 100.0}) {
            const SamplerOptions options{.temperature = temperature,
                                         .top_k = top_k,
                                         .top_p = top_p,
                                         .min_p = top_p < 1 ? 0.2 : 0.0,
                                         .repetition_penalty = penalty,
                                         .seed = 4};
            Sampler all(options), some(options);
            const int64_t enough = some.enough(history, 1024);
            ASSERT_EQ(enough, (temperature == 0 ? 1 : top_k) + (penalty == 1 ? 0 : 8));
            const std::vector<Ranked> largest = largest_of(logits, enough);
            for (int i = 0; i < 30; ++i)
              ASSERT_EQ(some.sample(largest, history), all.sample(logits, history))
                  << temperature << ' ' << top_k << ' ' << top_p << ' ' << penalty;
          }
        }
      }
    }
  }
}

double exp_sum_of(const std::vector<float>& logits, double temperature) {
  const auto backend = create_backend("cpu", {.threads = 1});
  std::vector<float> row = logits;
  double sum = 0;
  backend->create_stream(nullptr)->exp_sums(
      {reinterpret_cast<std::byte*>(row.data()), 1, static_cast<int64_t>(row.size())}, {&temperature, 1},
      {&sum, 1});
  return sum;
}

/// Logits of a vocabulary: few that stand out, many that are alike, and ties.
std::vector<float> some_logits(size_t vocab, float spread, float step) {
  Random random(vocab);
  std::vector<float> logits(vocab);
  for (float& v : logits)
    v = step * std::round(spread * static_cast<float>(random.uniform() + random.uniform() - 1) / step);
  return logits;
}

/// What a device tells `sampler` of them.
KnownLogits known_of(const std::vector<float>& logits, Sampler& sampler,
                     const std::vector<int32_t>& history) {
  const auto count = std::min(static_cast<int64_t>(logits.size()) - 1, Sampler::kLikeliest);
  KnownLogits known{.largest = largest_of(logits, count),
                    .exp_sum = exp_sum_of(logits, sampler.sum_temperature()),
                    .penalized = {}};
  for (int32_t id : sampler.penalized(history)) known.penalized.push_back(logits[static_cast<size_t>(id)]);
  return known;
}

/// So many draws, token by token as from all logits; how many of them what is known has said.
int64_t known_draws(const SamplerOptions& options, const std::vector<float>& logits,
                    const std::vector<int32_t>& history, int draws) {
  Sampler all(options), some(options);
  const KnownLogits known = known_of(logits, some, history);
  int64_t said = 0;
  for (int i = 0; i < draws; ++i) {
    const std::optional<int32_t> token = some.sample(known, history);
    said += token.has_value();
    EXPECT_EQ(token ? *token : some.sample(logits, history), all.sample(logits, history)) << "draw " << i;
  }
  return said;
}

/// The likeliest and the sum of all say the token that all logits say, draw by draw, or that they don't know.
TEST(Sampler, TheLikeliestMostlySayTheToken) {
  int64_t said = 0, draws = 0;
  for (const size_t vocab : {2u, 20u, 257u, 3000u}) {
    for (const float spread : {0.0f, 1.0f, 12.0f, 60.0f}) {
      std::vector<float> logits = some_logits(vocab, spread, spread > 1 ? 0.125f : 1e-3f);
      if (vocab == 257) logits[5] = logits[9] = -INFINITY;
      std::vector<int32_t> history{1, 0, 1};
      for (const Ranked& r : largest_of(logits, std::min<int64_t>(static_cast<int64_t>(vocab), 30)))
        if (r.column % 3 != 0) history.push_back(r.column);
      for (const double temperature : {0.3, 1.0, 30.0}) {
        for (const double top_p : {1.0, 0.999, 0.9, 0.3}) {
          for (const double min_p : {0.0, 0.02, 0.5, 1.0}) {
            for (const double penalty : {1.0, 1.05, 2.0}) {
              const SamplerOptions options{.temperature = temperature,
                                           .top_p = top_p,
                                           .min_p = min_p,
                                           .repetition_penalty = penalty,
                                           .seed = vocab};
              said += known_draws(options, logits, history, 8);
              draws += 8;
              ASSERT_FALSE(HasFailure()) << vocab << ' ' << spread << ' ' << temperature << ' ' << top_p
                                         << ' ' << min_p << ' ' << penalty;
            }
          }
        }
      }
    }
  }
  EXPECT_GT(said, draws / 2);
  EXPECT_LT(said, draws);
}

/// As of a language model: nearly all that is likely is among them, however large the vocabulary; and with the penalty, too,
/// if it does not take nearly all.
TEST(Sampler, TheLikeliestSayTheTokenOfSteepLogits) {
  std::vector<float> logits(50'000);
  const auto rank = [&](size_t i) { return i * 7919 % logits.size(); };
  for (size_t i = 0; i < logits.size(); ++i) logits[rank(i)] = -2.0f * std::log(1.0f + static_cast<float>(i));
  std::vector<int32_t> history;
  for (size_t i = 0; i < 3000; i += 2) history.push_back(static_cast<int32_t>(rank(i)));
  SamplerOptions options{.temperature = 1, .seed = 3};
  EXPECT_GE(known_draws(options, logits, history, 300), 290);
  options.repetition_penalty = 1.5;
  EXPECT_GE(known_draws(options, logits, history, 300), 290);
  options.top_p = 0.9;
  EXPECT_EQ(known_draws(options, logits, history, 300), 300);
  logits[rank(0)] = 30;
  options = {.temperature = 1, .repetition_penalty = 100, .seed = 3};
  EXPECT_EQ(known_draws(options, logits, history, 20), 0);
}

TEST(Sampler, TheLikeliestSayWhatIsNoNumber) {
  std::vector<float> logits(600, 1.0f);
  Sampler sampler({.temperature = 1, .repetition_penalty = 1.1});
  const std::vector<int32_t> history{500};
  const auto token = [&] { return sampler.sample({largest_of(logits, 256), NAN, {1.0f}}, history); };
  logits[500] = logits[550] = INFINITY;
  EXPECT_EQ(token(), 500);
  logits[511] = NAN;
  EXPECT_THROW(static_cast<void>(token()), Error);
  logits.assign(600, -INFINITY);
  EXPECT_EQ(token(), 0);
}

TEST(Sampler, SaysWhenASumIsOfUse) {
  const std::vector<int32_t> history{4, 2, 4};
  EXPECT_EQ(Sampler({}).sum_temperature(), 0);
  EXPECT_EQ(Sampler({.temperature = 0.5, .top_p = 0.9}).sum_temperature(), 0.5);
  EXPECT_EQ(Sampler({.temperature = 1, .top_k = 2000}).sum_temperature(), 0);
  EXPECT_EQ(Sampler({.temperature = 2, .repetition_penalty = 1.1}).sum_temperature(), 2);
  EXPECT_EQ(Sampler({.temperature = 1, .repetition_penalty = 0.9}).sum_temperature(), 0);
  EXPECT_EQ(Sampler({.temperature = 1}).penalized(history).size(), 0u);
  EXPECT_EQ(Sampler({.temperature = 1, .repetition_penalty = 1.1}).penalized(history).size(), 2u);
}

TEST(Sampler, SaysWhenAllLogitsAreWanted) {
  const std::vector<int32_t> history{1, 2};
  EXPECT_EQ(Sampler({.temperature = 1}).enough(history, 1024), 0);
  EXPECT_EQ(Sampler({.temperature = 1, .top_p = 0.5}).enough(history, 1024), 0);
  EXPECT_EQ(Sampler({.repetition_penalty = 0.9}).enough(history, 1024), 0);
  EXPECT_EQ(Sampler({}).enough(history, 1024), 1);
  EXPECT_EQ(Sampler({.temperature = 1, .top_k = 1024}).enough(history, 1024), 1024);
  EXPECT_EQ(Sampler({.temperature = 1, .top_k = 1025}).enough(history, 1024), 0);
  EXPECT_EQ(Sampler({.temperature = 1, .top_k = 1024, .repetition_penalty = 1.5}).enough(history, 1024), 0);
}

TEST(Sampler, TheLargestSayWhatIsNoNumber) {
  std::vector<float> logits(20, 1.0f);
  logits[15] = logits[11] = NAN;
  Sampler sampler({});
  try {
    sampler.sample(largest_of(logits, 1), {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("token 11 is NaN"), std::string::npos) << error.what();
  }
}

TEST(Sampler, DrawsFromTheDistribution) {
  const auto s = shares({.temperature = 1, .seed = 7}, kLogits);
  EXPECT_NEAR(s.at(0), 0.5, 0.005);
  EXPECT_NEAR(s.at(1), 0.3, 0.005);
  EXPECT_NEAR(s.at(2), 0.15, 0.005);
  EXPECT_NEAR(s.at(3), 0.05, 0.005);
}

TEST(Sampler, TemperatureSharpens) {
  const auto s = shares({.temperature = 0.5, .seed = 7}, kLogits);  // proportional to p^2
  EXPECT_NEAR(s.at(0), 0.25 / 0.365, 0.005);
}

TEST(Sampler, TopKKeepsK) {
  const auto s = shares({.temperature = 1, .top_k = 2, .seed = 1}, kLogits);
  EXPECT_EQ(s.size(), 2u);
  EXPECT_NEAR(s.at(0), 0.625, 0.005);
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  EXPECT_EQ(shares({.temperature = 1, .top_p = 0.5, .seed = 1}, kLogits).size(), 1u);
  EXPECT_EQ(shares({.temperature = 1, .top_p = 0.51, .seed = 1}, kLogits).size(), 2u);
  EXPECT_EQ(shares({.temperature = 1, .top_p = 0.95, .seed = 1}, kLogits).size(), 3u);
}

TEST(Sampler, TopPOverManyTokens) {
  std::vector<float> logits(5000);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(i % 7) * 0.01f;
  Sampler sampler({.temperature = 1, .top_p = 0.999, .seed = 3});
  for (int i = 0; i < 20; ++i) EXPECT_LT(sampler.sample(logits, {}), 5000);
}

TEST(Sampler, MinPDropsBelowAPartOfTheBest) {
  EXPECT_EQ(shares({.temperature = 1, .min_p = 0.2, .seed = 1}, kLogits).size(), 3u);
  EXPECT_EQ(shares({.temperature = 1, .min_p = 1.0, .seed = 1}, kLogits).size(), 1u);
}

TEST(Sampler, RepetitionPenaltyLowersBothSigns) {
  Sampler sampler({.repetition_penalty = 2});
  EXPECT_EQ(sampler.sample(std::vector<float>{3, 2, -1}, std::vector<int32_t>{0, 0}), 1);
  EXPECT_EQ(sampler.sample(std::vector<float>{-3, -2}, std::vector<int32_t>{1}), 0);
}

TEST(Sampler, EqualSeedsEqualTokens) {
  Sampler a({.temperature = 1, .seed = 5}), b({.temperature = 1, .seed = 5}),
      c({.temperature = 1, .seed = 6});
  bool differs = false;
  for (int i = 0; i < 100; ++i) {
    const int32_t token = a.sample(kLogits, {});
    EXPECT_EQ(token, b.sample(kLogits, {}));
    differs |= token != c.sample(kLogits, {});
  }
  EXPECT_TRUE(differs);
}

TEST(Sampler, NanIsAnErrorInfinityIsNot) {
  Sampler sampler({.temperature = 1});
  EXPECT_THROW(sampler.sample(std::vector<float>{0, std::nanf("")}, {}), Error);
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(sampler.sample(std::vector<float>{0, inf}, {}), 1);
  EXPECT_EQ(sampler.sample(std::vector<float>{-inf, 0, -inf}, {}), 1);
}

}  // namespace
}  // namespace gptq
