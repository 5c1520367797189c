// gptq_model_convert() through the C interface: arguments, options and the progress callback.
#include <gptq.h>

#include "support/test_data.h"

namespace {

using gptq::test::TemporaryFolder;

const std::string kSource = (gptq::test::source_dir() / "tests/golden/models/gptq-b4-g16").string();

class ConvertApi : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(gptq_options_create(&options_), GPTQ_OK); }
  void TearDown() override { gptq_options_free(options_); }
  gptq_status convert(const char* out = "out") const {
    return gptq_model_convert(kSource.c_str(), (folder_ / out).c_str(), options_);
  }

  TemporaryFolder folder_;
  gptq_options* options_ = nullptr;
};

TEST_F(ConvertApi, Arguments) {
  EXPECT_EQ(gptq_model_convert(nullptr, "x", options_), GPTQ_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gptq_model_convert("x", nullptr, options_), GPTQ_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gptq_model_convert(kSource.c_str(), (folder_ / "out").c_str(), nullptr),
            GPTQ_ERROR_INVALID_ARGUMENT);
  EXPECT_NE(std::string(gptq_last_error_message()).find("'format'"), std::string::npos);
  EXPECT_EQ(gptq_options_set_string(options_, GPTQ_KEY_FORMAT, "marlin"), GPTQ_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gptq_options_set_string(options_, GPTQ_KEY_DTYPE, "f64"), GPTQ_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(convert(), GPTQ_ERROR_INVALID_ARGUMENT);
  EXPECT_TRUE(gptq::test::fs::is_empty(folder_.path()));
}

TEST_F(ConvertApi, WritesAFolderThatLoads) {
  for (const char* format : {"gptq", "gptq_v2", "compressed_tensors", "dense"}) {
    ASSERT_EQ(gptq_options_set_string(options_, GPTQ_KEY_FORMAT, format), GPTQ_OK);
    ASSERT_EQ(convert(format), GPTQ_OK) << gptq_last_error_message();
    gptq_model* model = nullptr;
    ASSERT_EQ(gptq_model_load((folder_ / format).c_str(), nullptr, &model), GPTQ_OK)
        << gptq_last_error_message();
    int64_t bits = -1;
    EXPECT_EQ(gptq_model_get_int(model, "bits", &bits), GPTQ_OK);
    EXPECT_EQ(bits, std::string(format) == "dense" ? 0 : 4);
    gptq_model_free(model);
    EXPECT_EQ(convert(format), GPTQ_ERROR_IO);  // it is there
  }
}

TEST_F(ConvertApi, WritesAFileForLlamaCpp) {
  ASSERT_EQ(gptq_options_set_string(options_, GPTQ_KEY_FORMAT, "gguf"), GPTQ_OK);
  EXPECT_EQ(gptq_options_set_string(options_, GPTQ_KEY_GGUF_TYPE, "q4_k"), GPTQ_ERROR_INVALID_ARGUMENT);
  ASSERT_EQ(gptq_options_set_string(options_, GPTQ_KEY_GGUF_TYPE, "f16"), GPTQ_OK);
  ASSERT_EQ(convert("out.gguf"), GPTQ_OK) << gptq_last_error_message();
  EXPECT_EQ(gptq::test::read_file(folder_ / "out.gguf").substr(0, 4), "GGUF");
  EXPECT_EQ(convert("out.gguf"), GPTQ_ERROR_IO);  // it is there
}

TEST_F(ConvertApi, TheCallbackCancels) {
  ASSERT_EQ(gptq_options_set_string(options_, GPTQ_KEY_FORMAT, "gptq_v2"), GPTQ_OK);
  const auto stop = [](void* calls, int64_t, int64_t, const char*) -> int32_t {
    return ++*static_cast<int*>(calls) == 3;
  };
  int calls = 0;
  ASSERT_EQ(gptq_options_set_progress(options_, stop, &calls), GPTQ_OK);
  EXPECT_EQ(convert(), GPTQ_ERROR_CANCELLED);
  EXPECT_EQ(calls, 3);
  EXPECT_TRUE(gptq::test::fs::is_empty(folder_.path()));
}

TEST_F(ConvertApi, DenseAndGgufAreNothingToQuantizeTo) {
  for (const char* format : {"dense", "gguf"}) {
    ASSERT_EQ(gptq_options_set_string(options_, GPTQ_KEY_FORMAT, format), GPTQ_OK);
    gptq_quantizer* quantizer = nullptr;
    const auto sample = (gptq::test::source_dir() / "samples/model").string();
    EXPECT_EQ(gptq_quantizer_create(sample.c_str(), (folder_ / "out").c_str(), options_, &quantizer),
              GPTQ_ERROR_INVALID_ARGUMENT);
    EXPECT_EQ(quantizer, nullptr);
  }
}

}  // namespace
