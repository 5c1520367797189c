// A host's threads on one GPU, through the C interface: sessions of one model, models, and a quantizer beside a session
// compute at the same time what each computes alone, to the bit.
#include <gptq.h>
#include <gtest/gtest.h>

#include <barrier>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "support/test_data.h"

namespace {

using gptq::test::source_dir;

constexpr int64_t kPrompt = 40, kSteps = 8;

std::string folder_of(const char* name) { return (source_dir() / "tests/golden/models" / name).string(); }

/// Options for this device; null where that fails.
gptq_options* options_for_device() {
  gptq_options* options = nullptr;
  if (gptq_options_create(&options) != GPTQ_OK) return nullptr;
  gptq_options_set_string(options, GPTQ_KEY_DEVICE, "cuda");
  gptq_options_set_int(options, GPTQ_KEY_THREADS, 1);
  return options;
}

struct Model {
  explicit Model(const char* name) {
    gptq_options* const options = options_for_device();
    status = gptq_model_load(folder_of(name).c_str(), options, &model);
    if (status != GPTQ_OK) error = gptq_last_error_message();
    gptq_options_free(options);
  }
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;
  ~Model() { gptq_model_free(model); }

  gptq_model* model = nullptr;
  gptq_status status = GPTQ_OK;
  std::string error;
};

/// What a thread has to say: numbers, or why there are none.
struct Result {
  std::vector<float> logits;
  std::string bytes, error;
  bool operator==(const Result&) const = default;
};

/// Logits after each of some tokens that come at once, and of some one by one. `seed` chooses them.
Result predict(const gptq_model* model, int64_t seed) {
  Result result;
  gptq_session* session = nullptr;
  int64_t vocab = 0;
  bool worked = gptq_model_get_int(model, "vocab_size", &vocab) == GPTQ_OK &&
                gptq_session_create(model, nullptr, &session) == GPTQ_OK;
  for (int64_t at = 0; worked && at < kPrompt + kSteps;) {
    const int64_t count = at == 0 ? kPrompt : 1;
    std::vector<int32_t> ids;
    for (int64_t i = at; i < at + count; ++i)
      ids.push_back(static_cast<int32_t>((i * i * 31 + (7 + seed) * i + 5 * seed) % vocab));
    gptq_buffer* rows = nullptr;
    worked = gptq_session_append_tokens(session, ids.data(), count) == GPTQ_OK &&
             gptq_session_prefill(session, GPTQ_LOGITS_ALL) == GPTQ_OK &&
             gptq_session_logits(session, &rows) == GPTQ_OK;
    if (worked) {
      const auto* const data = static_cast<const float*>(gptq_buffer_data(rows));
      result.logits.insert(result.logits.end(), data, data + count * vocab);
    }
    gptq_buffer_free(rows);
    at += count;
  }
  if (!worked) result.error = gptq_last_error_message();
  gptq_session_free(session);
  return result;
}

/// The same conversation anew, as long as it takes others to do something else: numbers of the first, unless one differs.
Result predict_often(const gptq_model* model, int64_t seed) {
  Result first = predict(model, seed);
  for (int i = 0; i < 12 && first.error.empty(); ++i) {
    if (predict(model, seed) != first) first.error = "another time, other numbers";
  }
  return first;
}

/// The weights of a folder that is quantized.
Result quantize(const char* name) {
  Result result;
  const gptq::test::TemporaryFolder out;
  const std::string output = (out / "quantized").string();
  gptq_options* const options = options_for_device();
  gptq_quantizer* quantizer = nullptr;
  bool worked =
      gptq_options_set_int(options, GPTQ_KEY_GROUP_SIZE, 16) == GPTQ_OK &&
      gptq_quantizer_create(folder_of(name).c_str(), output.c_str(), options, &quantizer) == GPTQ_OK;
  for (int32_t s = 0; worked && s < 4; ++s) {
    std::vector<int32_t> ids;
    for (int32_t i = 0; i < 12; ++i) ids.push_back((i * 37 + i * i * (s + 3) + s * 101 + 11) % 40);
    worked = gptq_quantizer_add_calibration_tokens(quantizer, ids.data(), static_cast<int64_t>(ids.size())) ==
             GPTQ_OK;
  }
  worked = worked && gptq_quantizer_run(quantizer) == GPTQ_OK;
  if (worked) {
    result.bytes = gptq::test::read_file(std::filesystem::path(output) / "model.safetensors");
  } else {
    result.error = gptq_last_error_message();
  }
  gptq_quantizer_free(quantizer);
  gptq_options_free(options);
  return result;
}

/// Each piece of work alone, then all at once, each in a thread, a few times: they begin together.
void expect_the_same_at_once(const std::vector<std::function<Result()>>& work) {
  std::vector<Result> alone;
  for (const auto& each : work) {
    alone.push_back(each());
    ASSERT_EQ(alone.back().error, "");
    ASSERT_GT(alone.back().logits.size() + alone.back().bytes.size(), 0u);
  }
  for (int round = 0; round < 3; ++round) {
    std::vector<Result> together(work.size());
    std::barrier begin(static_cast<std::ptrdiff_t>(work.size()));
    std::vector<std::thread> threads;
    for (size_t i = 0; i < work.size(); ++i) {
      threads.emplace_back([&, i] {
        begin.arrive_and_wait();
        together[i] = work[i]();
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (size_t i = 0; i < work.size(); ++i) {
      EXPECT_EQ(together[i].error, "");
      EXPECT_TRUE(together[i] == alone[i]) << "thread " << i << ", round " << round;
    }
  }
}

class Threads : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(setenv("GPTQ_PLUGIN_PATH", GPTQ_TEST_PLUGIN, 0), 0);
    ASSERT_EQ(gptq_device_check("cuda"), GPTQ_OK) << gptq_last_error_message();
  }
};

TEST_F(Threads, SessionsOfOneModel) {
  const Model model("gptq-b4-g16-v2-asym-actorder");
  ASSERT_EQ(model.status, GPTQ_OK) << model.error;
  expect_the_same_at_once({[&] { return predict(model.model, 1); }, [&] { return predict(model.model, 2); }});
}

/// Keys and values alone, and states of linear attention.
TEST_F(Threads, Models) {
  const Model one("llama"), other("qwen3-next-dense-first");
  ASSERT_EQ(one.status, GPTQ_OK) << one.error;
  ASSERT_EQ(other.status, GPTQ_OK) << other.error;
  expect_the_same_at_once({[&] { return predict(one.model, 3); }, [&] { return predict(other.model, 4); }});
}

/// One loads a model meanwhile, too.
TEST_F(Threads, AQuantizerBesideSessions) {
  const Model model("gptq-b4-g16");
  ASSERT_EQ(model.status, GPTQ_OK) << model.error;
  expect_the_same_at_once({[] { return quantize("llama"); }, [&] { return predict_often(model.model, 5); },
                           [] {
                             const Model loaded("gpt2");
                             return loaded.status == GPTQ_OK
                                        ? predict(loaded.model, 6)
                                        : Result{.logits = {}, .bytes = {}, .error = loaded.error};
                           }});
}

}  // namespace
