// Steps of several sessions at once: each tells what it tells alone, whoever comes, goes, or fails beside it.
#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <thread>

#include "base/error.h"
#include "base/random.h"
#include "session/session.h"
#include "support/reference.h"

namespace gptq::test {
namespace {

void quiet(int64_t, int64_t, const std::string&) {}

std::shared_ptr<const Model> model_of(const char* name) {
  const fs::path folder = std::string_view(name) == "sample" ? source_dir() / "samples/model"
                                                             : source_dir() / "tests/golden/models" / name;
  return load_model(folder);
}

/// A conversation to be told alone or beside others.
struct Part {
  int64_t prompt;
  GenerationOptions options;
  int64_t late = 0;  // joint steps of the others before it begins
};

std::vector<Part> parts() {
  return {{.prompt = 1, .options = {.max_tokens = 20, .ignore_eos = IgnoreEos::yes}},
          {.prompt = 30,
           .options = {.sampler = {.temperature = 1.2, .seed = 3},
                       .max_tokens = 9,
                       .ignore_eos = IgnoreEos::yes}},
          {.prompt = 4,
           .options = {.sampler = {.temperature = 0.8, .top_k = 5, .seed = 4},
                       .max_tokens = 25,
                       .ignore_eos = IgnoreEos::yes},
           .late = 3},
          {.prompt = 11,
           .options = {.sampler = {.temperature = 1, .top_p = 0.9, .repetition_penalty = 1.3, .seed = 5},
                       .max_tokens = 13,
                       .ignore_eos = IgnoreEos::yes}},
          {.prompt = 2, .options = {.max_tokens = 6, .ignore_eos = IgnoreEos::yes}, .late = 8}};
}

std::unique_ptr<Session> session_of(const std::shared_ptr<const Model>& model, int64_t prompt,
                                    int64_t context = 0, KvElements elements = KvElements::automatic) {
  auto session = std::make_unique<Session>(model, context, elements);
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < prompt; ++i)
    ids.push_back(static_cast<int32_t>((i * i * 31 + 7 * i + 5 * prompt) % model->spec().vocab));
  session->append_tokens(ids);
  return session;
}

std::vector<float> logits_of(const Session& session) {
  return {session.logits().begin(), session.logits().end()};
}

/// Of each, alone: history and, behind the last step, logits.
struct Told {
  std::vector<int32_t> history;
  std::string text;
  std::vector<float> logits;
  FinishReason reason = FinishReason::none;
};

Told told_by(const Session& session, std::string text) {
  return {.history = {session.history().begin(), session.history().end()},
          .text = std::move(text),
          .logits = logits_of(session),
          .reason = session.finish_reason()};
}

Told alone(const std::shared_ptr<const Model>& model, const Part& part) {
  const auto session = session_of(model, part.prompt);
  session->begin(part.options, quiet);
  std::string text;
  while (session->step() == StepResult::chunk) text += session->text();
  return told_by(*session, text);
}

std::vector<Told> together(const std::shared_ptr<const Model>& model, const std::vector<Part>& all) {
  std::vector<std::unique_ptr<Session>> sessions;
  for (const Part& part : all) sessions.push_back(session_of(model, part.prompt));
  std::vector<std::string> texts(all.size());
  std::vector<Told> told(all.size());
  for (int64_t round = 0;; ++round) {
    std::vector<Session*> active;
    std::vector<size_t> numbers;
    for (size_t i = 0; i < all.size(); ++i) {
      if (round < all[i].late || told[i].reason != FinishReason::none) continue;
      if (round == all[i].late) sessions[i]->begin(all[i].options, quiet);
      active.push_back(sessions[i].get());
      numbers.push_back(i);
    }
    if (active.empty()) return told;
    const std::vector<StepOutcome> outcomes = Session::step_all(active);
    for (size_t i = 0; i < active.size(); ++i) {
      EXPECT_EQ(outcomes[i].error, nullptr);
      texts[numbers[i]] += active[i]->text();
      if (outcomes[i].result == StepResult::done) told[numbers[i]] = told_by(*active[i], texts[numbers[i]]);
    }
  }
}

void expect_equal(const Told& got, const Told& want) {
  EXPECT_EQ(got.history, want.history);
  EXPECT_EQ(got.text, want.text);
  EXPECT_EQ(got.reason, want.reason);
  EXPECT_LE(relative_difference(got.logits, want.logits), 1e-4);
}

class JointSteps : public testing::TestWithParam<const char*> {};

TEST_P(JointSteps, TellWhatEachTellsAlone) {
  const auto model = model_of(GetParam());
  const std::vector<Told> told = together(model, parts());
  for (size_t i = 0; i < told.size(); ++i) {
    SCOPED_TRACE(i);
    expect_equal(told[i], alone(model, parts()[i]));
  }
}

INSTANTIATE_TEST_SUITE_P(Models, JointSteps,
                         testing::Values("sample", "llama", "gpt2", "qwen2-window", "qwen3-next-dense-first",
                                         "qwen3-5-short-conv", "gptq-b4-g16-v2-asym-actorder", "minicpm3",
                                         "olmoe-clip", "deepseek-v2-groups", "granitemoe"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

/// A step alone between joint ones, and a joint one of another first.
TEST(JointStep, AlternatesWithStepsAlone) {
  for (const char* name : {"sample", "qwen3-next-dense-first"}) {
    SCOPED_TRACE(name);
    const auto model = model_of(name);
    const GenerationOptions options{.max_tokens = 12, .ignore_eos = IgnoreEos::yes};
    const auto a = session_of(model, 5), b = session_of(model, 17);
    a->begin(options, quiet);
    b->begin(options, quiet);
    for (int i = 0; i < 4; ++i) {
      Session* ab[] = {a.get(), b.get()};
      Session* ba[] = {b.get(), a.get()};
      (void)Session::step_all(ab);
      (void)b->step();
      (void)Session::step_all(ba);
      (void)a->step();
      if (i == 1) {  // another generation from where it is, by logits that the other's pipeline has
        b->begin(options, quiet);
      }
    }
    for (Session* const session : {a.get(), b.get()}) {
      Session other(model, 0);
      const auto history = session->history();
      const size_t prompt = session == a.get() ? 5 : 17;
      other.append_tokens(history.first(prompt));
      other.begin({.ignore_eos = IgnoreEos::yes}, quiet);
      while (other.history().size() < history.size()) ASSERT_EQ(other.step(), StepResult::chunk);
      EXPECT_TRUE(std::equal(history.begin(), history.end(), other.history().begin()));
    }
  }
}

TEST(JointStep, LogitsAreThereForWhoAsks) {
  const auto model = model_of("sample");
  std::vector<std::unique_ptr<Session>> sessions;
  std::vector<Session*> all;
  for (int64_t prompt : {3, 9, 6}) {
    sessions.push_back(session_of(model, prompt));
    all.push_back(sessions.back().get());
    SamplerOptions sampler;
    if (prompt == 9) sampler = {.temperature = 1};  // all are known then
    sessions.back()->begin({.sampler = sampler, .ignore_eos = IgnoreEos::yes}, quiet);
  }
  for (int i = 0; i < 3; ++i) (void)Session::step_all(all);
  for (Session* const session : {all[2], all[0], all[1], all[2]}) {
    Session other(model, 0);
    other.append_tokens(session->history().first(session->history().size() - 1));
    other.prefill(Logits::last, quiet);
    EXPECT_LE(relative_difference(logits_of(*session), logits_of(other)), 1e-5);
  }
}

/// A generation that begins where one has ended, by logits that another one's pipeline has.
TEST(JointStep, BeginsWhereAGenerationHasEnded) {
  const auto model = model_of("llama");
  const SamplerOptions samplers[] = {{.temperature = 1},
                                     {.temperature = 1.5, .top_k = 20},
                                     {.temperature = 1, .repetition_penalty = 0.9},
                                     {.temperature = 1, .top_p = 0.9}};
  int stopped = 0;
  for (uint64_t seed = 0; seed < 12; ++seed) {
    std::vector<std::unique_ptr<Session>> sessions;
    std::vector<Session*> all;
    for (SamplerOptions sampler : samplers) {
      sampler.seed = seed;
      sessions.push_back(session_of(model, static_cast<int64_t>(sessions.size()) + 1));
      sessions.back()->begin({.sampler = sampler, .max_tokens = 40}, quiet);
      all.push_back(sessions.back().get());
    }
    std::rotate(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(seed % 4), all.end());
    for (int i = 0; i < 41; ++i) (void)Session::step_all(all);
    for (Session* const session : all) {
      if (session->finish_reason() != FinishReason::stop) continue;
      ++stopped;
      const auto kept = logits_of(*session);
      session->begin({}, quiet);
      Session other(model, 0);
      other.append_tokens(session->history());
      other.prefill(Logits::last, quiet);
      EXPECT_LE(relative_difference(logits_of(*session), logits_of(other)), 1e-4);
      EXPECT_LE(relative_difference(kept, logits_of(other)), 1e-4);
    }
  }
  EXPECT_GT(stopped, 20);
}

/// Each has room for so many rows as its context has positions; the one with most leads, or each by itself.
TEST(JointStep, TakesMoreSessionsThanAPipelineHasRowsFor) {
  const auto model = model_of("sample");
  std::vector<std::unique_ptr<Session>> sessions;
  std::vector<Session*> all;
  for (int64_t i = 0; i < 7; ++i) {
    sessions.push_back(session_of(model, 1, i == 5 ? 4 : 3));
    all.push_back(sessions.back().get());
    all.back()->begin({.max_tokens = 2, .ignore_eos = IgnoreEos::yes}, quiet);
  }
  const auto whole = session_of(model, 1);
  whole->begin({.max_tokens = 2, .ignore_eos = IgnoreEos::yes}, quiet);
  while (whole->step() == StepResult::chunk) continue;
  for (int i = 0; i < 2; ++i) (void)Session::step_all(all);
  for (Session* const session : all)
    EXPECT_TRUE(std::equal(session->history().begin(), session->history().end(), whole->history().begin(),
                           whole->history().end()));
}

TEST(JointStep, OfCachesThatKeepSomethingElse) {
  const auto model = model_of("sample");
  const auto plain = session_of(model, 6), rounded = session_of(model, 6, 0, KvElements::int8),
             alone = session_of(model, 6, 0, KvElements::int8), also_plain = session_of(model, 6);
  Session* all[] = {rounded.get(), plain.get(), also_plain.get()};
  for (Session* const session : {all[0], all[1], all[2], alone.get()}) session->begin({}, quiet);
  for (int i = 0; i < 8; ++i) {
    for (const StepOutcome& outcome : Session::step_all(all)) EXPECT_EQ(outcome.error, nullptr);
    EXPECT_EQ(alone->step(), StepResult::chunk);
  }
  EXPECT_LE(relative_difference(logits_of(*rounded), logits_of(*alone)), 1e-5);
  EXPECT_EQ(logits_of(*plain), logits_of(*also_plain));
  EXPECT_GT(relative_difference(logits_of(*plain), logits_of(*rounded)), 0);
}

Status status_of(const StepOutcome& outcome) {
  try {
    if (outcome.error) std::rethrow_exception(outcome.error);
  } catch (const Error& error) {
    return error.status();
  }
  return Status::ok;
}

TEST(JointStep, WhoFailsFailsAlone) {
  const auto model = model_of("sample");
  const GenerationOptions options{.max_tokens = 5, .ignore_eos = IgnoreEos::yes};
  const auto told = alone(model, {.prompt = 8, .options = options});
  for (size_t cancelled : {0u, 1u, 3u}) {
    std::vector<std::unique_ptr<Session>> sessions;
    std::vector<Session*> all;
    for (int i = 0; i < 4; ++i) {
      sessions.push_back(session_of(model, 8));
      all.push_back(sessions.back().get());
      if (i != 2) all.back()->begin(options, quiet);  // the third was never told to
    }
    std::vector<size_t> steps(4);
    for (int round = 0; round < 6; ++round) {
      if (round == 2) all[cancelled]->cancel();
      const auto outcomes = Session::step_all(all);
      for (size_t i = 0; i < 4; ++i) {
        const bool fails = i == 2 || (i == cancelled && round == 2);
        const Status want = !fails ? Status::ok : i == 2 ? Status::bad_state : Status::cancelled;
        EXPECT_EQ(status_of(outcomes[i]), want) << i << " in round " << round;
      }
      if (round == 2) {
        EXPECT_EQ(all[cancelled]->finish_reason(), FinishReason::cancelled);
      }
    }
    for (size_t i : {0u, 1u, 3u}) {
      EXPECT_TRUE(std::equal(told.history.begin(), told.history.end(), all[i]->history().begin(),
                             all[i]->history().end()))
          << i;
    }
  }
}

/// A pass stops where the first was cancelled in it; the others take theirs again.
TEST(JointStep, CancelWithinThePass) {
  static std::atomic<int> calls{0};
  static std::atomic<Session*> victim{nullptr};
  const Executor executor{.run =
                              [](void*, int64_t count, void (*task)(void*, int64_t), void* context) {
                                if (--calls == 0) victim.load()->cancel();
                                for (int64_t i = 0; i < count; ++i) task(context, i);
                              },
                          .user_data = nullptr};
  const auto model =
      Model::load(source_dir() / "samples/model", {.backend = {.threads = 2, .executor = executor}}, quiet);
  const GenerationOptions options{.max_tokens = 4, .ignore_eos = IgnoreEos::yes};
  const auto told = alone(model, {.prompt = 8, .options = options});
  for (int after : {1, 5, 20}) {
    for (size_t who : {0u, 1u}) {
      const auto a = session_of(model, 8), b = session_of(model, 8), c = session_of(model, 8);
      Session* all[] = {a.get(), b.get(), c.get()};
      for (Session* const session : all) session->begin(options, quiet);
      (void)Session::step_all(all);
      victim = all[who];
      calls = after;
      const auto outcomes = Session::step_all(all);
      ASSERT_LE(calls, 0);
      for (size_t i = 0; i < 3; ++i)
        EXPECT_EQ(status_of(outcomes[i]), i == who ? Status::cancelled : Status::ok) << i;
      EXPECT_EQ(all[who]->finish_reason(), FinishReason::cancelled);
      for (const StepOutcome& outcome : Session::step_all(all)) EXPECT_EQ(status_of(outcome), Status::ok);
      for (int i = 0; i < 4; ++i) (void)Session::step_all(all);
      for (Session* const session : all)
        EXPECT_TRUE(std::equal(told.history.begin(), told.history.end(), session->history().begin(),
                               session->history().end()));
    }
  }
}

/// What a pass that was given up has left in its pipeline is not there when another's hidden state comes back to it.
TEST(JointStep, LogitsBehindCancelledPasses) {
  const auto folder = extra_data("families/gptj");  // whose halves stand side by side
  if (!folder) GTEST_SKIP() << "no test data";
  const auto model = load_model(*folder);
  Random random(3);
  int cancelled = 0;
  for (int i = 0; i < 10000 && cancelled < 150; ++i) {
    const auto a = session_of(model, 5), b = session_of(model, 3), c = session_of(model, 1);
    Session *ab[] = {a.get(), b.get()}, *ba[] = {b.get(), a.get()}, *bc[] = {b.get(), c.get()};
    for (Session* const session : {ab[0], bc[0], bc[1]})
      session->begin({.ignore_eos = IgnoreEos::yes}, quiet);
    for (int n = 0; n < 2; ++n) {  // the pipelines of a and of b have been those of two
      (void)Session::step_all(ab);
      (void)Session::step_all(bc);
    }
    std::atomic<bool> go{false};
    const int wait = static_cast<int>(random.uniform() * 20000);
    std::thread canceller([&] {
      while (!go) continue;
      for (std::atomic<int> n{0}; n < wait;) ++n;
      a->cancel();
    });
    go = true;
    for (int steps = 0; steps < 200 && a->finish_reason() != FinishReason::cancelled; ++steps) {
      if (a->history().size() > 30) break;
      (void)Session::step_all(ab);
    }
    canceller.join();
    cancelled += a->finish_reason() == FinishReason::cancelled ? 1 : 0;
    a->clear_cancel();
    for (const StepOutcome& outcome : Session::step_all(ba)) ASSERT_EQ(outcome.error, nullptr);
    Session fresh(model, 0);
    fresh.append_tokens(a->history().first(a->history().size() - 1));
    fresh.prefill(Logits::last, quiet);
    ASSERT_LE(relative_difference(logits_of(*a), logits_of(fresh)), 1e-4) << i;
  }
  EXPECT_GT(cancelled, 0);
}

TEST(JointStep, SessionsOfAnotherModelAreRefused) {
  const auto a = session_of(model_of("llama"), 2), b = session_of(model_of("gpt2"), 2);
  a->begin({}, quiet);
  b->begin({}, quiet);
  Session* both[] = {a.get(), b.get()};
  EXPECT_THROW(Session::step_all(both), Error);
  EXPECT_EQ(a->history().size(), 2u);
  EXPECT_TRUE(Session::step_all({}).empty());
  EXPECT_EQ(a->step(), StepResult::chunk);
}

TEST(JointStep, OneThatGoesLeavesTheOthers) {
  const auto model = model_of("sample");
  auto a = session_of(model, 4), b = session_of(model, 4);
  a->begin({}, quiet);
  b->begin({}, quiet);
  Session* both[] = {a.get(), b.get()};
  (void)Session::step_all(both);
  const auto want = logits_of(*b);
  a.reset();  // in whose pipeline it was
  EXPECT_EQ(logits_of(*b), want);
  EXPECT_EQ(b->step(), StepResult::chunk);
}

}  // namespace
}  // namespace gptq::test
