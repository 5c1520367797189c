// Jobs whose calls on files fail, or that are killed, at every place: the status says so, there is no output or a whole
// one, and the next run of the same job goes on and comes to the same bytes.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <map>
#include <random>

#include "injection.h"
#include "scenarios.h"

namespace gptq::test {
namespace {

using Files = std::map<std::string, std::string>;

Files contents(const fs::path& folder) {
  Files files;
  for (const std::string& name : names_in(folder)) {
    if (!name.starts_with("quantize_report")) files[name] = read_file(folder / name);  // it tells times
  }
  return files;
}

enum class StatesIn : uint8_t { memory, file };

class FaultyJob {
 public:
  explicit FaultyJob(StatesIn states = StatesIn::memory)
      : limit_(states == StatesIn::file ? least_memory_limit(path_.c_str(), output_.c_str()) : 0) {
    EXPECT_EQ(quantize(path_.c_str(), output_.c_str(), 1), GPTQ_DONE) << gptq_last_error_message();
    EXPECT_TRUE(is_whole(output_));
    whole_ = contents(output_);
    fs::remove_all(output_);
  }

  /// With call `n` failing. What is done then is left there.
  gptq_status run(int64_t n, Failing failing, FileFault fault, int code) {
    const int64_t files = open_files();
    arm_files(n, failing, fault, code);
    const gptq_status status = quantize(path_.c_str(), output_.c_str(), 1, "auto", limit_);
    disarm_files();
    EXPECT_EQ(open_files(), files);
    const auto names = names_in(tiny_.outputs());
    if (status == GPTQ_DONE) {
      EXPECT_EQ(names, std::vector<std::string>{"out"});
      expect_whole();
    } else {
      for (const std::string& name : names) EXPECT_TRUE(name == ".out.unfinished" || name == "out") << name;
      // there only where it was in its place, and could not be taken back when syncing failed
      expect_absent_or_whole();
      EXPECT_TRUE(failing == Failing::from_nth || !fs::exists(output_));
    }
    return status;
  }

  /// The run after a fault, without one.
  void finish(int threads = 1) {
    fs::remove_all(output_);
    ASSERT_EQ(quantize(path_.c_str(), output_.c_str(), threads, "auto", limit_), GPTQ_DONE)
        << gptq_last_error_message();
    ASSERT_EQ(names_in(tiny_.outputs()), std::vector<std::string>{"out"});
    expect_whole();
    fs::remove_all(output_);
  }

  int64_t calls(FileFault fault) {
    arm_files(INT64_MAX, Failing::nth, fault);
    EXPECT_EQ(quantize(path_.c_str(), output_.c_str(), 1, "auto", limit_), GPTQ_DONE);
    const int64_t calls = disarm_files().calls;
    fs::remove_all(output_);
    return calls;
  }

  /// In a child; true if call `n` was reached.
  bool killed_at(int64_t n, int threads) {
    const int ended = in_child([&] {
      arm_files(n, Failing::nth, FileFault::kill);
      return quantize(path_.c_str(), output_.c_str(), threads, "auto", limit_) == GPTQ_DONE ? 0 : 1;
    });
    EXPECT_TRUE(ended == 0 || ended == 1000 + SIGKILL) << ended;
    expect_absent_or_whole();
    return ended != 0;
  }

  void expect_whole() const { EXPECT_TRUE(contents(output_) == whole_); }
  void expect_absent_or_whole() const {
    if (fs::exists(output_)) expect_whole();
  }

  const TinyModel& tiny() const { return tiny_; }
  const std::string& path() const { return path_; }
  const std::string& output() const { return output_; }

 private:
  TinyModel tiny_;
  std::string path_ = tiny_.path(), output_ = tiny_.outputs() / "out";
  int64_t limit_;  // memory_limit
  Files whole_;
};

TEST(FaultyJobs, EachCallFailing) {
  FaultyJob job;
  const int64_t calls = job.calls(FileFault::error);
  ASSERT_GT(calls, 100);
  for (size_t first : {0, 1}) {  // each call with two of the errors
    int64_t refused = 0;
    for (int64_t n = 1; n <= calls; ++n) {
      const int code = kErrors[(static_cast<size_t>(n) + 3 * first) % std::size(kErrors)];
      const gptq_status status = job.run(n, Failing::nth, FileFault::error, code);
      const std::string function = first_failed();
      SCOPED_TRACE("call " + std::to_string(n) + ", " + function);
      if (status != GPTQ_DONE) {
        ++refused;
        expect_named(status, code);
      }
      for (const char* fatal : {"pwrite", "open to write", "fsync", "fallocate", "mkdir", "rename"}) {
        EXPECT_FALSE(function == fatal && status == GPTQ_DONE);
      }
      job.finish();
      if (HasFailure()) return;
    }
    EXPECT_GT(refused, calls / 2);
  }
}

TEST(FaultyJobs, EachWriteWithAFullOrBrokenDisk) {
  FaultyJob job;
  const int64_t calls = job.calls(FileFault::error);
  for (int code : {ENOSPC, EIO}) {
    int64_t writes = 0;
    for (int64_t n = 1; n <= calls; ++n) {
      const gptq_status status = job.run(n, Failing::from_nth, FileFault::error, code);
      SCOPED_TRACE("call " + std::to_string(n) + ", " + first_failed());
      if (status != GPTQ_DONE) expect_named(status, code);
      writes += std::string(first_failed()) == "pwrite";
      job.finish();
      if (HasFailure()) return;
    }
    EXPECT_GT(writes, 30);
  }
}

/// The first run has all in memory, and what comes out of those that have not is compared with it.
TEST(FaultyJobs, EachCallWithStatesInFiles) {
  const int64_t without = FaultyJob().calls(FileFault::error);
  FaultyJob job(StatesIn::file);
  const int64_t calls = job.calls(FileFault::error);
  EXPECT_GT(calls, without + 20);
  for (int64_t n = 1; n <= calls; ++n) {
    const int code = n % 2 == 0 ? ENOSPC : EIO;
    const gptq_status status =
        job.run(n, n % 3 == 0 ? Failing::from_nth : Failing::nth, FileFault::error, code);
    SCOPED_TRACE("call " + std::to_string(n) + ", " + first_failed());
    if (status != GPTQ_DONE) expect_named(status, code);
    job.finish();
    if (HasFailure()) return;
  }
  EXPECT_EQ(job.run(1, Failing::from_nth, FileFault::short_count, 0), GPTQ_DONE) << gptq_last_error_message();
  for (int64_t n = 1; n <= calls; n += 5) {
    ASSERT_TRUE(job.killed_at(n, 2));
    job.finish();
    if (HasFailure()) FAIL() << "killed at call " << n;
  }
}

TEST(FaultyJobs, InterruptedAndShortCalls) {
  FaultyJob job;
  const int64_t calls = job.calls(FileFault::error);
  for (int64_t n = 1; n <= calls; ++n) {
    const gptq_status interrupted = job.run(n, Failing::nth, FileFault::error, EINTR);
    const std::string function = first_failed();
    const bool interruptible = function != "fstat" && function != "stat" && function != "mmap" &&
                               function != "fchmod" && function != "unlink";
    EXPECT_TRUE(interrupted == GPTQ_DONE || !interruptible) << function << ": " << gptq_last_error_message();
    job.finish();
    if (HasFailure()) FAIL() << "call " << n << ", " << function;
  }
  EXPECT_EQ(job.run(1, Failing::from_nth, FileFault::short_count, 0), GPTQ_DONE) << gptq_last_error_message();
  fs::remove_all(job.output());
  for (int64_t n = 1; n <= calls; n += 7) {
    const gptq_status nothing = job.run(n, Failing::from_nth, FileFault::nothing, 0);
    EXPECT_TRUE(nothing == GPTQ_DONE || nothing == GPTQ_ERROR_IO || nothing == GPTQ_ERROR_CORRUPT);
    job.finish();
  }
}

TEST(FaultyJobs, AnOldOutputSurvivesEachFailure) {
  FaultyJob job;
  HeldOptions options;
  ASSERT_EQ(gptq_options_create(options.out()), GPTQ_OK);
  constexpr char kSettings[] = R"({"group_size": 16, "overwrite": 1, "threads": 1, "resume": "never"})";
  ASSERT_EQ(gptq_options_set_json(options.get(), kSettings, -1), GPTQ_OK);
  const auto replace = [&](int64_t n) {
    static constexpr int32_t kIds[] = {1, 10, 20, 30};
    fs::remove_all(job.output());
    fs::create_directory(job.output());
    write_file(fs::path(job.output()) / "old.txt", "old");
    HeldQuantizer quantizer;
    arm_files(n, Failing::nth, FileFault::error, EIO);
    gptq_status status =
        gptq_quantizer_create(job.path().c_str(), job.output().c_str(), options.get(), quantizer.out());
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

TEST(FaultyJobs, KilledAtEachCall) {
  FaultyJob job;
  const int64_t calls = job.calls(FileFault::kill);
  for (int64_t n = 1; n <= calls; ++n) {
    SCOPED_TRACE("killed at call " + std::to_string(n));
    ASSERT_TRUE(job.killed_at(n, 1));
    job.finish();
    if (HasFailure()) return;
  }
}

/// With two threads; then the run that goes on is killed, too, and the one after it has one thread.
TEST(FaultyJobs, KilledAtEachCallAndAgain) {
  FaultyJob job;
  const int64_t calls = job.calls(FileFault::kill);
  std::mt19937 random(7);
  int64_t again = 0;
  for (int64_t n = 1; n <= calls; ++n) {
    const int64_t second = std::uniform_int_distribution<int64_t>(1, calls)(random);
    SCOPED_TRACE("killed at call " + std::to_string(n) + ", then at " + std::to_string(second));
    ASSERT_TRUE(job.killed_at(n, 2));
    fs::remove_all(job.output());
    again += job.killed_at(second, 2);
    job.finish();
    if (HasFailure()) return;
  }
  EXPECT_GT(again, calls / 2);
}

/// At random moments, each run going on with what the one before it left. GPTQ_TEST_KILLS: how many; 60 otherwise.
TEST(FaultyJobs, KilledAtRandomMoments) {
  FaultyJob job;
  const char* given = std::getenv("GPTQ_TEST_KILLS");
  const int wanted = given != nullptr ? std::atoi(given) : 60;
  std::mt19937 random(42);
  int kills = 0, finished = 0;
  while (kills < wanted && finished < 10 * wanted) {
    const int threads = 1 + static_cast<int>(random() % 2);
    const auto microseconds = static_cast<useconds_t>(random() % 30'000);
    const pid_t child = fork();
    if (child == 0) {
      const gptq_status status = quantize(job.path().c_str(), job.output().c_str(), threads, "auto");
      _exit(status == GPTQ_DONE ? 0 : 1);
    }
    usleep(microseconds);
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status))
      ++kills;
    else
      ASSERT_EQ(WEXITSTATUS(status), 0);
    job.expect_absent_or_whole();
    if (!fs::exists(job.output())) continue;
    ++finished;
    job.finish();
    ASSERT_FALSE(HasFailure());
  }
  job.finish();
  EXPECT_EQ(kills, wanted);
  EXPECT_GT(finished, 0);
}

}  // namespace
}  // namespace gptq::test
