// Memory that runs out at each place of a conversation, or of two that go on together: it ends as it would have.
#include <algorithm>

#include "injection.h"
#include "places.h"
#include "scenarios.h"

namespace gptq::test {
namespace {

struct Told {
  std::string story;
  int64_t calls = 0, repeated = 0;
};

/// A whole conversation, in which a call is repeated after memory ran out in it.
Told converse(const gptq_model* model, int64_t n, Failing failing) {
  Told told;
  told.story.reserve(1 << 16);  // the test's own memory is not what is tried
  const auto again = [&](const auto& call) {
    const gptq_status status = call();
    if (status != GPTQ_ERROR_OUT_OF_MEMORY) return status;
    told.calls = disarm_memory().calls;
    ++told.repeated;
    return call();
  };
  HeldOptions options;
  HeldSession session;
  HeldBuffer logits;
  EXPECT_EQ(gptq_options_create(options.out()), GPTQ_OK);
  EXPECT_EQ(gptq_options_set_json(options.get(),
                                  R"({"temperature": 1.5, "seed": 11, "max_tokens": 12, "top_p": 0.99,
                                      "repetition_penalty": 1.1, "ignore_eos": 1})",
                                  -1),
            GPTQ_OK);
  arm_memory(n, failing);
  gptq_status status = again([&] { return gptq_session_create(model, nullptr, session.out()); });
  for (const char* text : {"the cat", " and"}) {
    status = again([&] { return gptq_session_append_text(session.get(), text, -1); });
    if (status == GPTQ_OK) {
      status = again([&] { return gptq_session_begin(session.get(), options.get()); });
    }
    while (status == GPTQ_OK) {
      status = again([&] { return gptq_session_step(session.get()); });
      told.story +=
          std::to_string(gptq_session_token(session.get())) + ":" + gptq_session_text(session.get()) + "|";
    }
    told.story += gptq_session_finish_reason(session.get());
  }
  status = again([&] { return gptq_session_logits(session.get(), logits.out()); });
  const Injected injected = disarm_memory();
  if (told.repeated == 0) told.calls = injected.calls;
  EXPECT_EQ(status, GPTQ_OK) << gptq_last_error_message();
  told.story += std::to_string(gptq_session_token_count(session.get()));
  return told;
}

/// On several devices one may have room for a piece where the next has none.
void expect_the_same_story(const char* device, int64_t most) {
  SCOPED_TRACE(device);
  const TinyModel tiny;
  HeldModel model;
  ASSERT_EQ(load(tiny.path().c_str(), 1, model, device), GPTQ_OK);
  const Told whole = converse(model.get(), INT64_MAX, Failing::nth);
  ASSERT_GT(whole.calls, 50);
  ASSERT_EQ(whole.repeated, 0);
  int64_t repeated = 0;
  for (Failing failing : {Failing::nth, Failing::from_nth}) {
    for (int64_t n : places(whole.calls, most)) {
      const int64_t before = live_blocks();
      bool same = false;
      {
        const Told told = converse(model.get(), n, failing);
        same = told.story == whole.story;
        repeated += told.repeated;
      }
      ASSERT_TRUE(same) << "allocation " << n;
      ASSERT_EQ(live_blocks(), before) << "allocation " << n;
    }
  }
  EXPECT_GT(repeated, most / 6);
}

TEST(Memory, ASessionGoesOnWithTheSameTokens) {
  expect_the_same_story("cpu", 600);
  expect_the_same_story("cpu,cpu", 300);
}

/// Two conversations, step by step together; one that had no memory for its step takes it with the next.
/// A third begins later: its first token needs no pass.
std::string converse_together(const gptq_model* model, int64_t n, Failing failing, int64_t& calls,
                              int& refusals) {
  std::string stories[3];
  for (std::string& story : stories) story.reserve(1 << 12);
  HeldOptions options;
  HeldSession held[3];
  gptq_options_create(options.out());
  gptq_options_set_json(options.get(), R"({"max_tokens": 9, "ignore_eos": 1, "context_length": 100})", -1);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(gptq_session_create(model, options.get(), held[i].out()), GPTQ_OK);
    const std::vector<int32_t> ids(i == 0 ? 60 : 3, 5);  // one comes to another page
    gptq_session_append_tokens(held[i].get(), ids.data(), static_cast<int64_t>(ids.size()));
    EXPECT_EQ(gptq_session_begin(held[i].get(), options.get()), GPTQ_OK);
  }
  gptq_session* const sessions[3] = {held[0].get(), held[1].get(), held[2].get()};
  bool ended[3] = {};
  arm_memory(n, failing);
  for (int round = 0; round < 40 && !(ended[0] && ended[1] && ended[2]); ++round) {
    const int count = round < 3 ? 2 : 3;
    gptq_status statuses[3] = {};
    gptq_session_step_all(sessions, count, statuses);
    const bool refused = std::any_of(statuses, statuses + count, [](gptq_status s) { return s < 0; });
    if (refused) calls = disarm_memory().calls;
    refusals += refused ? 1 : 0;
    for (int i = 0; i < count; ++i) {
      if (statuses[i] < 0) {
        EXPECT_EQ(statuses[i], GPTQ_ERROR_OUT_OF_MEMORY);
        continue;
      }
      ended[i] = statuses[i] == GPTQ_DONE;
      if (!ended[i]) stories[i] += std::to_string(gptq_session_token(sessions[i])) + " ";
    }
  }
  const Injected injected = disarm_memory();
  if (calls == 0) calls = injected.calls;
  return stories[0] + "| " + stories[1] + "| " + stories[2];
}

/// Also where a state has to go back.
TEST(Memory, SessionsGoOnTogetherWithTheSameTokens) {
  for (const char* name : {"llama", "qwen3-next-dense-first"}) {
    for (const char* device : {"cpu", "cpu,cpu"}) {
      SCOPED_TRACE(name);
      HeldModel model;
      ASSERT_EQ(load((source_dir() / "tests/golden/models" / name).c_str(), 1, model, device), GPTQ_OK);
      int64_t calls = 0;
      int refusals = 0, none = 0;
      const std::string whole = converse_together(model.get(), INT64_MAX, Failing::nth, calls, none);
      ASSERT_GT(calls, 50);
      for (Failing failing : {Failing::nth, Failing::from_nth}) {
        for (int64_t n : places(calls, 300)) {
          const int64_t before = live_blocks();
          int64_t unused = 0;
          bool same = converse_together(model.get(), n, failing, unused, refusals) == whole;
          ASSERT_TRUE(same) << "allocation " << n;
          ASSERT_EQ(live_blocks(), before) << "allocation " << n;
        }
      }
      EXPECT_GT(refusals, 50);
    }
  }
}

}  // namespace
}  // namespace gptq::test
