// The calls of a session in any order: a status for each, and a session that still writes what a fresh one does.
#include <gptq.h>
#include <gtest/gtest.h>

#include <array>
#include <random>
#include <string>

#include "support/test_data.h"

namespace {

constexpr int64_t kContext = 48;
constexpr int32_t kVocab = 4096;

class Caller {
 public:
  Caller(const gptq_model* model, unsigned seed) : random_(seed) {
    gptq_options_create(&options_);
    gptq_options_set_int(options_, GPTQ_KEY_CONTEXT_LENGTH, kContext);
    EXPECT_EQ(gptq_session_create(model, options_, &session_), GPTQ_OK) << gptq_last_error_message();
  }
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;
  ~Caller() {
    gptq_session_free(session_);
    gptq_options_free(options_);
  }

  gptq_status call() {
    switch (below(12)) {
      case 0: return append_text();
      case 1: return append_tokens();
      case 2: return gptq_session_prefill(session_, below(5) - 1);
      case 3:
      case 4: return begin();
      case 5: return below(4) == 0 ? gptq_session_reset(session_) : GPTQ_OK;
      case 6: return below(3) == 0 ? gptq_session_cancel(session_) : gptq_session_clear_cancel(session_);
      case 7: return logits();
      default: return gptq_session_step(session_);
    }
  }

  void check(gptq_status status) const {
    EXPECT_NE(status, GPTQ_ERROR_INTERNAL) << gptq_last_error_message();
    EXPECT_NE(status, GPTQ_ERROR_BUSY);
    EXPECT_NE(status, GPTQ_ERROR_OUT_OF_MEMORY);
    const int32_t token = gptq_session_token(session_);
    EXPECT_TRUE(token >= -1 && token < kVocab) << token;
    EXPECT_EQ(gptq_session_text(session_)[gptq_session_text_size(session_)], 0);
    EXPECT_LE(gptq_session_token_count(session_), kContext);
  }

  std::string story() {
    gptq_options_reset(options_);
    gptq_options_set_int(options_, GPTQ_KEY_MAX_TOKENS, 6);
    gptq_session_reset(session_);
    gptq_session_clear_cancel(session_);
    gptq_session_append_text(session_, "Once upon a time", -1);
    std::string text;
    for (gptq_status status = gptq_session_begin(session_, options_);
         status == GPTQ_OK && (status = gptq_session_step(session_)) == GPTQ_OK;)
      text += gptq_session_text(session_);
    return text;
  }

 private:
  int32_t below(int32_t bound) { return static_cast<int32_t>(random_() % static_cast<unsigned>(bound)); }

  gptq_status append_text() {
    constexpr std::array kTexts{"Once upon a time", "", "\xff\xfe", "\xf0\x9f\x99\x82", "</s>", " and then"};
    return gptq_session_append_text(session_, kTexts[static_cast<size_t>(below(kTexts.size()))], -1);
  }

  gptq_status append_tokens() {
    const std::array<int32_t, 3> ids{below(kVocab + 8) - 4, below(kVocab), 3};
    return gptq_session_append_tokens(session_, ids.data(), below(4));
  }

  gptq_status begin() {
    gptq_options_reset(options_);
    gptq_options_set_int(options_, GPTQ_KEY_SEED, below(1000));
    gptq_options_set_int(options_, GPTQ_KEY_IGNORE_EOS, below(2));
    if (below(2) == 0) gptq_options_set_float(options_, GPTQ_KEY_TEMPERATURE, 0.1 + below(3) * 10);
    if (below(3) == 0) gptq_options_set_int(options_, GPTQ_KEY_MAX_TOKENS, below(5));
    if (below(3) == 0) gptq_options_set_int(options_, GPTQ_KEY_TOP_K, below(9));
    if (below(3) == 0) gptq_options_set_float(options_, GPTQ_KEY_TOP_P, 0.5);
    if (below(3) == 0) gptq_options_set_float(options_, GPTQ_KEY_MIN_P, 0.1);
    if (below(3) == 0) gptq_options_set_float(options_, GPTQ_KEY_REPETITION_PENALTY, 1.3);
    return gptq_session_begin(session_, options_);
  }

  gptq_status logits() {
    gptq_buffer* buffer = nullptr;
    const gptq_status status = gptq_session_logits(session_, &buffer);
    EXPECT_EQ(gptq_buffer_size(buffer) % (kVocab * int64_t{sizeof(float)}), 0);
    gptq_buffer_free(buffer);
    return status;
  }

  std::mt19937 random_;
  gptq_options* options_ = nullptr;
  gptq_session* session_ = nullptr;
};

TEST(Order, ASessionTakesItsCallsInAnyOrder) {
  gptq_model* model = nullptr;
  const std::string path = (gptq::test::source_dir() / "samples/model").string();
  ASSERT_EQ(gptq_model_load(path.c_str(), nullptr, &model), GPTQ_OK) << gptq_last_error_message();
  const std::string expected = Caller(model, 0).story();
  EXPECT_FALSE(expected.empty());
  for (unsigned seed = 1; seed <= 150 && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    Caller caller(model, seed);
    for (int i = 0; i < 60 && !HasFailure(); ++i) caller.check(caller.call());
    EXPECT_EQ(caller.story(), expected);
  }
  gptq_model_free(model);
}

}  // namespace
