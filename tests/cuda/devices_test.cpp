// Models on several devices by the C interface: a GPU and the CPU, and two GPUs. On the shim they are devices in host memory,
// of which a test can say how much they have.
#include <gptq.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "shim_limit.h"
#include "support/test_data.h"

namespace {

using gptq::test::Limit;
using gptq::test::shim_limit;
using gptq::test::source_dir;

std::string message() { return gptq_last_error_message(); }
bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// Gives a device so many bytes more than it has in use.
void leave_memory(int device, size_t bytes) {
  const Limit limit = shim_limit();
  limit(device, limit(device, SIZE_MAX) + bytes);
}

/// What of a list a test can have here: a machine with one GPU lacks the second.
bool there_is(const char* devices) {
  static_cast<void>(shim_limit());
  return gptq_device_check(devices) == GPTQ_OK;
}

/// Options, a model and a session, as far as they came; freed together.
struct Attempt {
  Attempt(const std::string& folder, const std::string& device, const std::string& split,
          const std::string& kv_cache = "auto") {
    static_cast<void>(shim_limit());
    gptq_options_create(&options);
    gptq_options_set_string(options, GPTQ_KEY_DEVICE, device.c_str());
    gptq_options_set_string(options, GPTQ_KEY_LAYER_SPLIT, split.c_str());
    gptq_options_set_string(options, GPTQ_KEY_KV_CACHE, kv_cache.c_str());
    gptq_options_set_int(options, GPTQ_KEY_THREADS, 1);
    gptq_options_set_progress(options, count_progress, &loads);
    path = (source_dir() / folder).string();
  }
  Attempt(const Attempt&) = delete;
  Attempt& operator=(const Attempt&) = delete;
  ~Attempt() {
    gptq_session_free(session);
    gptq_model_free(model);
    gptq_options_free(options);
  }
  static int32_t count_progress(void* data, int64_t, int64_t, const char*) {
    ++*static_cast<int64_t*>(data);
    return 0;
  }
  gptq_status load() { return gptq_model_load(path.c_str(), options, &model); }
  gptq_status create() { return gptq_session_create(model, options, &session); }
  std::string text(const char* key) const {
    const char* value = nullptr;
    return gptq_model_get_string(model, key, &value) == GPTQ_OK ? value : message();
  }

  /// Logits after each of `count` tokens from the `first` on; none where that fails.
  std::vector<float> feed(int64_t first, int64_t count) {
    int64_t vocab = 0;
    gptq_model_get_int(model, "vocab_size", &vocab);
    std::vector<int32_t> ids;
    for (int64_t i = first; i < first + count; ++i)
      ids.push_back(static_cast<int32_t>((i * i * 31 + 7 * i + 5) % vocab));
    std::vector<float> logits;
    gptq_buffer* rows = nullptr;
    status = gptq_session_append_tokens(session, ids.data(), count);
    if (status == GPTQ_OK) status = gptq_session_prefill(session, GPTQ_LOGITS_ALL);
    if (status == GPTQ_OK && gptq_session_logits(session, &rows) == GPTQ_OK) {
      const auto* const data = static_cast<const float*>(gptq_buffer_data(rows));
      logits.assign(data, data + gptq_buffer_size(rows) / static_cast<int64_t>(sizeof(float)));
    }
    gptq_buffer_free(rows);
    return logits;
  }
  std::vector<float> all() {
    if (load() != GPTQ_OK || create() != GPTQ_OK) return {};
    std::vector<float> logits = feed(0, 10);
    for (int64_t i = 10; i < 13; ++i) {
      const std::vector<float> one = feed(i, 1);
      logits.insert(logits.end(), one.begin(), one.end());
    }
    return logits;
  }

  std::string path;
  gptq_options* options = nullptr;
  gptq_model* model = nullptr;
  gptq_session* session = nullptr;
  gptq_status status = GPTQ_OK;
  int64_t loads = 0;
};

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  double square = 0, of_b = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    square += std::pow(a[i] - b[i], 2.0);
    of_b += std::pow(b[i], 2.0);
  }
  return std::sqrt(square / of_b);
}

/// Bytes that are free when a load begins are planned but for these: of the driver and its libraries, of logits.
constexpr size_t kBeside = (size_t{128} + 16) << 20;

/// Two GPUs, or one twice, are one to the bit; with the CPU for a part of the layers a model is nearer to what the CPU makes
/// of it, or as near.
TEST(Devices, PredictWhatOnePredicts) {
  for (const std::string name : {"llama", "gpt2", "gptq-b4-g16-v2-asym-actorder", "granitemoe",
                                 "qwen3-next-dense-first", "llama-bias-tied", "minicpm3"}) {
    SCOPED_TRACE(name);
    const std::string folder = "tests/golden/models/" + name;
    const auto cpu = Attempt(folder, "cpu", "").all(), gpu = Attempt(folder, "cuda", "").all();
    ASSERT_FALSE(gpu.empty()) << message();
    const double apart = distance(gpu, cpu);
    EXPECT_GT(apart, 0);
    const std::string halves = name == "llama" || name == "gpt2" ? "1,1" : "";
    if (there_is("cuda:0,cuda:1")) {
      EXPECT_EQ(Attempt(folder, "cuda:0,cuda:1", "").all(), gpu);
    }
    EXPECT_EQ(Attempt(folder, "cuda,cuda", halves).all(), gpu);
    for (const char* devices : {"cuda,cpu", "cpu,cuda", "cpu,cuda:1"}) {
      if (!there_is(devices)) continue;
      const auto both = Attempt(folder, devices, halves).all();
      ASSERT_FALSE(both.empty()) << message();
      EXPECT_LE(distance(both, cpu), 1.5 * apart) << devices;
    }
  }
}

TEST(Devices, HoldWhatTheyHaveRoomFor) {
  if (shim_limit() == nullptr) GTEST_SKIP() << "no memory that a test could limit";
  const std::string sample = "samples/model";
  const auto split_with = [&](const char* devices, size_t bytes, int64_t context = 0) {
    Attempt run(sample, devices, "");
    gptq_options_set_int(run.options, GPTQ_KEY_CONTEXT_LENGTH, context);
    leave_memory(0, bytes);
    EXPECT_EQ(run.load(), GPTQ_OK) << message();
    const std::string split = run.text("layer_split");
    if (run.create() == GPTQ_OK) {
      EXPECT_FALSE(run.feed(0, context == 0 ? 40 : context).empty()) << message();
    } else {
      ADD_FAILURE() << message();
    }
    shim_limit()(0, SIZE_MAX);
    return split;
  };
  EXPECT_EQ(split_with("cuda,cpu", size_t{1} << 30), "4,0");
  EXPECT_EQ(split_with("cpu,cuda", size_t{1} << 30), "0,4");
  EXPECT_EQ(split_with("cuda,cpu", size_t{1} << 20), "0,4");
  // 3.1 MB of scratch memory, a tenth, 2.1 MB of embedding, for each layer 1.8 MB with 512 positions, 1.6 MB with 8
  const size_t half = kBeside + (size_t{21} << 19);
  EXPECT_EQ(split_with("cuda,cpu", half), "2,2");
  EXPECT_EQ(split_with("cuda,cpu", half, 512), "2,2");
  EXPECT_EQ(split_with("cuda,cpu", half, 8), "3,1");
  // a GPU that is listed twice has its memory once
  EXPECT_EQ(split_with("cuda,cpu,cuda", half), "2,2,0");
  EXPECT_EQ(split_with("cuda,cpu,cuda", size_t{1} << 30), "4,0,0");
  Attempt both(sample, "cuda:0,cuda:1", "");
  ASSERT_EQ(both.load(), GPTQ_OK) << message();
  EXPECT_EQ(both.text("layer_split"), "2,2");
  EXPECT_EQ(both.text("device"), "cuda:0 (host memory, bf16) + cuda:1 (host memory, bf16)");
}

/// A planned split without layers for a GPU is told; one that was asked for is not, nor is a CPU that has nothing to do.
TEST(Devices, SayWhichHaveNoLayers) {
  if (shim_limit() == nullptr) GTEST_SKIP() << "no memory that a test could limit";
  std::string warnings;
  gptq_set_log_callback(
      [](void* data, int32_t level, const char* text, int64_t) {
        if (level == 2) *static_cast<std::string*>(data) += std::string(text) + "\n";
      },
      &warnings);
  const auto warnings_of = [&](const char* devices, const char* split, size_t bytes) {
    warnings.clear();
    Attempt run("samples/model", devices, split);
    leave_memory(1, bytes);
    EXPECT_EQ(run.load(), GPTQ_OK) << message();
    shim_limit()(1, SIZE_MAX);
    return warnings;
  };
  const std::string said = warnings_of("cuda:0,cuda:1", "", size_t{8} << 20);
  EXPECT_TRUE(has(said, "device 'cuda:1' gets no layers: 8388608 bytes are free there, the model takes "))
      << said;
  EXPECT_FALSE(has(said, "cuda:0")) << said;
  EXPECT_TRUE(has(warnings_of("cuda:1,cpu", "", 0), "device 'cuda:1' gets no layers: 0 bytes are free"));
  EXPECT_EQ(warnings_of("cuda:1,cpu", "", size_t{1} << 30), "");
  EXPECT_EQ(warnings_of("cuda:0,cuda:1", "4,0", 0), "");
  EXPECT_EQ(warnings_of("cuda:1,cpu,cuda:1", "", size_t{1} << 30), "");
  gptq_set_log_callback(nullptr, nullptr);
}

/// A load that a device has no memory for says which device, and for what.
TEST(Devices, SayWhichHasNoMemory) {
  if (shim_limit() == nullptr) GTEST_SKIP() << "no memory that a test could limit";
  Attempt layers("samples/model", "cuda:0,cuda:1,cuda:0", "1,2,1"),
      ends("samples/model", "cuda:0,cuda:1", "2,2");
  leave_memory(1, 0);
  EXPECT_EQ(layers.load(), GPTQ_ERROR_OUT_OF_MEMORY);
  EXPECT_TRUE(has(message(), "cuda:1, layers 1 to 2: ")) << message();
  EXPECT_EQ(ends.load(), GPTQ_ERROR_OUT_OF_MEMORY);
  EXPECT_TRUE(has(message(), "cuda:0 (embedding) or cuda:1 (output head): ")) << message();
  shim_limit()(1, SIZE_MAX);
}

/// The second device has no more memory: the first gives back what it has just made, and the session goes on once there is.
TEST(Devices, ThatAreFullLeaveTheSessionAsItWas) {
  if (shim_limit() == nullptr) GTEST_SKIP() << "no memory that a test could limit";
  for (const std::string devices : {"cpu,cuda:1", "cuda:0,cuda:1"}) {
    SCOPED_TRACE(devices);
    Attempt run("samples/model", devices, "2,2"), wanted("samples/model", devices, "2,2");
    ASSERT_EQ(run.load(), GPTQ_OK) << message();
    ASSERT_EQ(run.create(), GPTQ_OK);
    ASSERT_EQ(wanted.load(), GPTQ_OK);
    ASSERT_EQ(wanted.create(), GPTQ_OK);
    ASSERT_EQ(run.feed(0, 20), wanted.feed(0, 20));
    double before = 0, after = 0;
    gptq_session_get_stat(run.session, "cache_bytes", &before);
    leave_memory(1, 0);
    EXPECT_TRUE(run.feed(20, 200).empty());
    EXPECT_EQ(run.status, GPTQ_ERROR_OUT_OF_MEMORY) << message();
    EXPECT_TRUE(has(message(), "cuda:1: no memory for 220 positions")) << message();
    gptq_session_get_stat(run.session, "cache_bytes", &after);
    EXPECT_EQ(after, before);
    shim_limit()(1, SIZE_MAX);
    ASSERT_EQ(gptq_session_prefill(run.session, GPTQ_LOGITS_ALL), GPTQ_OK) << message();
    gptq_buffer* rows = nullptr;
    ASSERT_EQ(gptq_session_logits(run.session, &rows), GPTQ_OK);
    const std::vector<float> logits = wanted.feed(20, 200);
    ASSERT_EQ(gptq_buffer_size(rows), static_cast<int64_t>(logits.size() * sizeof(float)));
    const auto* const got = static_cast<const float*>(gptq_buffer_data(rows));
    EXPECT_TRUE(std::equal(logits.begin(), logits.end(), got));
    gptq_buffer_free(rows);
  }
}

/// What a device lacks is said before weights are read: no progress was told. Of one without layers nothing is wanted.
TEST(Devices, SayEarlyWhatTheyCant) {
  for (const char* devices : {"cuda", "cuda,cpu", "cpu,cuda:1"}) {
    if (!there_is(devices)) continue;
    Attempt run("samples/model", devices, "", "int8");
    EXPECT_EQ(run.load(), GPTQ_ERROR_UNSUPPORTED) << devices;
    EXPECT_TRUE(has(message(), "option 'kv_cache' = int8: cuda (")) << message();
    EXPECT_EQ(run.loads, 0) << devices;
    gptq_options_set_string(run.options, GPTQ_KEY_KV_CACHE, "auto");
    ASSERT_EQ(run.load(), GPTQ_OK) << message();
    EXPECT_GT(run.loads, 0);
    gptq_options_set_string(run.options, GPTQ_KEY_KV_CACHE, "int8");
    EXPECT_EQ(run.create(), GPTQ_ERROR_UNSUPPORTED) << devices;
  }
  for (const char* split : {"0,4", "4,0"}) {
    Attempt run("samples/model", "cuda,cpu", split, "int8");
    EXPECT_EQ(run.load(), split[0] == '0' ? GPTQ_OK : GPTQ_ERROR_UNSUPPORTED) << message();
    if (split[0] == '0') {
      EXPECT_EQ(run.create(), GPTQ_OK) << message();
    }
  }
  Attempt tokens("samples/model", "cuda,cpu", "", "int8");
  gptq_options_set_int(tokens.options, GPTQ_KEY_LOAD_WEIGHTS, 0);
  EXPECT_EQ(tokens.load(), GPTQ_OK) << message();
  Attempt exact("samples/model", "cpu,cuda", "");
  gptq_options_set_string(exact.options, GPTQ_KEY_COMPUTE, "exact");
  EXPECT_EQ(exact.load(), GPTQ_ERROR_UNSUPPORTED);
  EXPECT_EQ(gptq_device_check("cuda:0,cpu"), GPTQ_OK);
  EXPECT_EQ(gptq_device_check("cpu,cuda:1023"), GPTQ_ERROR_INVALID_ARGUMENT);
}

}  // namespace
