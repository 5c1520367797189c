// What gptq.h says of options and of the texts about them, as a binding reads it.
#include <gptq.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace {

using Json = nlohmann::json;

std::string take_text(gptq_buffer* buffer) {
  std::string text = static_cast<const char*>(gptq_buffer_data(buffer));
  EXPECT_EQ(static_cast<int64_t>(text.size()), gptq_buffer_size(buffer)) << text;
  gptq_buffer_free(buffer);
  return text;
}

std::string described(int64_t index) {
  gptq_buffer* json = nullptr;
  EXPECT_EQ(gptq_option_describe(index, &json), GPTQ_OK) << gptq_last_error_message();
  return take_text(json);
}

TEST(Options, TextsEndInNul) {
  for (int round = 0; round < 20; ++round) {
    // memory that was in use before: what the allocator hands out next is not zero by chance
    { const std::vector<std::string> used(50, std::string(static_cast<size_t>(100 + 10 * round), 'x')); }
    for (int64_t i = 0; i < gptq_option_count(); ++i) EXPECT_TRUE(Json::accept(described(i)));
  }
}

TEST(Options, BoundsOfIntegersAreIntegers) {
  for (int64_t i = 0; i < gptq_option_count(); ++i) {
    const Json row = Json::parse(described(i));
    if (row.at("type") == "string") continue;
    const bool whole = row.at("type") == "int";
    for (const char* key : {"default", "min", "max"})
      EXPECT_EQ(row.at(key).is_number_integer(), whole) << row;
    EXPECT_LE(row.at("min"), row.at("default"));
    EXPECT_LE(row.at("default"), row.at("max"));
  }
}

TEST(Options, TextThatIsNoJsonIsAnArgumentsFault) {
  gptq_options* options = nullptr;
  ASSERT_EQ(gptq_options_create(&options), GPTQ_OK);
  for (const char* json :
       {"", "{bits: 4}", "{\"bits\": 4", "[1]", "{\"bits\": 4, \"bits\": 8}", "{\"bits\": null}"}) {
    EXPECT_EQ(gptq_options_set_json(options, json, -1), GPTQ_ERROR_INVALID_ARGUMENT) << json;
    EXPECT_NE(std::string(gptq_last_error_message()).find("option"), std::string::npos) << json;
  }
  gptq_buffer* json = nullptr;
  ASSERT_EQ(gptq_options_get_json(options, &json), GPTQ_OK);
  EXPECT_EQ(take_text(json), "{}");
  gptq_options_free(options);
}

TEST(Options, StopIsAnArrayOfTexts) {
  gptq_options* options = nullptr;
  ASSERT_EQ(gptq_options_create(&options), GPTQ_OK);
  const auto text = [&] {
    gptq_buffer* json = nullptr;
    EXPECT_EQ(gptq_options_get_json(options, &json), GPTQ_OK);
    return take_text(json);
  };
  EXPECT_EQ(gptq_options_set_json(options, R"({"stop": ["\n", "\u00e9"]})", -1), GPTQ_OK);
  EXPECT_EQ(Json::parse(Json::parse(text())["stop"].get<std::string>()), Json({"\n", "\u00e9"}));
  const std::string most = Json(std::string(4096, 'x')).dump(), more = Json(std::string(4097, 'x')).dump();
  Json many = Json::array();
  for (int i = 0; i < 64; ++i) many.push_back("a");
  const std::string many_text = many.dump();
  many.push_back("a");
  for (const std::string& right : {std::string(), std::string("[]"), "[" + most + "]", many_text})
    EXPECT_EQ(gptq_options_set_string(options, GPTQ_KEY_STOP, right.c_str()), GPTQ_OK) << right;
  for (const std::string& wrong :
       {std::string("\\n"), std::string(R"(["a", ""])"), std::string("[1]"), std::string(R"({"a": 1})"),
        std::string(R"("a")"), std::string(R"(["a")"), "[" + more + "]", many.dump()}) {
    EXPECT_EQ(gptq_options_set_string(options, GPTQ_KEY_STOP, wrong.c_str()), GPTQ_ERROR_INVALID_ARGUMENT)
        << wrong;
    EXPECT_NE(std::string(gptq_last_error_message()).find("option 'stop'"), std::string::npos)
        << gptq_last_error_message();
  }
  EXPECT_EQ(Json::parse(text())["stop"], many_text);
  EXPECT_EQ(gptq_options_add_string(options, GPTQ_KEY_STOP, "one more"), GPTQ_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gptq_options_reset(options), GPTQ_OK);
  EXPECT_EQ(gptq_options_add_string(options, GPTQ_KEY_STOP, "\"\n"), GPTQ_OK);
  EXPECT_EQ(gptq_options_add_string(options, GPTQ_KEY_STOP, "b"), GPTQ_OK);
  for (const char* wrong : {"", "\xC3"})
    EXPECT_EQ(gptq_options_add_string(options, GPTQ_KEY_STOP, wrong), GPTQ_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gptq_options_add_string(options, GPTQ_KEY_ORDER, "act"), GPTQ_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gptq_options_add_string(options, "stopp", "a"), GPTQ_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gptq_options_add_string(nullptr, GPTQ_KEY_STOP, "a"), GPTQ_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gptq_options_add_string(options, GPTQ_KEY_STOP, nullptr), GPTQ_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(Json::parse(Json::parse(text())["stop"].get<std::string>()), Json({"\"\n", "b"}));
  gptq_options_free(options);
}

TEST(Options, DynamicIsCheckedWhenItIsSet) {
  gptq_options* options = nullptr;
  ASSERT_EQ(gptq_options_create(&options), GPTQ_OK);
  const auto refused = [&](const char* text, const char* says) {
    EXPECT_EQ(gptq_options_set_string(options, GPTQ_KEY_DYNAMIC, text), GPTQ_ERROR_INVALID_ARGUMENT) << text;
    const std::string message = gptq_last_error_message();
    EXPECT_NE(message.find("'dynamic'"), std::string::npos) << message;
    EXPECT_NE(message.find(says), std::string::npos) << message;
  };
  refused("{", "byte 2");
  refused("[]", "object");
  refused(R"({"a(":{"bits":8}})", "'a('");
  refused(R"({"a":{"bitz":8}})", "'bitz'");
  refused(R"({"a":{"bits":7}})", "'bits' is 7");
  gptq_buffer* json = nullptr;
  ASSERT_EQ(gptq_options_get_json(options, &json), GPTQ_OK);
  EXPECT_EQ(take_text(json), "{}");
  EXPECT_EQ(gptq_options_set_string(options, GPTQ_KEY_DYNAMIC, R"({".*":{"bits":8}})"), GPTQ_OK);
  EXPECT_EQ(gptq_options_set_string(options, GPTQ_KEY_DYNAMIC, ""), GPTQ_OK);
  gptq_options_free(options);
}

TEST(Options, CacheOfKeysAndValues) {
  gptq_options* options = nullptr;
  ASSERT_EQ(gptq_options_create(&options), GPTQ_OK);
  for (const char* other : {"int4", "INT8", "f16", "", "auto|int8"}) {
    EXPECT_EQ(gptq_options_set_string(options, GPTQ_KEY_KV_CACHE, other), GPTQ_ERROR_INVALID_ARGUMENT)
        << other;
    const std::string message = gptq_last_error_message();
    for (const char* says : {"'kv_cache'", other, "auto", "int8"})
      EXPECT_NE(message.find(says), std::string::npos) << message;
  }
  EXPECT_EQ(gptq_options_set_int(options, GPTQ_KEY_KV_CACHE, 8), GPTQ_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gptq_options_set_string(options, GPTQ_KEY_KV_CACHE, "int8"), GPTQ_OK);
  gptq_options_free(options);
}

TEST(Options, DynamicAsAnObject) {
  gptq_options *options = nullptr, *again = nullptr;
  ASSERT_EQ(gptq_options_create(&options), GPTQ_OK);
  ASSERT_EQ(gptq_options_create(&again), GPTQ_OK);
  const auto text_of = [](const gptq_options* from) {
    gptq_buffer* json = nullptr;
    EXPECT_EQ(gptq_options_get_json(from, &json), GPTQ_OK);
    return take_text(json);
  };
  // in its order, which is not that of the alphabet
  const std::string dynamic =
      R"({"z.*":{"bits":8,"sym":false},"a.*":{"group_size":-1,"mse":0.0},"-:m\\.":{}})";
  const std::string object = R"({"bits":3,"dynamic":)" + dynamic + R"(,"sym":true})";
  ASSERT_EQ(gptq_options_set_json(options, object.c_str(), -1), GPTQ_OK) << gptq_last_error_message();
  const std::string json = text_of(options);
  EXPECT_EQ(Json::parse(json)["dynamic"], dynamic);
  ASSERT_EQ(gptq_options_set_json(again, json.c_str(), -1), GPTQ_OK) << gptq_last_error_message();
  EXPECT_EQ(text_of(again), json);
  ASSERT_EQ(gptq_options_set_string(again, GPTQ_KEY_DYNAMIC, dynamic.c_str()), GPTQ_OK);
  EXPECT_EQ(text_of(again), json);
  for (const char* refused : {R"({"dynamic":{"a(":{}}})", R"({"dynamic":{"a":{"bits":5}}})",
                              R"({"dynamic":{"a":1}})", R"({"dynamic":[]})", R"({"bits":{"a":{}}})"}) {
    EXPECT_EQ(gptq_options_set_json(options, refused, -1), GPTQ_ERROR_INVALID_ARGUMENT) << refused;
    EXPECT_EQ(text_of(options), json);
  }
  gptq_options_free(options);
  gptq_options_free(again);
}

}  // namespace
