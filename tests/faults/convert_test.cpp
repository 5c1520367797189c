// Conversions whose calls on files fail, or that are killed, at every place: the status says so, the output is whole or
// as it was before, and nothing is left of what a killed run made once another one has run.
#include <csignal>
#include <map>

#include "injection.h"
#include "scenarios.h"

namespace gptq::test {
namespace {

using Files = std::map<std::string, std::string>;

gptq_status convert(const std::string& from, const std::string& to, const char* settings) {
  HeldOptions options;
  gptq_status status = gptq_options_create(options.out());
  if (status >= 0) status = gptq_options_set_json(options.get(), settings, -1);
  if (status >= 0) status = gptq_model_convert(from.c_str(), to.c_str(), options.get());
  return status;
}

struct Direction {
  const char* name;
  const char* settings;
  bool from_gguf;
};

/// A quantized model with a tokenizer, as a folder and as a GGUF file, on its way into another format.
class FaultyConversion : public testing::TestWithParam<Direction> {
 protected:
  void SetUp() override {
    const fs::path golden = source_dir() / "tests/golden", model = folder_ / "model";
    fs::copy(golden / "models/gptq-b4-g16", model);
    fs::copy_file(golden / "tokenizers/gpt2-style/tokenizer.json", model / "tokenizer.json");
    write_file(model / "generation_config.json", R"({"eos_token_id": [2]})");
    fs::create_directory(outputs_);
    source_ = model;
    if (GetParam().from_gguf) {
      source_ = folder_ / "model.gguf";
      ASSERT_EQ(convert(model, source_, R"({"format": "gguf"})"), GPTQ_OK) << gptq_last_error_message();
    }
    ASSERT_EQ(run(), GPTQ_OK) << gptq_last_error_message();
    whole_ = contents();
    ASSERT_GE(whole_.size(), 1u);
    clear();
    arm_files(INT64_MAX, Failing::nth, FileFault::kill);
    ASSERT_EQ(run(), GPTQ_OK);
    calls_ = disarm_files().calls;
    clear();
    ASSERT_GT(calls_, 30);
  }

  gptq_status run(const char* settings = GetParam().settings) const {
    return convert(source_, output_, settings);
  }
  void clear() const {
    for (const std::string& name : names_in(outputs_)) fs::remove_all(outputs_ / name);
  }
  /// A file's under "".
  Files contents() const {
    Files files;
    if (!fs::is_directory(output_)) return {{"", read_file(output_)}};
    for (const std::string& name : names_in(output_)) files[name] = read_file(fs::path(output_) / name);
    return files;
  }
  void expect_whole() const {
    ASSERT_TRUE(fs::exists(output_));
    EXPECT_TRUE(contents() == whole_);
  }
  /// With call `n` failing.
  gptq_status run_failing(int64_t n, Failing failing, FileFault fault, int code) const {
    const int64_t files = open_files();
    arm_files(n, failing, fault, code);
    const gptq_status status = run();
    disarm_files();
    EXPECT_EQ(open_files(), files);
    return status;
  }
  /// The run after a fault, without one.
  void finish() const {
    fs::remove_all(output_);
    ASSERT_EQ(run(), GPTQ_OK) << gptq_last_error_message();
    EXPECT_EQ(names_in(outputs_), std::vector<std::string>{"out"});
    expect_whole();
    clear();
  }

  TemporaryFolder folder_;
  fs::path outputs_ = folder_ / "outputs";
  std::string source_, output_ = outputs_ / "out";
  Files whole_;
  int64_t calls_ = 0;
};

TEST_P(FaultyConversion, EachCallFailing) {
  for (size_t first : {0, 1}) {  // each call with two of the errors
    int64_t refused = 0;
    for (int64_t n = 1; n <= calls_; ++n) {
      const int code = kErrors[(static_cast<size_t>(n) + 3 * first) % std::size(kErrors)];
      const gptq_status status = run_failing(n, Failing::nth, FileFault::error, code);
      const std::string function = first_failed();
      SCOPED_TRACE("call " + std::to_string(n) + ", " + function);
      if (status == GPTQ_OK) {
        expect_whole();
      } else {
        ++refused;
        expect_named(status, code);
        EXPECT_TRUE(names_in(outputs_).empty());
      }
      for (const char* fatal : {"pwrite", "open to write", "fsync", "fallocate", "mkdir", "rename"}) {
        EXPECT_FALSE(function == fatal && status == GPTQ_OK);
      }
      clear();
      if (HasFailure()) return;
    }
    EXPECT_GT(refused, calls_ / 2);
  }
}

TEST_P(FaultyConversion, EachWriteWithAFullOrBrokenDisk) {
  for (int code : {ENOSPC, EIO}) {
    int64_t writes = 0;
    for (int64_t n = 1; n <= calls_; ++n) {
      const gptq_status status = run_failing(n, Failing::from_nth, FileFault::error, code);
      SCOPED_TRACE("call " + std::to_string(n) + ", " + first_failed());
      if (status != GPTQ_OK) expect_named(status, code);
      // there only where it was in its place, and could not be taken back when syncing failed
      if (fs::exists(output_)) expect_whole();
      writes += std::string(first_failed()) == "pwrite";
      clear();
      if (HasFailure()) return;
    }
    EXPECT_GT(writes, 3);
  }
  ASSERT_EQ(run_failing(1, Failing::from_nth, FileFault::short_count, 0), GPTQ_OK)
      << gptq_last_error_message();
  expect_whole();
}

TEST_P(FaultyConversion, AnOldOutputSurvivesEachFailure) {
  std::string settings = GetParam().settings;
  settings.insert(settings.rfind('}'), R"(, "overwrite": 1)");
  const fs::path old = whole_.contains("") ? fs::path(output_) : fs::path(output_) / "old";
  for (int64_t n = 1; n <= calls_ + 10; ++n) {
    if (old.parent_path() != outputs_) fs::create_directory(output_);
    write_file(old, "old");
    arm_files(n, Failing::nth, FileFault::error, EIO);
    const gptq_status status = run(settings.c_str());
    disarm_files();
    SCOPED_TRACE("call " + std::to_string(n) + ", " + first_failed());
    if (status == GPTQ_OK) {
      expect_whole();
    } else {
      ASSERT_TRUE(fs::exists(old));
      EXPECT_TRUE(read_file(old) == "old");
    }
    clear();
    if (HasFailure()) return;
  }
}

TEST_P(FaultyConversion, KilledAtEachCall) {
  for (int64_t n = 1; n <= calls_; ++n) {
    SCOPED_TRACE("killed at call " + std::to_string(n));
    const int ended = in_child([&] {
      arm_files(n, Failing::nth, FileFault::kill);
      return run() == GPTQ_OK ? 0 : 1;
    });
    ASSERT_EQ(ended, 1000 + SIGKILL);
    if (fs::exists(output_)) expect_whole();
    finish();
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, FaultyConversion,
    testing::Values(Direction{"ToGguf", R"({"format": "gguf"})", false},
                    Direction{"FromGguf", R"({"format": "dense", "max_shard_size": 16000})", true},
                    Direction{"ToGptqV2", R"({"format": "gptq_v2", "max_shard_size": 16000})", false}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace gptq::test
