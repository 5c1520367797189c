// Whole models by the plugin, on a device in host memory: what they predict is what the CPU predicts, as far as bf16 goes,
// and quantized they are as near to what they were.
#include <gptq.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "support/test_data.h"

namespace {

using gptq::test::source_dir;

struct Logits {
  std::vector<float> values;
  int64_t vocab = 0;
  std::string error;
};

/// After each of some tokens that are taken at once, and of some that follow one by one.
Logits logits_of(const std::string& folder, const char* device, int64_t prompt = 10) {
  Logits logits;
  gptq_options *options = nullptr, *of_session = nullptr;
  gptq_model* model = nullptr;
  gptq_session* session = nullptr;
  std::vector<int32_t> ids;
  const auto feed = [&](int64_t begin, int64_t count) {
    gptq_buffer* rows = nullptr;
    const bool worked = gptq_session_append_tokens(session, ids.data() + begin, count) == GPTQ_OK &&
                        gptq_session_prefill(session, GPTQ_LOGITS_ALL) == GPTQ_OK &&
                        gptq_session_logits(session, &rows) == GPTQ_OK;
    if (worked) {
      const auto* const data = static_cast<const float*>(gptq_buffer_data(rows));
      logits.values.insert(logits.values.end(), data, data + count * logits.vocab);
    }
    gptq_buffer_free(rows);
    return worked;
  };
  bool worked =
      gptq_options_create(&options) == GPTQ_OK &&
      gptq_options_set_string(options, GPTQ_KEY_DEVICE, device) == GPTQ_OK &&
      gptq_options_set_int(options, GPTQ_KEY_THREADS, 1) == GPTQ_OK &&
      gptq_model_load(folder.c_str(), options, &model) == GPTQ_OK &&
      gptq_model_get_int(model, "vocab_size", &logits.vocab) == GPTQ_OK &&
      gptq_options_create(&of_session) == GPTQ_OK &&
      gptq_options_set_int(of_session, GPTQ_KEY_CONTEXT_LENGTH, prompt > 10 ? prompt + 2 : 0) == GPTQ_OK &&
      gptq_session_create(model, of_session, &session) == GPTQ_OK;
  for (int64_t i = 0; i < prompt + 2; ++i)
    ids.push_back(static_cast<int32_t>((i * i * 31 + 7 * i + 5) % logits.vocab));
  worked = worked && feed(0, prompt) && feed(prompt, 1) && feed(prompt + 1, 1);
  if (!worked) logits.error = gptq_last_error_message();
  gptq_options_free(options);
  gptq_options_free(of_session);
  gptq_model_free(model);
  gptq_session_free(session);
  return logits;
}

/// Natural logarithms of the probabilities.
std::vector<double> log_softmax(const float* x, int64_t n) {
  const double most = *std::max_element(x, x + n);
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += std::exp(x[i] - most);
  std::vector<double> out;
  for (int64_t i = 0; i < n; ++i) out.push_back(x[i] - most - std::log(sum));
  return out;
}

/// The mean divergence in nat, and what it would be if all tokens were alike: a measure of how much there is to predict.
struct Divergence {
  double of_device = 0, of_nothing = 0;
};

Divergence divergence(const Logits& want, const Logits& got) {
  Divergence d;
  const auto rows = static_cast<int64_t>(want.values.size()) / want.vocab;
  for (int64_t r = 0; r < rows; ++r) {
    const std::vector<double> p = log_softmax(want.values.data() + r * want.vocab, want.vocab),
                              q = log_softmax(got.values.data() + r * want.vocab, want.vocab);
    for (size_t i = 0; i < p.size(); ++i) {
      d.of_device += std::exp(p[i]) * (p[i] - q[i]) / static_cast<double>(rows);
      d.of_nothing +=
          std::exp(p[i]) * (p[i] + std::log(static_cast<double>(want.vocab))) / static_cast<double>(rows);
    }
  }
  return d;
}

struct Quantized {
  nlohmann::json modules;  // of the report
  std::string error;
};

/// A model by the default recipe.
Quantized quantize(const std::string& folder, const std::string& output, const char* device,
                   const char* compute) {
  Quantized quantized;
  gptq_options* options = nullptr;
  gptq_quantizer* quantizer = nullptr;
  gptq_buffer* report = nullptr;
  bool worked = gptq_options_create(&options) == GPTQ_OK &&
                gptq_options_set_string(options, GPTQ_KEY_DEVICE, device) == GPTQ_OK &&
                gptq_options_set_int(options, GPTQ_KEY_THREADS, 1) == GPTQ_OK &&
                gptq_options_set_string(options, GPTQ_KEY_COMPUTE, compute) == GPTQ_OK &&
                gptq_options_set_int(options, GPTQ_KEY_GROUP_SIZE, 16) == GPTQ_OK &&
                gptq_quantizer_create(folder.c_str(), output.c_str(), options, &quantizer) == GPTQ_OK;
  for (int32_t s = 0; worked && s < 10; ++s) {
    std::vector<int32_t> ids;
    for (int32_t i = 0; i < 12; ++i) ids.push_back((i * 37 + i * i * (s + 3) + s * 101 + 11) % 40);
    worked = gptq_quantizer_add_calibration_tokens(quantizer, ids.data(), static_cast<int64_t>(ids.size())) ==
             GPTQ_OK;
  }
  worked = worked && gptq_quantizer_run(quantizer) == GPTQ_OK &&
           gptq_quantizer_report_json(quantizer, &report) == GPTQ_OK;
  if (worked)
    quantized.modules = nlohmann::json::parse(static_cast<const char*>(gptq_buffer_data(report)))["modules"];
  if (!worked) quantized.error = gptq_last_error_message();
  gptq_buffer_free(report);
  gptq_quantizer_free(quantizer);
  gptq_options_free(options);
  return quantized;
}

/// Folders of small models, once the plugin is open.
std::vector<std::string> model_folders() {
  EXPECT_EQ(setenv("GPTQ_PLUGIN_PATH", GPTQ_TEST_PLUGIN, 0), 0);
  EXPECT_EQ(gptq_device_check("cuda"), GPTQ_OK) << gptq_last_error_message();
  std::vector<std::string> folders;
  for (const auto& entry : std::filesystem::directory_iterator(source_dir() / "tests/golden/models"))
    folders.push_back(entry.path().string());
  std::sort(folders.begin(), folders.end());
  return folders;
}

/// Attention, rows of several blocks, states, experts: what each module loses is what it loses on the CPU, but for inputs
/// in bf16. What comes out is a model.
TEST(Models, AreQuantizedAsByTheCpu) {
  const std::string names[] = {"llama", "gpt2", "qwen3-next-dense-first", "granitemoe"};
  double ratios = 0, modules = 0;
  for (const std::string& folder : model_folders()) {
    if (std::find(std::begin(names), std::end(names), std::filesystem::path(folder).filename()) ==
        std::end(names))
      continue;
    SCOPED_TRACE(folder);
    const gptq::test::TemporaryFolder out;
    const Quantized want = quantize(folder, (out / "cpu").string(), "cpu", "exact"),
                    got = quantize(folder, (out / "cuda").string(), "cuda", "fast");
    ASSERT_EQ(want.error + got.error, "");
    ASSERT_EQ(got.modules.size(), want.modules.size());
    for (size_t i = 0; i < got.modules.size(); ++i) {
      const auto &mine = got.modules[i], &theirs = want.modules[i];
      EXPECT_EQ(mine["name"], theirs["name"]);
      EXPECT_EQ(mine["method"], theirs["method"]) << mine["name"];
      if (theirs["relative_error"].is_null()) continue;
      ratios += std::log(mine["relative_error"].get<double>() / theirs["relative_error"].get<double>());
      ++modules;
    }
    EXPECT_EQ(logits_of((out / "cuda").string(), "cuda").error, "");
  }
  EXPECT_GT(modules, 40);
  EXPECT_NEAR(ratios / modules, 0, 0.03);
}

void expect_same_predictions(const std::string& folder, int64_t prompt, double most) {
  SCOPED_TRACE(folder);
  const Logits want = logits_of(folder, "cpu", prompt), got = logits_of(folder, "cuda", prompt);
  EXPECT_EQ(want.error + got.error, "");
  ASSERT_EQ(got.values.size(), want.values.size());
  const Divergence d = divergence(want, got);
  EXPECT_GE(d.of_device, -1e-6);
  EXPECT_LE(d.of_device, most * d.of_nothing);
}

TEST(Models, PredictWhatTheCpuPredicts) {
  const auto folders = model_folders();
  EXPECT_GT(folders.size(), 30u);
  for (const std::string& folder : folders) expect_same_predictions(folder, 10, 5e-3);
}

/// Of so many tokens that products are by cuBLAS, where it is; more than the models were made for.
TEST(Models, PredictTheSameOfLongPrompts) {
  std::string logged;
  gptq_set_log_level(4);
  gptq_set_log_callback(
      [](void* to, int32_t, const char* text, int64_t size) {
        static_cast<std::string*>(to)->append(text, static_cast<size_t>(size));
      },
      &logged);
  const auto folders = model_folders();
  for (const char* name :
       {"llama", "qwen2", "gptq-b3-g32-v1-asym", "gptq-b4-g16-v2-asym-actorder", "gptq-b8-perchannel"}) {
    const auto folder = std::find_if(folders.begin(), folders.end(), [&](const std::string& f) {
      return std::filesystem::path(f).filename() == name;
    });
    ASSERT_NE(folder, folders.end()) << name;
    expect_same_predictions(*folder, 150, 1e-2);
  }
  gptq_set_log_callback(nullptr, nullptr);
  if (std::getenv("GPTQ_TEST_LIBRARIES") != nullptr) {
    EXPECT_NE(logged.find("cuBLAS is used"), std::string::npos) << logged;
  }
}

/// In how many pieces a prompt of 600 tokens goes through a model.
int pieces_of_prompt(const std::string& folder, const char* device) {
  int pieces = 0;
  gptq_options* options = nullptr;
  gptq_model* model = nullptr;
  gptq_session* session = nullptr;
  std::vector<int32_t> ids(600, 7);
  const auto count = [](void* to, int64_t, int64_t, const char* stage) -> int32_t {
    *static_cast<int*>(to) += std::string_view(stage) == "prefill" ? 1 : 0;
    return 0;
  };
  const bool worked = gptq_options_create(&options) == GPTQ_OK &&
                      gptq_options_set_string(options, GPTQ_KEY_DEVICE, device) == GPTQ_OK &&
                      gptq_model_load(folder.c_str(), options, &model) == GPTQ_OK &&
                      gptq_options_set_int(options, GPTQ_KEY_CONTEXT_LENGTH, 700) == GPTQ_OK &&
                      gptq_session_create(model, options, &session) == GPTQ_OK &&
                      gptq_session_append_tokens(session, ids.data(), 600) == GPTQ_OK &&
                      gptq_options_set_progress(options, count, &pieces) == GPTQ_OK &&
                      gptq_session_begin(session, options) == GPTQ_OK;
  EXPECT_TRUE(worked) << gptq_last_error_message();
  gptq_options_free(options);
  gptq_session_free(session);
  gptq_model_free(model);
  return pieces;
}

TEST(Models, TakeMoreOfAPromptAtOnceThanOnTheCpu) {
  const std::string folder = (source_dir() / "tests/golden/models/llama").string();
  static_cast<void>(model_folders());
  EXPECT_EQ(pieces_of_prompt(folder, "cpu"), 2);
  EXPECT_EQ(pieces_of_prompt(folder, "cuda"), 1);
  expect_same_predictions(folder, 600, 1e-2);
}

/// Tokens that are generated one by one, and whether each is the one that its logits say, the smallest of equals.
void expect_greedy(const std::string& folder, const char* device) {
  SCOPED_TRACE(folder);
  gptq_options* options = nullptr;
  gptq_model* model = nullptr;
  gptq_session* session = nullptr;
  ASSERT_EQ(gptq_options_create(&options), GPTQ_OK);
  ASSERT_EQ(gptq_options_set_string(options, GPTQ_KEY_DEVICE, device), GPTQ_OK);
  ASSERT_EQ(gptq_model_load(folder.c_str(), options, &model), GPTQ_OK) << gptq_last_error_message();
  ASSERT_EQ(gptq_session_create(model, nullptr, &session), GPTQ_OK);
  const int32_t ids[] = {3, 1, 4, 1, 5};
  ASSERT_EQ(gptq_session_append_tokens(session, ids, 5), GPTQ_OK);
  gptq_options* greedy = nullptr;
  ASSERT_EQ(gptq_options_create(&greedy), GPTQ_OK);
  ASSERT_EQ(gptq_options_set_int(greedy, GPTQ_KEY_IGNORE_EOS, 1), GPTQ_OK);
  ASSERT_EQ(gptq_session_begin(session, greedy), GPTQ_OK) << gptq_last_error_message();
  for (int i = 0; i < 6; ++i) {
    gptq_buffer* logits = nullptr;
    ASSERT_EQ(gptq_session_step(session), GPTQ_OK) << gptq_last_error_message();
    ASSERT_EQ(gptq_session_logits(session, &logits), GPTQ_OK) << gptq_last_error_message();
    const auto* const values = static_cast<const float*>(gptq_buffer_data(logits));
    const auto count = gptq_buffer_size(logits) / static_cast<int64_t>(sizeof(float));
    EXPECT_EQ(gptq_session_token(session), std::max_element(values, values + count) - values) << i;
    gptq_buffer_free(logits);
  }
  gptq_options_free(greedy);
  gptq_options_free(options);
  gptq_session_free(session);
  gptq_model_free(model);
}

TEST(Models, ChooseWhatTheirLogitsSay) {
  for (const std::string& folder : model_folders()) expect_greedy(folder, "cuda");
}

}  // namespace
