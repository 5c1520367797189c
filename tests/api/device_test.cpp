// Devices by the C interface: a plugin that is the CPU by another name gives what the CPU gives.
#include <gptq.h>

#include <cstdlib>
#include <string>

#include "backend/fake_plugin.h"
#include "support/test_data.h"

namespace {

constexpr char kFakes[] = GPTQ_FAKE_PLUGINS;  // a folder for each

std::string generate(const char* device) {
  const std::string folder = (gptq::test::source_dir() / "samples/model").string();
  gptq_options* options = nullptr;
  gptq_model* model = nullptr;
  gptq_session* session = nullptr;
  std::string text;
  if (gptq_options_create(&options) == GPTQ_OK &&
      gptq_options_set_string(options, GPTQ_KEY_DEVICE, device) == GPTQ_OK &&
      gptq_options_set_int(options, GPTQ_KEY_MAX_TOKENS, 20) == GPTQ_OK &&
      gptq_model_load(folder.c_str(), options, &model) == GPTQ_OK &&
      gptq_session_create(model, nullptr, &session) == GPTQ_OK &&
      gptq_session_append_text(session, "Once upon a time", -1) == GPTQ_OK &&
      gptq_session_begin(session, options) == GPTQ_OK) {
    while (gptq_session_step(session) == GPTQ_OK) text += gptq_session_text(session);
  } else {
    text = gptq_last_error_message();
  }
  gptq_options_free(options);
  gptq_model_free(model);
  gptq_session_free(session);
  return text;
}

std::string device_of(int number) { return "cuda:" + std::to_string(number); }

TEST(Device, WhatIsNotThere) {
  EXPECT_EQ(gptq_device_check("cpu"), GPTQ_OK);
  EXPECT_EQ(gptq_device_check("abacus"), GPTQ_ERROR_INVALID_ARGUMENT);
  EXPECT_NE(std::string(gptq_last_error_message()).find("'abacus'"), std::string::npos);
  EXPECT_EQ(gptq_device_check(nullptr), GPTQ_ERROR_INVALID_ARGUMENT);
}

TEST(Device, OfSeveral) {
  const std::string folder = (gptq::test::source_dir() / "samples/model").string();
  gptq_options* options = nullptr;
  gptq_model* model = nullptr;
  gptq_quantizer* quantizer = nullptr;
  const char* value = nullptr;
  ASSERT_EQ(gptq_options_create(&options), GPTQ_OK);
  ASSERT_EQ(gptq_options_set_string(options, GPTQ_KEY_DEVICE, "cpu,cpu"), GPTQ_OK);
  ASSERT_EQ(gptq_options_set_string(options, GPTQ_KEY_LAYER_SPLIT, "3,1"), GPTQ_OK);
  ASSERT_EQ(gptq_model_load(folder.c_str(), options, &model), GPTQ_OK) << gptq_last_error_message();
  EXPECT_EQ(gptq_model_get_string(model, "layer_split", &value), GPTQ_OK);
  EXPECT_STREQ(value, "3,1");
  EXPECT_EQ(gptq_model_get_string(model, "device", &value), GPTQ_OK);
  EXPECT_NE(std::string(value).find(" + cpu ("), std::string::npos) << value;
  gptq_model_free(model);
  const auto expect_refusal = [&](const char* split, const std::string& said) {
    EXPECT_EQ(gptq_options_set_string(options, GPTQ_KEY_LAYER_SPLIT, split), GPTQ_OK);
    EXPECT_EQ(gptq_model_load(folder.c_str(), options, &model), GPTQ_ERROR_INVALID_ARGUMENT) << split;
    EXPECT_EQ(model, nullptr);
    EXPECT_NE(std::string(gptq_last_error_message()).find("option 'layer_split' " + said), std::string::npos)
        << gptq_last_error_message();
  };
  expect_refusal("2,1", "adds up to 3 layers, but the model has 4");
  expect_refusal("4", "has 1 number, but there are 2 devices");
  expect_refusal("four", "is 'four', wanted a number of layers for each device");
  // before the folder is looked at
  gptq_options_set_string(options, GPTQ_KEY_LAYER_SPLIT, "");
  EXPECT_EQ(gptq_quantizer_create("/nowhere", "/nowhere/out", options, &quantizer),
            GPTQ_ERROR_INVALID_ARGUMENT);
  EXPECT_NE(
      std::string(gptq_last_error_message()).find("option 'device' is the list 'cpu,cpu', wanted one device"),
      std::string::npos)
      << gptq_last_error_message();
  gptq_options_set_string(options, GPTQ_KEY_DEVICE, "cpu");
  gptq_options_set_string(options, GPTQ_KEY_LAYER_SPLIT, "4");
  EXPECT_EQ(gptq_quantizer_create("/nowhere", "/nowhere/out", options, &quantizer),
            GPTQ_ERROR_INVALID_ARGUMENT);
  EXPECT_NE(std::string(gptq_last_error_message()).find("option 'layer_split' is for a model that is loaded"),
            std::string::npos)
      << gptq_last_error_message();
  gptq_options_free(options);
}

// Once it is open it stays: what comes before it is here, too.
TEST(Device, OfAPlugin) {
  ASSERT_EQ(setenv("GPTQ_PLUGIN_PATH", "/nowhere", 1), 0);
  EXPECT_EQ(gptq_has_feature("cuda"), 0);
  EXPECT_EQ(gptq_device_check("cuda"), GPTQ_ERROR_NOT_FOUND);
  EXPECT_NE(generate("cuda").find("'/nowhere/libgptq-cuda.so' is not there"), std::string::npos);

  ASSERT_EQ(setenv("GPTQ_PLUGIN_PATH", (std::string(kFakes) + "/good").c_str(), 1), 0);
  EXPECT_EQ(gptq_device_check("cuda"), GPTQ_OK) << gptq_last_error_message();
  EXPECT_EQ(gptq_has_feature("cuda"), 1);
  EXPECT_EQ(gptq_device_check(device_of(kNoDriver).c_str()), GPTQ_ERROR_DEVICE);
  EXPECT_STREQ(gptq_last_error_message(), "no driver, says the fake");
  EXPECT_EQ(gptq_device_check(device_of(kThrowsInt).c_str()), GPTQ_ERROR_INTERNAL);
  EXPECT_EQ(gptq_device_check(device_of(kThrowsBadAlloc).c_str()), GPTQ_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(gptq_device_check("cuda:9"), GPTQ_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(generate(device_of(kNoDriver).c_str()), "no driver, says the fake");

  const std::string text = generate("cpu");
  EXPECT_GT(text.size(), 20u);
  EXPECT_EQ(generate("cuda"), text);
  EXPECT_EQ(generate("cuda:0"), text);
  // it can't tell what memory it has: all get as many layers
  for (const char* devices : {"cuda,cpu", "cpu,cuda:0,cpu"}) {
    EXPECT_EQ(gptq_device_check(devices), GPTQ_OK) << gptq_last_error_message();
    EXPECT_EQ(generate(devices), text) << devices;
  }
  EXPECT_EQ(gptq_device_check(("cpu," + device_of(kNoDriver)).c_str()), GPTQ_ERROR_DEVICE);
  EXPECT_EQ(generate(("cpu," + device_of(kNoDriver)).c_str()), "no driver, says the fake");
}

}  // namespace
