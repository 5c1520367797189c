// Tokens that are drawn on a device which keeps the logits: those that are drawn from all of them, and what is downloaded for it.
#include <gptq.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "support/test_data.h"

namespace {

using gptq::test::fs::path;

struct Sampling {
  double temperature = 0.6, top_p = 1, min_p = 0, penalty = 1;
  int64_t top_k = 0;
};

/// Draws on the plugin's device. The process is traced from the first one on.
class Sampled : public testing::Test {
 protected:
  static constexpr int kTokens = 6;

  Sampled() {
    EXPECT_EQ(setenv("GPTQ_PLUGIN_PATH", GPTQ_TEST_PLUGIN, 0), 0);
    EXPECT_EQ(setenv("GPTQ_TRACE", trace().c_str(), 1), 0);
    gptq_options* options = nullptr;
    EXPECT_EQ(gptq_options_create(&options), GPTQ_OK);
    EXPECT_EQ(gptq_options_set_string(options, GPTQ_KEY_DEVICE, "cuda"), GPTQ_OK);
    const path folder = gptq::test::source_dir() / "samples/model";
    EXPECT_EQ(gptq_model_load(folder.c_str(), options, &model_), GPTQ_OK) << gptq_last_error_message();
    EXPECT_EQ(gptq_model_get_int(model_, "vocab_size", &vocab_), GPTQ_OK) << gptq_last_error_message();
    EXPECT_EQ(unsetenv("GPTQ_TRACE"), 0);
    gptq_options_free(options);
  }
  ~Sampled() override { gptq_model_free(model_); }

  /// A session that is about to draw, behind a prompt of its own.
  gptq_session* begin(const Sampling& sampling) {
    gptq_options* options = nullptr;
    gptq_session* session = nullptr;
    const int32_t ids[] = {3, 1, static_cast<int32_t>(400 + sampling.top_p * 100), 1, 5};
    EXPECT_TRUE(gptq_session_create(model_, nullptr, &session) == GPTQ_OK &&
                gptq_session_append_tokens(session, ids, 5) == GPTQ_OK &&
                gptq_options_create(&options) == GPTQ_OK &&
                gptq_options_set_int(options, GPTQ_KEY_IGNORE_EOS, 1) == GPTQ_OK &&
                gptq_options_set_float(options, GPTQ_KEY_TEMPERATURE, sampling.temperature) == GPTQ_OK &&
                gptq_options_set_float(options, GPTQ_KEY_TOP_P, sampling.top_p) == GPTQ_OK &&
                gptq_options_set_float(options, GPTQ_KEY_MIN_P, sampling.min_p) == GPTQ_OK &&
                gptq_options_set_float(options, GPTQ_KEY_REPETITION_PENALTY, sampling.penalty) == GPTQ_OK &&
                gptq_options_set_int(options, GPTQ_KEY_TOP_K, sampling.top_k) == GPTQ_OK &&
                gptq_options_set_int(options, GPTQ_KEY_SEED, 11) == GPTQ_OK &&
                gptq_session_begin(session, options) == GPTQ_OK)
        << gptq_last_error_message();
    gptq_options_free(options);
    return session;
  }

  std::vector<int32_t> draw(const Sampling& sampling) {
    gptq_session* const session = begin(sampling);
    std::vector<int32_t> tokens;
    while (tokens.size() < kTokens && gptq_session_step(session) == GPTQ_OK)
      tokens.push_back(gptq_session_token(session));
    gptq_session_free(session);
    return tokens;
  }

  /// Of each, by steps that they take together.
  std::vector<std::vector<int32_t>> draw_together(const std::vector<Sampling>& all) {
    std::vector<gptq_session*> sessions;
    for (const Sampling& sampling : all) sessions.push_back(begin(sampling));
    std::vector<std::vector<int32_t>> tokens(all.size());
    std::vector<gptq_status> statuses(all.size());
    for (int i = 0; i < kTokens; ++i) {
      EXPECT_EQ(gptq_session_step_all(sessions.data(), static_cast<int64_t>(all.size()), statuses.data()),
                GPTQ_OK)
          << gptq_last_error_message();
      for (size_t s = 0; s < all.size(); ++s) tokens[s].push_back(gptq_session_token(sessions[s]));
    }
    for (gptq_session* session : sessions) gptq_session_free(session);
    return tokens;
  }

  /// From all logits: a top_k that keeps them all wants them all.
  Sampling from_all(Sampling sampling) const {
    sampling.top_k = vocab_;
    return sampling;
  }

  /// How often an op has come in sessions that are over.
  static int64_t traced(const std::string& name) {
    const std::string text = gptq::test::read_file(trace()), event = "\"name\":\"" + name + "\"";
    int64_t count = 0;
    for (size_t at = text.find(event); at != std::string::npos; at = text.find(event, at + 1)) ++count;
    return count;
  }

 private:
  static const path& trace() {
    static const gptq::test::TemporaryFolder folder;
    static const path file = folder / "trace.json";
    return file;
  }

  gptq_model* model_ = nullptr;
  int64_t vocab_ = 0;
};

/// Mostly nothing is downloaded but what the step finds; with a penalty some logits are.
TEST_F(Sampled, WhatAllLogitsSay) {
  for (const Sampling& sampling : {Sampling{},
                                   {.top_p = 0.8},
                                   {.min_p = 0.1},
                                   {.top_p = 0.9, .min_p = 0.05, .penalty = 1.3},
                                   {.penalty = 2}}) {
    SCOPED_TRACE(testing::Message() << sampling.top_p << ' ' << sampling.min_p << ' ' << sampling.penalty);
    const int64_t sums = traced("exp_sums"), before = traced("download");
    const std::vector<int32_t> tokens = draw(sampling);
    const int64_t downloads = traced("download") - before, penalized = sampling.penalty > 1 ? kTokens : 0;
    EXPECT_EQ(tokens.size(), static_cast<size_t>(kTokens));
    EXPECT_GE(downloads, penalized);
    EXPECT_LE(downloads, penalized + 2);
    EXPECT_EQ(draw(from_all(sampling)), tokens);
    EXPECT_EQ(traced("download") - before, downloads + kTokens);
    EXPECT_EQ(traced("exp_sums") - sums, kTokens);
  }
}

/// Each at its own temperature, beside one that wants the best alone and one that wants some.
TEST_F(Sampled, TogetherWhatAllLogitsSay) {
  const std::vector<Sampling> some{{.temperature = 0},
                                   {.temperature = 0.5, .top_p = 0.9},
                                   {.temperature = 0.7, .penalty = 1.5},
                                   {.top_p = 0.7, .top_k = 30},
                                   {.temperature = 0.9, .min_p = 0.2}};
  std::vector<Sampling> all;
  for (const Sampling& sampling : some) all.push_back(from_all(sampling));
  const int64_t sums = traced("exp_sums");
  const std::vector<std::vector<int32_t>> tokens = draw_together(some);
  EXPECT_EQ(traced("exp_sums") - sums, 3 + kTokens - 1);  // alone at their beginning, then together
  all[3] = some[3];
  EXPECT_EQ(draw_together(all), tokens);
}

}  // namespace
