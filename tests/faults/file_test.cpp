// Loads with calls on files that fail, one after the other: the status says so, no descriptor is lost.
#include <cerrno>

#include "injection.h"
#include "scenarios.h"

namespace gptq::test {
namespace {

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

}  // namespace
}  // namespace gptq::test
