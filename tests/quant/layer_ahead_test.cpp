// The next layer's weights come on another thread: what goes wrong there is told where the layer is taken.
#include "quant/layer_ahead.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <new>
#include <thread>

#include "base/error.h"

namespace gptq::test {
namespace {

void nothing() {}

struct Loads {
  std::atomic<int> begun = 0, elsewhere = 0;
  std::thread::id here = std::this_thread::get_id();

  LayerAhead::Load of(
      const std::string& name, const std::function<void()>& meanwhile = [] {}) {
    return [this, name, meanwhile](const LayerAhead::Check&) {
      ++begun;
      if (std::this_thread::get_id() != here) ++elsewhere;
      meanwhile();
      return LoadedLayer{.weights = {}, .hash = name};
    };
  }
};

TEST(LayerAhead, GivesWhatHasComeMeanwhile) {
  Loads loads;
  LayerAhead ahead;
  EXPECT_EQ(ahead.take(0, loads.of("0"), nothing).hash, "0");
  EXPECT_EQ(loads.elsewhere, 0);
  ahead.begin(1, loads.of("1 ahead"));
  EXPECT_EQ(ahead.take(1, loads.of("1"), nothing).hash, "1 ahead");
  EXPECT_EQ(loads.begun, 2);
  EXPECT_EQ(loads.elsewhere, 1);
  EXPECT_EQ(ahead.take(1, loads.of("1 again"), nothing).hash, "1 again");
  ahead.begin(2, loads.of("2 ahead"));
  EXPECT_EQ(ahead.take(3, loads.of("3"), nothing).hash, "3");  // another one than was expected
  EXPECT_EQ(loads.elsewhere, 2);
}

TEST(LayerAhead, TellsWhatWentWrongWhereTheLayerIsTaken) {
  Loads loads;
  LayerAhead ahead;
  ahead.begin(1, loads.of("", [] { throw Error(Fault::mismatch, "the file shrank"); }));
  try {
    ahead.take(1, loads.of("1"), nothing);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("the file shrank"), std::string::npos) << error.what();
  }
  EXPECT_EQ(loads.begun, 1);
}

TEST(LayerAhead, TriesAgainWhereThereWasNoRoom) {
  Loads loads;
  LayerAhead ahead;
  ahead.begin(1, loads.of("", [] { throw Error(Status::out_of_memory, "full"); }));
  EXPECT_EQ(ahead.take(1, loads.of("1"), nothing).hash, "1");
  ahead.begin(2, loads.of("", [] { throw std::bad_alloc(); }));
  EXPECT_EQ(ahead.take(2, loads.of("2"), nothing).hash, "2");
  ahead.begin(3, loads.of("", [] { throw Error(Status::out_of_memory, "full"); }));
  EXPECT_THROW(ahead.take(3, loads.of("", [] { throw Error(Status::out_of_memory, "still full"); }), nothing),
               Error);
}

/// What is on its way is waited for, and goes: also where it fails.
TEST(LayerAhead, LeavesNothingBehind) {
  auto kept = std::make_shared<int>(0);
  std::atomic<bool> goes_on = false;
  {
    Loads loads;
    LayerAhead ahead;
    const auto wait = [&goes_on, kept] {
      while (!goes_on) std::this_thread::yield();
    };
    ahead.begin(1, loads.of("1", wait));
    std::thread other([&] { goes_on = true; });
    ahead.drop();
    EXPECT_EQ(loads.begun, 1);
    other.join();
    ahead.begin(2, loads.of("2", [] { throw Error(Status::internal, "nobody asks"); }));
    ahead.begin(3, loads.of("3"));
  }
  EXPECT_EQ(kept.use_count(), 1);
}

/// A load that would go on for ever, until its check says no.
LoadedLayer endless(const LayerAhead::Check& check) {
  for (;;) {
    check();
    std::this_thread::yield();
  }
}

TEST(LayerAhead, EndsWhatNobodyWaitsFor) {
  LayerAhead ahead;
  ahead.begin(1, endless);
  ahead.begin(2, endless);
  ahead.drop();
  // who waits is asked meanwhile, whether it came by itself or not
  for (bool begun : {true, false}) {
    if (begun) ahead.begin(3, endless);
    int asked = 0;
    try {
      ahead.take(3, endless, [&] {
        if (++asked == 3) throw Error(Status::cancelled, "by the host");
      });
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::cancelled);
    }
    EXPECT_EQ(asked, 3);
  }
}

/// The thread is not there in it.
TEST(LayerAhead, IsLeftAloneInAChild) {
  LayerAhead ahead;
  ahead.begin(1, endless);
  const pid_t child = fork();
  if (child == 0) {
    const auto load = [](const LayerAhead::Check&) { return LoadedLayer{.weights = {}, .hash = "own"}; };
    _exit(ahead.take(1, load, nothing).hash == "own" ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace gptq::test
