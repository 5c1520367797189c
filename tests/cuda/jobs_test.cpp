// Whole quantization jobs by the plugin: killed and gone on with, and where the device has no room for what is kept there.
#include <gptq.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shim_limit.h"
#include "support/test_data.h"

namespace {

namespace fs = std::filesystem;
using gptq::test::Limit;
using gptq::test::read_file;
using gptq::test::shim_limit;
using gptq::test::source_dir;
using gptq::test::TemporaryFolder;

using Settings = std::map<std::string, std::string>;  // of the quantizer; numbers are whole

/// Ends the process within the second layer.
int32_t die_in_second_layer(void*, int64_t, int64_t, const char* stage) {
  if (std::strncmp(stage, "layer 2/2: ", 11) == 0) std::raise(SIGKILL);
  return 0;
}
int32_t stop_in_second_layer(void*, int64_t, int64_t, const char* stage) {
  return std::strncmp(stage, "layer 2/2: ", 11) == 0 ? 1 : 0;
}

/// A job of the llama with two layers on `device`.
struct Job {
  Job(const fs::path& output, const Settings& settings, gptq_progress_fn progress = nullptr) {
    gptq_options* options = nullptr;
    gptq_options_create(&options);
    gptq_options_set_string(options, GPTQ_KEY_DEVICE, "cuda");
    gptq_options_set_string(options, GPTQ_KEY_COMPUTE, "fast");
    gptq_options_set_int(options, GPTQ_KEY_THREADS, 1);
    gptq_options_set_int(options, GPTQ_KEY_REPORT, 0);  // says how long it took
    gptq_options_set_int(options, GPTQ_KEY_GROUP_SIZE, 16);
    for (const auto& [key, value] : settings) {
      const bool number = value.find_first_not_of("0123456789") == std::string::npos;
      EXPECT_EQ(number ? gptq_options_set_int(options, key.c_str(), std::stoll(value))
                       : gptq_options_set_string(options, key.c_str(), value.c_str()),
                GPTQ_OK)
          << gptq_last_error_message();
    }
    if (progress != nullptr) gptq_options_set_progress(options, progress, nullptr);
    const std::string model = (source_dir() / "tests/golden/models/llama").string();
    status = gptq_quantizer_create(model.c_str(), output.c_str(), options, &quantizer);
    for (int32_t s = 0; status == GPTQ_OK && s < 12; ++s) {
      std::vector<int32_t> ids;
      for (int32_t i = 0; i < 12; ++i) ids.push_back((i * 37 + i * i * (s + 3) + s * 101 + 11) % 40);
      status = gptq_quantizer_add_calibration_tokens(quantizer, ids.data(), static_cast<int64_t>(ids.size()));
    }
    gptq_options_free(options);
  }
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;
  ~Job() { gptq_quantizer_free(quantizer); }

  int32_t step() { return status = gptq_quantizer_step(quantizer); }
  int32_t run() {
    if (status == GPTQ_OK) status = gptq_quantizer_run(quantizer);
    if (status != GPTQ_OK) error = gptq_last_error_message();
    return status;
  }
  double layers_kept() const {
    double kept = -1;
    return gptq_quantizer_get_stat(quantizer, "layers_kept", &kept) == GPTQ_OK ? kept : -1;
  }

  gptq_quantizer* quantizer = nullptr;
  int32_t status = GPTQ_OK;
  std::string error;
};

/// Bytes of all files, by their names.
std::map<std::string, std::string> files_of(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) files[fs::relative(entry.path(), folder).string()] = read_file(entry.path());
  }
  return files;
}

const std::vector<Settings> kSettings{
    {},
    {{GPTQ_KEY_ORDER, "act"}},
    {{GPTQ_KEY_ORDER, "act"}, {GPTQ_KEY_STATIC_GROUPS, "1"}, {GPTQ_KEY_RANGE, "mse"}},
    {{GPTQ_KEY_TARGET, "gptaq"}, {GPTQ_KEY_SYM, "0"}},
    {{GPTQ_KEY_TRUE_SEQUENTIAL, "0"}},
    {{GPTQ_KEY_COMPAT, "gptqmodel"}, {GPTQ_KEY_BITS, "3"}},
};

class Jobs : public testing::TestWithParam<size_t> {
 protected:
  void SetUp() override { limit_ = shim_limit(); }
  void TearDown() override {
    if (limit_ != nullptr) limit_(0, SIZE_MAX);
  }
  const Settings& settings() const { return kSettings[GetParam()]; }
  /// What a job makes that nobody stops.
  fs::path whole() const {
    static std::map<size_t, TemporaryFolder> folders;
    const fs::path output = folders[GetParam()] / "whole";
    if (!fs::exists(output)) {
      Job job(output, settings());
      EXPECT_EQ(job.run(), GPTQ_OK) << job.error;
    }
    return output;
  }
  void expect_same(const fs::path& got, const fs::path& want) {
    const auto files = files_of(got), wanted = files_of(want);
    EXPECT_GT(wanted.size(), 2u);
    ASSERT_EQ(files.size(), wanted.size());
    for (const auto& [name, bytes] : wanted) {
      ASSERT_EQ(files.count(name), 1u) << name;
      EXPECT_TRUE(files.at(name) == bytes) << name;
    }
  }

  Limit limit_ = nullptr;
  TemporaryFolder folder_;
};

/// To the same bytes as a job that nobody stops.
TEST_P(Jobs, GoOnWhereTheyWereStopped) {
  const fs::path output = folder_ / "stopped";
  {
    const size_t used = limit_ != nullptr ? limit_(0, SIZE_MAX) : 0;
    Job stopped(output, settings(), stop_in_second_layer);
    EXPECT_EQ(stopped.run(), GPTQ_ERROR_CANCELLED) << stopped.error;
    EXPECT_EQ(stopped.layers_kept(), 1);
    EXPECT_FALSE(fs::exists(output));
    gptq_quantizer_free(std::exchange(stopped.quantizer, nullptr));
    if (limit_ != nullptr) {
      EXPECT_EQ(limit_(0, SIZE_MAX), used);  // nor is the layer left that was on its way
    }
  }
  Job rest(output, settings());
  EXPECT_EQ(rest.layers_kept(), 1);
  ASSERT_EQ(rest.run(), GPTQ_OK) << rest.error;
  expect_same(output, whole());
}

/// A process with a GPU must not fork: on the shim alone.
TEST_P(Jobs, GoOnWhereTheyWereKilled) {
  if (limit_ == nullptr) GTEST_SKIP() << "a GPU does not survive a fork";
  const fs::path output = folder_ / "killed";
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    Job killed(output, settings(), die_in_second_layer);
    killed.run();
    _exit(1);  // not reached
  }
  int how = 0;
  ASSERT_EQ(waitpid(child, &how, 0), child);
  ASSERT_TRUE(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL) << how;
  Job rest(output, settings());
  EXPECT_EQ(rest.layers_kept(), 1);
  ASSERT_EQ(rest.run(), GPTQ_OK) << rest.error;
  expect_same(output, whole());
}

Limit limit_of_device = nullptr;
int fallbacks = 0;

/// Another process gives the device back as soon as a job has found that it has no room for states there.
void make_room(void*, int32_t, const char* text, int64_t size) {
  if (std::string_view(text, static_cast<size_t>(size)).find("kept in the host's memory") ==
      std::string_view::npos)
    return;
  ++fallbacks;
  limit_of_device(0, SIZE_MAX);
}

/// Where the device turns out to have no room for states they are kept in the host's memory, to the same bytes.
TEST_P(Jobs, KeepStatesInTheHostsMemoryWhereTheyMust) {
  if (limit_ == nullptr) GTEST_SKIP() << "needs a device whose memory a test can take";
  limit_of_device = limit_;
  gptq_set_log_level(4);
  gptq_set_log_callback(make_room, nullptr);
  const fs::path output = folder_ / "less";
  const size_t used = limit_(0, SIZE_MAX);
  for (size_t room : {size_t{64} << 10, size_t{8} << 10, size_t{0}}) {
    fallbacks = 0;
    Job job(output, settings());
    ASSERT_EQ(job.status, GPTQ_OK);
    limit_(0, used + room);  // it had all when the job was made
    EXPECT_EQ(job.step(), GPTQ_OK) << gptq_last_error_message();
    EXPECT_EQ(fallbacks, 1) << room;
    if (room == 0) {
      EXPECT_EQ(job.run(), GPTQ_OK) << job.error;
    }
    gptq_quantizer_free(std::exchange(job.quantizer, nullptr));
    EXPECT_EQ(limit_(0, SIZE_MAX), used);
  }
  gptq_set_log_callback(nullptr, nullptr);
  expect_same(output, whole());
}

/// Where there is none for a layer the job ends, leaves nothing on the device, and can be gone on with.
TEST_P(Jobs, GoOnAfterWantOfMemory) {
  if (limit_ == nullptr) GTEST_SKIP() << "needs a device whose memory a test can take";
  const fs::path output = folder_ / "full";
  const size_t used = limit_(0, SIZE_MAX);
  for (int steps : {1, 2}) {
    Job job(output, settings());
    for (int i = 0; i < steps; ++i) ASSERT_EQ(job.step(), GPTQ_OK) << gptq_last_error_message();
    limit_(0, limit_(0, SIZE_MAX) + (2 << 10));
    EXPECT_EQ(job.run(), GPTQ_ERROR_OUT_OF_MEMORY) << job.error;
    EXPECT_FALSE(fs::exists(output));
    gptq_quantizer_free(std::exchange(job.quantizer, nullptr));
    EXPECT_EQ(limit_(0, SIZE_MAX), used);
  }
  Job rest(output, settings());
  EXPECT_EQ(rest.layers_kept(), 1);
  ASSERT_EQ(rest.run(), GPTQ_OK) << rest.error;
  expect_same(output, whole());
}

INSTANTIATE_TEST_SUITE_P(Settings, Jobs, testing::Range(size_t{0}, kSettings.size()));

}  // namespace
