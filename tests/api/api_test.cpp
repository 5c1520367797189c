// The C interface on the sample model: arguments, errors, ownership, options, threads.
#include <gptq.h>

#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "support/test_data.h"

namespace {

using gptq::test::source_dir;

std::string sample_path() { return (source_dir() / "samples/model").string(); }

struct ModelHandle {
  gptq_model* model = nullptr;
  ModelHandle() {
    EXPECT_EQ(gptq_model_load(sample_path().c_str(), nullptr, &model), GPTQ_OK) << gptq_last_error_message();
  }
  ~ModelHandle() { gptq_model_free(model); }
};

std::string take_text(gptq_buffer* buffer) {
  std::string text(static_cast<const char*>(gptq_buffer_data(buffer)),
                   static_cast<size_t>(gptq_buffer_size(buffer)));
  gptq_buffer_free(buffer);
  return text;
}

std::string generate(gptq_session* session, gptq_options* options) {
  std::string text;
  gptq_status status = gptq_session_begin(session, options);
  while (status == GPTQ_OK && (status = gptq_session_step(session)) == GPTQ_OK)
    text += gptq_session_text(session);
  EXPECT_EQ(status, GPTQ_DONE) << gptq_session_error_message(session);
  return text;
}

TEST(Api, Versions) {
  EXPECT_EQ(gptq_version(), 1000);
  EXPECT_STREQ(gptq_version_string(), "0.1.0");
  EXPECT_EQ(gptq_has_feature("quantize"), 1);
  EXPECT_EQ(gptq_has_feature("teleport"), 0);
  EXPECT_EQ(gptq_has_feature(nullptr), 0);
  EXPECT_NE(std::string(gptq_build_info()).find("0.1.0"), std::string::npos);
  EXPECT_STREQ(gptq_status_name(GPTQ_ERROR_CORRUPT), "GPTQ_ERROR_CORRUPT");
  EXPECT_NE(gptq_status_name(-12345), nullptr);
}

TEST(Api, EveryFunctionTakesNull) {
  gptq_buffer* buffer = reinterpret_cast<gptq_buffer*>(1);
  gptq_model* model = reinterpret_cast<gptq_model*>(1);
  gptq_session* session = reinterpret_cast<gptq_session*>(1);
  gptq_quantizer* quantizer = reinterpret_cast<gptq_quantizer*>(1);
  const char* text = "x";
  int64_t number = 1;
  int32_t id = 1;
  double figure = 1;
  const gptq_status bad = GPTQ_ERROR_INVALID_ARGUMENT;
  EXPECT_EQ(gptq_options_create(nullptr), bad);
  EXPECT_EQ(gptq_options_set_int(nullptr, "bits", 4), bad);
  EXPECT_EQ(gptq_options_set_float(nullptr, "top_p", 1), bad);
  EXPECT_EQ(gptq_options_set_string(nullptr, "order", "act"), bad);
  EXPECT_EQ(gptq_options_set_json(nullptr, "{}", -1), bad);
  EXPECT_EQ(gptq_options_get_json(nullptr, &buffer), bad);
  EXPECT_EQ(buffer, nullptr);
  EXPECT_EQ(gptq_options_set_progress(nullptr, nullptr, nullptr), bad);
  EXPECT_EQ(gptq_options_set_executor(nullptr, nullptr, nullptr), bad);
  EXPECT_EQ(gptq_options_reset(nullptr), bad);
  EXPECT_EQ(gptq_option_describe(0, nullptr), bad);
  EXPECT_EQ(gptq_option_describe(-1, &buffer), bad);
  EXPECT_EQ(gptq_buffer_data(nullptr), nullptr);
  EXPECT_EQ(gptq_buffer_size(nullptr), 0);
  EXPECT_EQ(gptq_model_load(nullptr, nullptr, &model), bad);
  EXPECT_EQ(model, nullptr);
  EXPECT_EQ(gptq_model_load("x", nullptr, nullptr), bad);
  EXPECT_EQ(gptq_model_retain(nullptr), bad);
  EXPECT_EQ(gptq_model_get_int(nullptr, "bits", &number), bad);
  EXPECT_EQ(number, 0);
  EXPECT_EQ(gptq_model_get_string(nullptr, "path", &text), bad);
  EXPECT_EQ(text, nullptr);
  EXPECT_EQ(gptq_model_metadata_json(nullptr, &buffer), bad);
  EXPECT_EQ(gptq_model_tokenize(nullptr, "x", -1, 0, &buffer), bad);
  EXPECT_EQ(gptq_model_detokenize(nullptr, &id, 1, 0, &buffer), bad);
  EXPECT_EQ(gptq_model_token_text(nullptr, 0, &buffer), bad);
  EXPECT_EQ(gptq_model_apply_chat_template(nullptr, "[]", -1, &buffer), bad);
  EXPECT_EQ(gptq_model_tokenize_chat(nullptr, "[]", -1, 0, &buffer), bad);
  EXPECT_EQ(gptq_model_sampling_defaults(nullptr, &buffer), bad);
  EXPECT_EQ(gptq_model_special_token(nullptr, "bos", &id), bad);
  EXPECT_EQ(id, -1);
  EXPECT_EQ(gptq_model_is_end_of_generation(nullptr, 0), 0);
  EXPECT_EQ(gptq_session_create(nullptr, nullptr, &session), bad);
  EXPECT_EQ(session, nullptr);
  EXPECT_EQ(gptq_session_reset(nullptr), bad);
  EXPECT_EQ(gptq_session_append_text(nullptr, "x", -1), bad);
  EXPECT_EQ(gptq_session_append_tokens(nullptr, &id, 1), bad);
  EXPECT_EQ(gptq_session_prefill(nullptr, 0), bad);
  EXPECT_EQ(gptq_session_begin(nullptr, nullptr), bad);
  EXPECT_EQ(gptq_session_step(nullptr), bad);
  EXPECT_EQ(gptq_session_step_all(nullptr, 1, &id), bad);
  EXPECT_EQ(id, bad);
  EXPECT_EQ(gptq_session_step_all(nullptr, 0, nullptr), GPTQ_DONE);
  EXPECT_EQ(gptq_session_step_all(nullptr, -1, &id), bad);
  EXPECT_EQ(gptq_session_cancel(nullptr), bad);
  EXPECT_STREQ(gptq_session_error_message(nullptr), "");
  EXPECT_STREQ(gptq_session_text(nullptr), "");
  EXPECT_EQ(gptq_session_text_size(nullptr), 0);
  EXPECT_EQ(gptq_session_token(nullptr), -1);
  EXPECT_STREQ(gptq_session_finish_reason(nullptr), "");
  EXPECT_EQ(gptq_session_logits(nullptr, &buffer), bad);
  EXPECT_EQ(gptq_session_token_count(nullptr), 0);
  EXPECT_EQ(gptq_session_get_stat(nullptr, "decode_tokens", &figure), bad);
  EXPECT_EQ(gptq_quantizer_create(nullptr, "out", nullptr, &quantizer), bad);
  EXPECT_EQ(quantizer, nullptr);
  EXPECT_EQ(gptq_quantizer_create("in", nullptr, nullptr, &quantizer), bad);
  EXPECT_EQ(gptq_quantizer_add_calibration_text(nullptr, "x", -1), bad);
  EXPECT_EQ(gptq_quantizer_add_calibration_tokens(nullptr, &id, 1), bad);
  EXPECT_EQ(gptq_quantizer_step(nullptr), bad);
  EXPECT_EQ(gptq_quantizer_run(nullptr), bad);
  EXPECT_EQ(gptq_quantizer_cancel(nullptr), bad);
  EXPECT_STREQ(gptq_quantizer_error_message(nullptr), "");
  EXPECT_EQ(gptq_quantizer_report_json(nullptr, &buffer), bad);
  EXPECT_EQ(gptq_quantizer_get_stat(nullptr, "progress", &figure), bad);
  EXPECT_EQ(gptq_session_clear_cancel(nullptr), bad);
  gptq_options_free(nullptr);
  gptq_buffer_free(nullptr);
  gptq_model_free(nullptr);
  gptq_session_free(nullptr);
  gptq_quantizer_free(nullptr);
  gptq_set_log_callback(nullptr, nullptr);
}

TEST(Api, ErrorsAreOfTheThread) {
  gptq_clear_error();
  EXPECT_EQ(gptq_last_error_code(), GPTQ_OK);
  EXPECT_STREQ(gptq_last_error_message(), "");
  gptq_model* model = nullptr;
  EXPECT_EQ(gptq_model_load("/nowhere/at/all", nullptr, &model), GPTQ_ERROR_NOT_FOUND);
  EXPECT_EQ(gptq_last_error_code(), GPTQ_ERROR_NOT_FOUND);
  EXPECT_NE(std::string(gptq_last_error_message()).find("/nowhere/at/all"), std::string::npos);
  std::thread([] { EXPECT_EQ(gptq_last_error_code(), GPTQ_OK); }).join();
  gptq_clear_error();
  EXPECT_EQ(gptq_last_error_code(), GPTQ_OK);
}

TEST(Api, OptionsSayWhatTheyWanted) {
  gptq_options* options = nullptr;
  ASSERT_EQ(gptq_options_create(&options), GPTQ_OK);
  const auto message = [] { return std::string(gptq_last_error_message()); };
  EXPECT_EQ(gptq_options_set_int(options, "temprature", 1), GPTQ_ERROR_INVALID_ARGUMENT);
  EXPECT_NE(message().find("'temperature'"), std::string::npos) << message();
  EXPECT_EQ(gptq_options_set_int(options, "bits", 5), GPTQ_ERROR_INVALID_ARGUMENT);
  EXPECT_NE(message().find("2, 3, 4 or 8"), std::string::npos) << message();
  EXPECT_EQ(gptq_options_set_float(options, "bits", 4), GPTQ_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gptq_options_set_string(options, "order", "random"), GPTQ_ERROR_INVALID_ARGUMENT);
  EXPECT_NE(message().find("none|act|gar"), std::string::npos) << message();
  EXPECT_EQ(gptq_options_set_float(options, "top_p", 0), GPTQ_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gptq_options_set_float(options, "top_p", std::stod("nan")), GPTQ_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gptq_options_set_int(options, "temperature", 1), GPTQ_OK);
  EXPECT_EQ(gptq_options_set_json(options, R"({"bits": 3, "group_size": 0})", -1),
            GPTQ_ERROR_INVALID_ARGUMENT);
  gptq_buffer* json = nullptr;
  ASSERT_EQ(gptq_options_get_json(options, &json), GPTQ_OK);
  EXPECT_EQ(take_text(json), R"({"temperature":1.0})");
  EXPECT_EQ(gptq_options_set_json(options, R"({"bits": 3, "sym": false, "order": "act"})", -1), GPTQ_OK);
  ASSERT_EQ(gptq_options_get_json(options, &json), GPTQ_OK);
  EXPECT_EQ(take_text(json), R"({"bits":3,"order":"act","sym":0,"temperature":1.0})");
  gptq_options_free(options);
}

TEST(Api, EveryOptionDescribesItselfAndTakesItsDefault) {
  gptq_options* options = nullptr;
  ASSERT_EQ(gptq_options_create(&options), GPTQ_OK);
  ASSERT_GT(gptq_option_count(), 0);
  for (int64_t i = 0; i < gptq_option_count(); ++i) {
    gptq_buffer* buffer = nullptr;
    ASSERT_EQ(gptq_option_describe(i, &buffer), GPTQ_OK);
    const auto row = nlohmann::json::parse(take_text(buffer));
    EXPECT_NE(row.at("help"), "") << row;
    if (row.at("default") == "") continue;  // none: what is done depends on other options
    const nlohmann::json setting = {{row.at("name").get<std::string>(), row.at("default")}};
    EXPECT_EQ(gptq_options_set_json(options, setting.dump().c_str(), -1), GPTQ_OK)
        << gptq_last_error_message();
  }
  gptq_options_free(options);
}

TEST(Api, ModelTellsAboutItself) {
  const ModelHandle m;
  int64_t value = 0;
  EXPECT_EQ(gptq_model_get_int(m.model, "n_layer", &value), GPTQ_OK);
  EXPECT_EQ(value, 4);
  EXPECT_EQ(gptq_model_get_int(m.model, "n_layers", &value), GPTQ_ERROR_NOT_FOUND);
  EXPECT_NE(std::string(gptq_last_error_message()).find("'n_layer'"), std::string::npos);
  const char* text = nullptr;
  EXPECT_EQ(gptq_model_get_string(m.model, "family", &text), GPTQ_OK);
  EXPECT_STREQ(text, "llama");
  gptq_model* other = nullptr;  // a part of its model_type
  const std::string path = (source_dir() / "tests/golden/models/qwen3-5-moe").string();
  ASSERT_EQ(gptq_model_load(path.c_str(), nullptr, &other), GPTQ_OK) << gptq_last_error_message();
  EXPECT_EQ(gptq_model_get_string(other, "family", &text), GPTQ_OK);
  EXPECT_STREQ(text, "qwen3_5_moe");
  gptq_model_free(other);
  EXPECT_EQ(gptq_model_get_string(m.model, "quantization", &text), GPTQ_OK);
  EXPECT_STREQ(text, "");
  gptq_buffer* json = nullptr;
  ASSERT_EQ(gptq_model_metadata_json(m.model, &json), GPTQ_OK);
  EXPECT_NE(take_text(json).find("\"weight_bytes_per_token\""), std::string::npos);
}

TEST(Api, TokenizesBothWays) {
  const ModelHandle m;
  const std::string text = "Once upon a time \xF0\x9F\x98\x80!";
  gptq_buffer* ids = nullptr;
  ASSERT_EQ(gptq_model_tokenize(m.model, text.c_str(), -1, GPTQ_TOKENIZE_ADD_SPECIAL, &ids), GPTQ_OK);
  const auto* begin = static_cast<const int32_t*>(gptq_buffer_data(ids));
  const std::vector<int32_t> kept(begin, begin + gptq_buffer_size(ids) / 4);
  gptq_buffer_free(ids);
  const int32_t* data = kept.data();
  const auto count = static_cast<int64_t>(kept.size());
  gptq_buffer* back = nullptr;
  ASSERT_EQ(gptq_model_detokenize(m.model, data, count, 0, &back), GPTQ_OK);
  EXPECT_EQ(take_text(back), text);
  const int32_t wrong = 1 << 30;
  EXPECT_EQ(gptq_model_detokenize(m.model, &wrong, 1, 0, &back), GPTQ_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gptq_model_detokenize(m.model, data, 1, 2, &back), GPTQ_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gptq_model_tokenize(m.model, "x", -1, 4, &ids), GPTQ_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(ids, nullptr);
  EXPECT_EQ(back, nullptr);
  int32_t id = 0;
  EXPECT_EQ(gptq_model_special_token(m.model, "eos", &id), GPTQ_OK);
  EXPECT_EQ(gptq_model_is_end_of_generation(m.model, id), 1);
  EXPECT_EQ(gptq_model_special_token(m.model, "<none>", &id), GPTQ_ERROR_NOT_FOUND);
  EXPECT_EQ(id, -1);
}

TEST(Api, TokenizerAloneLoadsWithoutWeights) {
  const gptq::test::TemporaryFolder folder;
  gptq::test::fs::copy_file(source_dir() / "samples/model/tokenizer.json", folder / "tokenizer.json");
  gptq_options* options = nullptr;
  gptq_options_create(&options);
  gptq_options_set_int(options, GPTQ_KEY_LOAD_WEIGHTS, 0);
  gptq_model* model = nullptr;
  ASSERT_EQ(gptq_model_load(folder.path().c_str(), options, &model), GPTQ_OK) << gptq_last_error_message();
  gptq_buffer* ids = nullptr;
  EXPECT_EQ(gptq_model_tokenize(model, "Hello", -1, 0, &ids), GPTQ_OK);
  EXPECT_GT(gptq_buffer_size(ids), 0);
  gptq_buffer_free(ids);
  gptq_session* session = nullptr;
  EXPECT_LT(gptq_session_create(model, nullptr, &session), 0);
  EXPECT_EQ(session, nullptr);
  gptq_model_free(model);
  gptq_options_free(options);
}

TEST(Api, HandlesGoInAnyOrder) {
  gptq_model* model = nullptr;
  ASSERT_EQ(gptq_model_load(sample_path().c_str(), nullptr, &model), GPTQ_OK);
  gptq_session* session = nullptr;
  ASSERT_EQ(gptq_session_create(model, nullptr, &session), GPTQ_OK);
  ASSERT_EQ(gptq_model_retain(model), GPTQ_OK);
  gptq_model_free(model);
  gptq_model_free(model);
  gptq_options* options = nullptr;
  gptq_options_create(&options);
  gptq_options_set_int(options, GPTQ_KEY_MAX_TOKENS, 8);
  gptq_session_append_text(session, "Once upon a time", -1);
  EXPECT_EQ(gptq_session_begin(session, options), GPTQ_OK);
  gptq_options_free(options);
  EXPECT_EQ(gptq_session_step(session), GPTQ_OK);
  gptq_session_free(session);
}

TEST(Api, SessionStatusesAndTexts) {
  const ModelHandle m;
  gptq_session* session = nullptr;
  ASSERT_EQ(gptq_session_create(m.model, nullptr, &session), GPTQ_OK);
  EXPECT_EQ(gptq_session_step(session), GPTQ_ERROR_BAD_STATE);
  EXPECT_NE(std::string(gptq_session_error_message(session)), "");
  EXPECT_EQ(gptq_session_begin(session, nullptr), GPTQ_ERROR_BAD_STATE);
  const std::vector<int32_t> many(513, 5);
  EXPECT_EQ(gptq_session_append_tokens(session, many.data(), 513), GPTQ_ERROR_CONTEXT_FULL);
  EXPECT_EQ(gptq_session_append_tokens(session, many.data(), -1), GPTQ_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gptq_session_token_count(session), 0);
  EXPECT_EQ(gptq_session_append_text(session, "Once upon a time", 16), GPTQ_OK);
  EXPECT_STREQ(gptq_session_error_message(session), "");
  gptq_buffer* logits = nullptr;
  EXPECT_EQ(gptq_session_logits(session, &logits), GPTQ_ERROR_BAD_STATE);
  EXPECT_EQ(gptq_session_prefill(session, 7), GPTQ_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gptq_session_prefill(session, GPTQ_LOGITS_ALL), GPTQ_OK);
  ASSERT_EQ(gptq_session_logits(session, &logits), GPTQ_OK);
  EXPECT_EQ(gptq_buffer_size(logits), gptq_session_token_count(session) * 4096 * 4);
  gptq_buffer_free(logits);
  double figure = 0;
  EXPECT_EQ(gptq_session_get_stat(session, "prefill_tokens", &figure), GPTQ_OK);
  EXPECT_EQ(figure, static_cast<double>(gptq_session_token_count(session)));
  EXPECT_EQ(gptq_session_get_stat(session, "prefil_tokens", &figure), GPTQ_ERROR_NOT_FOUND);
  EXPECT_EQ(gptq_session_cancel(session), GPTQ_OK);
  EXPECT_EQ(gptq_session_begin(session, nullptr), GPTQ_ERROR_CANCELLED);
  EXPECT_EQ(gptq_session_cancel(session), GPTQ_OK);
  EXPECT_EQ(gptq_session_clear_cancel(session), GPTQ_OK);
  EXPECT_EQ(gptq_session_begin(session, nullptr), GPTQ_OK);
  gptq_session_free(session);
}

TEST(Api, RatesCountPassesThroughTheModel) {
  const ModelHandle m;
  gptq_session* session = nullptr;
  gptq_options* options = nullptr;
  ASSERT_EQ(gptq_session_create(m.model, nullptr, &session), GPTQ_OK);
  ASSERT_EQ(gptq_options_create(&options), GPTQ_OK);
  const auto stat = [&](const char* key) {
    double figure = -1;
    EXPECT_EQ(gptq_session_get_stat(session, key, &figure), GPTQ_OK);
    return figure;
  };
  gptq_options_set_int(options, "ignore_eos", 1);
  gptq_session_append_text(session, "Once upon a time", -1);
  gptq_options_set_int(options, "max_tokens", 1);
  generate(session, options);
  EXPECT_EQ(stat("decode_tokens"), 1);
  EXPECT_EQ(stat("decode_tokens_per_second"), 0);  // the prompt's logits gave it
  gptq_session_reset(session);
  gptq_session_append_text(session, "Once upon a time", -1);
  gptq_options_set_int(options, "max_tokens", 5);
  generate(session, options);
  EXPECT_EQ(stat("decode_tokens"), 5);
  EXPECT_NEAR(stat("decode_tokens_per_second") * stat("decode_seconds"), 4, 1e-9);
  gptq_options_free(options);
  gptq_session_free(session);
}

TEST(Api, SessionsOfOneModelKeepKeysAndValuesAsTheyAreTold) {
  const ModelHandle m;
  gptq_options* options = nullptr;
  ASSERT_EQ(gptq_options_create(&options), GPTQ_OK);
  double bytes[3] = {};
  const char* const values[] = {nullptr, "auto", "int8"};
  for (int i = 0; i < 3; ++i) {
    if (values[i] != nullptr) {
      EXPECT_EQ(gptq_options_set_string(options, GPTQ_KEY_KV_CACHE, values[i]), GPTQ_OK);
    }
    gptq_session* session = nullptr;
    ASSERT_EQ(gptq_session_create(m.model, options, &session), GPTQ_OK);
    gptq_session_append_text(session, "Once upon a time", -1);
    EXPECT_EQ(gptq_session_prefill(session, GPTQ_LOGITS_NONE), GPTQ_OK);
    EXPECT_EQ(gptq_session_get_stat(session, "cache_bytes", &bytes[i]), GPTQ_OK);
    gptq_session_free(session);
  }
  EXPECT_EQ(bytes[0], bytes[1]);
  // heads of 32 numbers, key and value: a byte each and two scales, instead of two bytes each
  EXPECT_NEAR(bytes[2] / bytes[0], (64 + 8) / 128.0, 0.01);
  gptq_options_free(options);
}

TEST(Api, StepsOfSeveralSessions) {
  const ModelHandle m, other;
  gptq_session* sessions[4] = {};
  gptq_options* options = nullptr;
  gptq_options_create(&options);
  gptq_options_set_int(options, GPTQ_KEY_MAX_TOKENS, 4);
  gptq_options_set_int(options, GPTQ_KEY_IGNORE_EOS, 1);
  for (int i = 0; i < 4; ++i) {
    ASSERT_EQ(gptq_session_create(i < 3 ? m.model : other.model, nullptr, &sessions[i]), GPTQ_OK);
    gptq_session_append_text(sessions[i], i % 2 == 0 ? "Once upon a time" : "The dog", -1);
    if (i != 1) {
      ASSERT_EQ(gptq_session_begin(sessions[i], options), GPTQ_OK);
    }
  }
  gptq_status statuses[4] = {7, 7, 7, 7};
  const auto refused = [&](int64_t count, const char* message) {
    EXPECT_EQ(gptq_session_step_all(sessions, count, statuses), GPTQ_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(gptq_last_error_message(), message);
    for (int64_t i = 0; i < count; ++i) EXPECT_EQ(statuses[i], GPTQ_ERROR_INVALID_ARGUMENT);
    for (gptq_session* const session : sessions) EXPECT_LE(gptq_session_token(session), -1);
  };
  refused(4, "session 3 is of another model than session 0, wanted all of one");
  std::swap(sessions[3], sessions[0]);
  gptq_session* const kept = sessions[3];
  sessions[3] = sessions[2];
  refused(4, "sessions[3] is sessions[2], wanted each once");
  sessions[3] = nullptr;
  refused(4, "argument 'sessions[3]' is NULL");
  std::swap(sessions[0], sessions[3]);
  sessions[0] = kept;
  // the second has not begun: its step fails, as alone
  std::string texts[3];
  for (int round = 0;; ++round) {
    const gptq_status status = gptq_session_step_all(sessions, 3, statuses);
    ASSERT_EQ(status, round < 4 ? GPTQ_OK : GPTQ_DONE);
    EXPECT_EQ(statuses[0], status);
    EXPECT_EQ(statuses[1], GPTQ_ERROR_BAD_STATE);
    EXPECT_STREQ(gptq_session_error_message(sessions[1]), "a step needs a begin before it");
    EXPECT_EQ(statuses[2], statuses[0]);
    for (int i = 0; i < 3; ++i) texts[i] += gptq_session_text(sessions[i]);
    if (status != GPTQ_OK) break;
  }
  EXPECT_EQ(texts[0], texts[2]);
  EXPECT_FALSE(texts[0].empty());
  EXPECT_STREQ(gptq_session_finish_reason(sessions[2]), "length");
  for (gptq_session* const session : sessions) gptq_session_free(session);
  gptq_options_free(options);
}

TEST(Api, BusyInsteadOfUndefined) {
  const ModelHandle m;
  gptq_session* session = nullptr;
  gptq_options* options = nullptr;
  gptq_options_create(&options);
  gptq_options_set_int(options, GPTQ_KEY_CONTEXT_LENGTH, 8192);
  ASSERT_EQ(gptq_session_create(m.model, options, &session), GPTQ_OK);
  const std::vector<int32_t> many(4096, 5);
  ASSERT_EQ(gptq_session_append_tokens(session, many.data(), 4096), GPTQ_OK);
  // The progress callback runs inside the call: the session is then busy for everyone, this thread included.
  gptq_options_set_progress(
      options,
      [](void* data, int64_t, int64_t, const char*) -> int32_t {
        auto* inner = static_cast<gptq_session*>(data);
        EXPECT_EQ(gptq_session_step(inner), GPTQ_ERROR_BUSY);
        gptq_status status = 1;
        EXPECT_EQ(gptq_session_step_all(&inner, 1, &status), GPTQ_ERROR_BUSY);
        EXPECT_EQ(status, GPTQ_ERROR_BUSY);
        EXPECT_STREQ(gptq_last_error_message(), "sessions[0]: another thread is inside this handle");
        return 1;
      },
      session);
  EXPECT_EQ(gptq_session_begin(session, options), GPTQ_ERROR_CANCELLED);
  gptq_session_free(session);
  gptq_options_free(options);
}

/// The host's threads are asked for all of a model's work, with the same result, until the options say otherwise.
TEST(Api, ComputesOnThreadsOfTheHost) {
  std::atomic<int> tasks{0};
  const gptq_executor_fn executor = [](void* data, int64_t count, void (*task)(void*, int64_t),
                                       void* context) {
    std::vector<std::thread> threads;
    for (int64_t i = 1; i < count; ++i) threads.emplace_back([=] { task(context, i); });
    task(context, 0);
    for (std::thread& thread : threads) thread.join();
    *static_cast<std::atomic<int>*>(data) += static_cast<int>(count);
  };
  gptq_options* options = nullptr;
  gptq_options_create(&options);
  gptq_options_set_int(options, GPTQ_KEY_THREADS, 3);
  gptq_options_set_int(options, GPTQ_KEY_MAX_TOKENS, 8);
  const auto text_of_model = [&] {
    gptq_model* model = nullptr;
    gptq_session* session = nullptr;
    EXPECT_EQ(gptq_model_load(sample_path().c_str(), options, &model), GPTQ_OK) << gptq_last_error_message();
    EXPECT_EQ(gptq_session_create(model, nullptr, &session), GPTQ_OK);
    gptq_session_append_text(session, "Once upon a time", -1);
    std::string text = generate(session, options);
    gptq_session_free(session);
    gptq_model_free(model);
    return text;
  };
  const std::string own = text_of_model();
  EXPECT_EQ(tasks, 0);
  ASSERT_EQ(gptq_options_set_executor(options, executor, &tasks), GPTQ_OK);
  EXPECT_EQ(text_of_model(), own);
  EXPECT_GT(tasks, 3 * 8);
  EXPECT_EQ(tasks % 3, 0);
  const int before = tasks;
  ASSERT_EQ(gptq_options_set_executor(options, nullptr, nullptr), GPTQ_OK);
  EXPECT_EQ(text_of_model(), own);
  EXPECT_EQ(tasks, before);
  gptq_options_free(options);
}

TEST(Api, FourThreadsShareAModel) {
  const ModelHandle m;
  gptq_options* options = nullptr;
  gptq_options_create(&options);
  gptq_options_set_int(options, GPTQ_KEY_MAX_TOKENS, 24);
  std::vector<std::string> texts(4);
  std::vector<std::thread> threads;
  for (auto& text : texts) {
    threads.emplace_back([&] {
      gptq_session* session = nullptr;
      ASSERT_EQ(gptq_session_create(m.model, nullptr, &session), GPTQ_OK);
      gptq_session_append_text(session, "Once upon a time", -1);
      text = generate(session, options);
      gptq_session_free(session);
    });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& text : texts) EXPECT_EQ(text, texts[0]);
  EXPECT_GT(texts[0].size(), 20u);
  gptq_options_free(options);
}

}  // namespace
