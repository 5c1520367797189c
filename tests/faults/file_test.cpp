// Calls on files that fail, one after the other: the status says so, no output and nothing temporary stays, no
// descriptor is lost.
#include <cerrno>
#include <csignal>
#include <cstring>

#include "injection.h"
#include "scenarios.h"

namespace gptq::test {
namespace {

constexpr int kErrors[] = {ENOSPC, EIO, EDQUOT, EACCES, EMFILE, ENOMEM};

gptq_status load_all(const std::string& folder) {
  HeldModel model;
  const gptq_status status = load(folder.c_str(), 1, model);
  EXPECT_EQ(status == GPTQ_OK, model.get() != nullptr);
  return status;
}

/// How many calls on files `use` makes.
template <class Use>
int64_t count_calls(const Use& use) {
  use();
  arm_files(INT64_MAX, Failing::nth, FileFault::error);
  use();
  return disarm_files().calls;
}

/// What a failure of `code` may be: the system's refusal, or what is left of a file that can't be read.
void expect_named(gptq_status status, int code) {
  const std::string message = gptq_last_error_message();
  EXPECT_EQ(status, code == ENOMEM ? GPTQ_ERROR_OUT_OF_MEMORY : GPTQ_ERROR_IO) << message;
  EXPECT_NE(message.find(strerrordesc_np(code)), std::string::npos) << message;
  EXPECT_NE(message.find('/'), std::string::npos) << "no path: " << message;
}

TEST(Files, LoadWithEachCallFailing) {
  const TinyModel tiny;
  for (const std::string& folder :
       {tiny.path(), (source_dir() / "tests/golden/models/llama-sharded").string(),
        (source_dir() / "tests/golden/tokenizers/llama2-style-model").string()}) {
    HeldModel whole;
    const gptq_status normally = load_all(folder);
    const int64_t calls = count_calls([&] { load_all(folder); }), files = open_files();
    ASSERT_GT(calls, 10);
    int64_t refused = 0;
    for (int code : kErrors) {
      for (int64_t n = 1; n <= calls; ++n) {
        arm_files(n, Failing::nth, FileFault::error, code);
        const gptq_status status = load_all(folder);
        disarm_files();
        SCOPED_TRACE(folder + ": call " + std::to_string(n) + ", " + first_failed());
        // closing what was read, or asking how many CPUs there are, may fail unseen
        if (status != normally) {
          ++refused;
          expect_named(status, code);
        }
        ASSERT_EQ(open_files(), files);
      }
    }
    EXPECT_GT(refused, 30);
  }
}

TEST(Files, LoadWithInterruptedAndShortReads) {
  const TinyModel tiny;
  const int64_t calls = count_calls([&] { load_all(tiny.path()); });
  for (int64_t n = 1; n <= calls; ++n) {
    arm_files(n, Failing::nth, FileFault::error, EINTR);
    const gptq_status interrupted = load_all(tiny.path());
    disarm_files();
    // no file system interrupts these
    const std::string function = first_failed();
    if (function == "fstat" || function == "stat" || function == "mmap") continue;
    EXPECT_EQ(interrupted, GPTQ_OK) << n << " " << function << ": " << gptq_last_error_message();
    arm_files(n, Failing::from_nth, FileFault::short_count);
    EXPECT_EQ(load_all(tiny.path()), GPTQ_OK) << n << ": " << gptq_last_error_message();
    disarm_files();
    arm_files(n, Failing::from_nth, FileFault::nothing);  // as if every file were cut
    const gptq_status cut = load_all(tiny.path());
    disarm_files();
    EXPECT_TRUE(cut == GPTQ_OK || cut == GPTQ_ERROR_CORRUPT) << gptq_last_error_message();
  }
}

/// Quantizes with call `n` failing, and looks at what is left.
class JobWithFault {
 public:
  gptq_status run(int64_t n, Failing failing, FileFault fault, int code) {
    const int64_t files = open_files();
    arm_files(n, failing, fault, code);
    const gptq_status status = quantize(tiny_.path().c_str(), output_.c_str(), 1);
    disarm_files();
    EXPECT_EQ(open_files(), files);
    const bool done = status == GPTQ_DONE;
    EXPECT_EQ(names_in(tiny_.outputs()), done ? std::vector<std::string>{"out"} : std::vector<std::string>());
    EXPECT_EQ(done, done && is_whole(output_));
    fs::remove_all(output_);
    return status;
  }

  int64_t calls() {
    run(INT64_MAX, Failing::nth, FileFault::error, 0);
    arm_files(INT64_MAX, Failing::nth, FileFault::error);
    quantize(tiny_.path().c_str(), output_.c_str(), 1);
    const int64_t calls = disarm_files().calls;
    fs::remove_all(output_);
    return calls;
  }

  const TinyModel& tiny() const { return tiny_; }
  const std::string& output() const { return output_; }

 private:
  TinyModel tiny_;
  std::string output_ = tiny_.outputs() / "out";
};

TEST(Files, AJobWithEachCallFailing) {
  JobWithFault job;
  const int64_t calls = job.calls();
  ASSERT_GT(calls, 60);
  for (size_t first : {0, 1}) {  // each call with two of the errors
    int64_t refused = 0;
    for (int64_t n = 1; n <= calls; ++n) {
      const int code = kErrors[(static_cast<size_t>(n) + 3 * first) % std::size(kErrors)];
      const gptq_status status = job.run(n, Failing::nth, FileFault::error, code);
      SCOPED_TRACE("call " + std::to_string(n) + ", " + first_failed());
      if (status != GPTQ_DONE) {
        ++refused;
        expect_named(status, code);
      }
      const std::string function = first_failed();
      for (const char* fatal : {"pwrite", "open to write", "fsync", "fallocate", "mkdir", "rename"}) {
        EXPECT_FALSE(function == fatal && status == GPTQ_DONE);
      }
      if (HasFailure()) return;
    }
    EXPECT_GT(refused, calls / 2);
  }
}

TEST(Files, AJobOnADiskThatStaysFull) {
  JobWithFault job;
  const int64_t calls = job.calls();
  for (int64_t n = 1; n <= calls; n += 2) {
    const gptq_status status = job.run(n, Failing::from_nth, FileFault::error, ENOSPC);
    if (status != GPTQ_DONE) expect_named(status, ENOSPC);
    if (HasFailure()) FAIL() << "call " << n << ", " << first_failed();
  }
}

TEST(Files, AJobWithInterruptedAndShortCalls) {
  JobWithFault job;
  const int64_t calls = job.calls();
  for (int64_t n = 1; n <= calls; ++n) {
    const gptq_status interrupted = job.run(n, Failing::nth, FileFault::error, EINTR);
    const std::string function = first_failed();
    const bool interruptible =
        function != "fstat" && function != "stat" && function != "mmap" && function != "fchmod";
    EXPECT_TRUE(interrupted == GPTQ_DONE || !interruptible) << function << ": " << gptq_last_error_message();
    if (HasFailure()) FAIL() << "call " << n << ", " << function;
  }
  EXPECT_EQ(job.run(1, Failing::from_nth, FileFault::short_count, 0), GPTQ_DONE) << gptq_last_error_message();
  for (int64_t n = 1; n <= calls; n += 7) {
    const gptq_status nothing = job.run(n, Failing::from_nth, FileFault::nothing, 0);
    EXPECT_TRUE(nothing == GPTQ_DONE || nothing == GPTQ_ERROR_IO || nothing == GPTQ_ERROR_CORRUPT);
  }
}

TEST(Files, AnOldOutputSurvivesEachFailure) {
  JobWithFault job;
  HeldOptions options;
  ASSERT_EQ(gptq_options_create(options.out()), GPTQ_OK);
  ASSERT_EQ(gptq_options_set_json(options.get(), R"({"group_size": 16, "overwrite": 1, "threads": 1})", -1),
            GPTQ_OK);
  const auto replace = [&](int64_t n) {
    static constexpr int32_t kIds[] = {1, 10, 20, 30};
    fs::remove_all(job.output());
    fs::create_directory(job.output());
    write_file(fs::path(job.output()) / "old.txt", "old");
    HeldQuantizer quantizer;
    arm_files(n, Failing::nth, FileFault::error, EIO);
    gptq_status status = gptq_quantizer_create(job.tiny().path().c_str(), job.output().c_str(), options.get(),
                                               quantizer.out());
    if (status == GPTQ_OK) {
      status = gptq_quantizer_add_calibration_tokens(quantizer.get(), kIds, std::size(kIds));
    }
    while (status == GPTQ_OK) status = gptq_quantizer_step(quantizer.get());
    return std::pair(status, disarm_files().calls);
  };
  const auto [status, calls] = replace(INT64_MAX);
  ASSERT_EQ(status, GPTQ_DONE) << gptq_last_error_message();
  for (int64_t n = 1; n <= calls; ++n) {
    const gptq_status now = replace(n).first;
    SCOPED_TRACE("call " + std::to_string(n) + ", " + first_failed());
    ASSERT_EQ(fs::exists(fs::path(job.output()) / "old.txt"), now != GPTQ_DONE);
    ASSERT_TRUE(now != GPTQ_DONE || is_whole(job.output()));
    // the old output is removed when the new one is there; where that fails, it stays beside it
    for (const std::string& name : names_in(job.tiny().outputs())) {
      if (name == "out") continue;
      EXPECT_EQ(now, GPTQ_DONE) << name;
      fs::remove_all(job.tiny().outputs() / name);
    }
  }
}

TEST(Files, KilledAtEachCall) {
  JobWithFault job;
  const int64_t calls = job.calls();
  int64_t killed = 0;
  for (int64_t n = 1; n <= calls; ++n) {
    const int ended = in_child([&] {
      arm_files(n, Failing::nth, FileFault::kill);
      return quantize(job.tiny().path().c_str(), job.output().c_str(), 1) == GPTQ_DONE ? 0 : 1;
    });
    ASSERT_TRUE(ended == 0 || ended == 1000 + SIGKILL) << ended;
    killed += ended != 0;
    ASSERT_TRUE(!fs::exists(job.output()) || is_whole(job.output())) << "call " << n;
    fs::remove_all(job.output());
    // the next run sweeps up after the one that was killed
    ASSERT_EQ(job.run(INT64_MAX, Failing::nth, FileFault::error, 0), GPTQ_DONE);
  }
  EXPECT_EQ(killed, calls);
}

}  // namespace
}  // namespace gptq::test
