// Steps of several sessions of a model together: each token is the one that its own logits say, and these are those of the
// same text in a session of its own.
#include <gptq.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "support/test_data.h"

namespace {

/// Of a session, as far as it has come.
struct Conversation {
  std::vector<int32_t> ids;
  gptq_session* session = nullptr;
};

std::vector<float> logits_of(const gptq_session* session) {
  gptq_buffer* buffer = nullptr;
  EXPECT_EQ(gptq_session_logits(session, &buffer), GPTQ_OK) << gptq_last_error_message();
  const auto* const values = static_cast<const float*>(gptq_buffer_data(buffer));
  const std::vector<float> logits(values,
                                  values + gptq_buffer_size(buffer) / static_cast<int64_t>(sizeof(float)));
  gptq_buffer_free(buffer);
  return logits;
}

/// Of the text but for its last token, taken at once.
std::vector<float> logits_alone(const gptq_model* model, const gptq_options* options,
                                const std::vector<int32_t>& ids) {
  gptq_session* session = nullptr;
  EXPECT_EQ(gptq_session_create(model, options, &session), GPTQ_OK) << gptq_last_error_message();
  EXPECT_EQ(gptq_session_append_tokens(session, ids.data(), static_cast<int64_t>(ids.size()) - 1), GPTQ_OK);
  EXPECT_EQ(gptq_session_prefill(session, GPTQ_LOGITS_LAST), GPTQ_OK) << gptq_last_error_message();
  const std::vector<float> logits = logits_of(session);
  gptq_session_free(session);
  return logits;
}

/// Root of the mean square of what differs, to that of what is wanted about its mean.
double distance(const std::vector<float>& got, const std::vector<float>& want) {
  double mean = 0, difference = 0, spread = 0;
  for (const float x : want) mean += double{x} / static_cast<double>(want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    difference += std::pow(double{got[i]} - want[i], 2);
    spread += std::pow(want[i] - mean, 2);
  }
  return std::sqrt(difference / spread);
}

void expect_joint_steps(const std::string& name, const char* device) {
  SCOPED_TRACE(name + " on " + device);
  const std::string folder = (gptq::test::source_dir() / "tests/golden/models" / name).string();
  gptq_options* options = nullptr;
  gptq_model* model = nullptr;
  ASSERT_EQ(gptq_options_create(&options), GPTQ_OK);
  ASSERT_EQ(gptq_options_set_string(options, GPTQ_KEY_DEVICE, device), GPTQ_OK);
  ASSERT_EQ(gptq_options_set_int(options, GPTQ_KEY_IGNORE_EOS, 1), GPTQ_OK);
  ASSERT_EQ(gptq_options_set_int(options, GPTQ_KEY_THREADS, 1), GPTQ_OK);
  ASSERT_EQ(gptq_model_load(folder.c_str(), options, &model), GPTQ_OK) << gptq_last_error_message();
  int64_t vocab = 0;
  gptq_model_get_int(model, "vocab_size", &vocab);
  std::vector<Conversation> all;
  const bool learned = name == "gpt2";  // as many positions as there are
  ASSERT_EQ(gptq_options_set_int(options, GPTQ_KEY_CONTEXT_LENGTH, learned ? 0 : 100), GPTQ_OK);
  for (const int64_t prompt : {2, 9, learned ? 30 : 62}) {  // the last goes on to another page
    Conversation one;
    for (int64_t i = 0; i < prompt; ++i)
      one.ids.push_back(static_cast<int32_t>((i * i * 13 + 5 * i + prompt) % vocab));
    ASSERT_EQ(gptq_session_create(model, options, &one.session), GPTQ_OK) << gptq_last_error_message();
    ASSERT_EQ(gptq_session_append_tokens(one.session, one.ids.data(), prompt), GPTQ_OK);
    ASSERT_EQ(gptq_session_begin(one.session, options), GPTQ_OK) << gptq_last_error_message();
    all.push_back(std::move(one));
  }
  for (int round = 0; round < 5; ++round) {
    std::rotate(all.begin(), all.begin() + 1, all.end());  // another one's pipeline
    std::vector<gptq_session*> sessions;
    const size_t count = round == 3 ? 2 : all.size();
    for (size_t i = 0; i < count; ++i) sessions.push_back(all[i].session);
    std::vector<gptq_status> statuses(count);
    ASSERT_EQ(gptq_session_step_all(sessions.data(), static_cast<int64_t>(count), statuses.data()), GPTQ_OK)
        << gptq_last_error_message();
    for (size_t i = 0; i < count; ++i) {
      ASSERT_EQ(statuses[i], GPTQ_OK) << gptq_session_error_message(all[i].session);
      all[i].ids.push_back(gptq_session_token(all[i].session));
    }
    for (size_t i = 0; i < count && round % 3 == 1; ++i) {
      const std::vector<float> logits = logits_of(all[i].session);
      ASSERT_EQ(static_cast<int64_t>(logits.size()), vocab);
      EXPECT_EQ(all[i].ids.back(), std::max_element(logits.begin(), logits.end()) - logits.begin());
      EXPECT_LE(distance(logits, logits_alone(model, options, all[i].ids)), 0.05) << "round " << round;
    }
  }
  for (const Conversation& one : all) gptq_session_free(one.session);
  gptq_options_free(options);
  gptq_model_free(model);
}

TEST(JointSteps, PredictWhatEachPredictsAlone) {
  ASSERT_EQ(setenv("GPTQ_PLUGIN_PATH", GPTQ_TEST_PLUGIN, 0), 0);
  for (const char* name : {"llama", "gpt2", "gptq-b4-g16-v2-asym-actorder", "qwen3-next-dense-first",
                           "granitemoe", "minicpm3", "qwen2-window"})
    expect_joint_steps(name, "cuda");
  expect_joint_steps("llama", "cuda,cpu");
  expect_joint_steps("qwen3-next-dense-first", "cpu,cuda");
}

}  // namespace
