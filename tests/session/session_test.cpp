// Sessions on the sample model: pieces, sequences, cancelling, limits, text.
#include "session/session.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>
#include <thread>

#include "base/error.h"
#include "base/text.h"
#include "support/reference.h"

namespace gptq::test {
namespace {

void quiet(int64_t, int64_t, const std::string&) {}

const std::shared_ptr<const Model>& sample() {
  static const auto model = load_model(source_dir() / "samples/model");
  return model;
}

std::vector<int32_t> story_ids(int64_t count) {
  const auto ids = sample()->tokenizer()->encode(
      "Once upon a time, there was a little dog who lived near the sea. Every morning he ran along the sand "
      "and looked "
      "at the ships. One day a big ship came, and a girl with a red hat waved at him from the deck. He "
      "barked and ran "
      "after her, and the captain laughed until his hat fell into the water. That was the beginning of their "
      "friendship.",
      AddSpecial::yes, ParseSpecial::no);
  std::vector<int32_t> result;
  while (static_cast<int64_t>(result.size()) < count) result.insert(result.end(), ids.begin(), ids.end());
  result.resize(static_cast<size_t>(count));
  return result;
}

std::string generate(Session& session, const GenerationOptions& options) {
  session.begin(options, quiet);
  std::string text;
  while (session.step() == StepResult::chunk) {
    EXPECT_TRUE(is_utf8(session.text()));
    text += session.text();
  }
  return text;
}

TEST(Session, PiecesGiveTheSameLogitsAsTheWhole) {
  const auto ids = story_ids(70);
  const auto whole = causal_logits(sample(), ids, 70);
  for (int64_t piece : {1, 3, 16, 69}) {
    EXPECT_LE(relative_difference(causal_logits(sample(), ids, piece), whole), 1e-5) << piece;
  }
}

TEST(Session, LastLogitsAreTheLastRowOfAll) {
  const auto ids = story_ids(20);
  const auto all = causal_logits(sample(), ids, 20);
  Session session(sample(), 0);
  session.append_tokens(ids);
  session.prefill(Logits::last, quiet);
  const std::vector<float> last(session.logits().begin(), session.logits().end());
  EXPECT_LE(relative_difference(last, {all.end() - sample()->spec().vocab, all.end()}), 1e-6);
  session.reset();
  session.append_tokens(ids);
  session.prefill(Logits::none, quiet);
  EXPECT_TRUE(session.logits().empty());
}

/// A sampler is mostly given a few of a row's logits; who asks gets all of them, as a pass of its own has them. Behind a long
/// prompt the pipeline has given its matrices back.
class LogitsOfASession : public testing::TestWithParam<int64_t> {};  // tokens of the prompt

INSTANTIATE_TEST_SUITE_P(Prompts, LogitsOfASession, testing::Values(9, 150));

TEST_P(LogitsOfASession, AreThereForWhoAsks) {
  const int64_t prompt = GetParam();
  for (const SamplerOptions& options :
       {SamplerOptions{}, SamplerOptions{.temperature = 1, .top_k = 5, .repetition_penalty = 1.2},
        SamplerOptions{.temperature = 1}}) {
    Session session(sample(), 0);
    session.append_tokens(story_ids(prompt));
    session.begin({.sampler = options}, quiet);
    for (int64_t tokens : {prompt, prompt, prompt + 1, prompt + 2}) {  // behind begin(), and behind steps
      Session other(sample(), 0);
      other.append_tokens(session.history().first(static_cast<size_t>(tokens)));
      other.prefill(Logits::last, quiet);
      const auto of = [](const Session& s) {
        return std::vector<float>(s.logits().begin(), s.logits().end());
      };
      ASSERT_EQ(session.logits().size(), static_cast<size_t>(sample()->spec().vocab));
      EXPECT_LE(relative_difference(of(session), of(other)), 1e-5) << tokens;
      EXPECT_EQ(session.step(), StepResult::chunk);
    }
    // but for the token of the last chunk, which the next step asks the model about
    const std::vector<int32_t> history(session.history().begin(), session.history().end() - 1);
    session.cancel();
    const std::vector<float> logits(session.logits().begin(), session.logits().end());
    Session other(sample(), 0);
    other.append_tokens(history);
    other.prefill(Logits::last, quiet);
    EXPECT_LE(relative_difference(logits, std::vector<float>(other.logits().begin(), other.logits().end())),
              1e-5);
    EXPECT_THROW(session.step(), Error);  // the cancel was meant for it
    EXPECT_EQ(session.step(), StepResult::chunk);
  }
}

/// The same answer whether somebody looked before the failure or not.
TEST(Session, LogitsOfACallThatFailed) {
  for (bool looked : {false, true}) {
    Session session(sample(), 0);
    session.append_tokens(story_ids(9));
    session.begin({}, quiet);
    const size_t row = static_cast<size_t>(sample()->spec().vocab);
    if (looked) {
      EXPECT_EQ(session.logits().size(), row);
    }
    session.append_tokens(story_ids(3));
    const auto cancel = [](int64_t, int64_t, const std::string&) {
      throw Error(Status::cancelled, "by the host");
    };
    EXPECT_THROW(session.begin({}, cancel), Error);  // before the model was asked anything
    EXPECT_EQ(session.logits().size(), row) << looked;
    session.cancel();  // in the first pass
    EXPECT_THROW(session.begin({}, quiet), Error);
    EXPECT_EQ(session.logits().size(), 0u) << looked;
  }
}

TEST(Session, ThreadsDoNotChangeABit) {
  const auto ids = story_ids(200);
  const auto one = causal_logits(load_model(source_dir() / "samples/model", 1), ids, 200);
  const auto three = causal_logits(load_model(source_dir() / "samples/model", 3), ids, 200);
  EXPECT_EQ(one, three);
}

TEST(Session, SameSeedSameStory) {
  const GenerationOptions options{.sampler = {.temperature = 0.8, .top_p = 0.9, .seed = 11},
                                  .max_tokens = 40};
  Session a(sample(), 0), b(sample(), 0);
  a.append_text("Once upon a time");
  b.append_text("Once upon a time");
  const std::string text = generate(a, options);
  EXPECT_EQ(text, generate(b, options));
  EXPECT_GT(text.size(), 40u);
  b.reset();
  b.append_text("Once upon a time");
  EXPECT_EQ(text, generate(b, options));
}

TEST(Session, ConversationContinues) {
  Session session(sample(), 0);
  session.append_text("Lily had a");
  const std::string first = generate(session, {.max_tokens = 5});
  EXPECT_EQ(session.finish_reason(), FinishReason::length);
  EXPECT_EQ(session.step(), StepResult::done);
  session.append_text(" One day");
  const std::string second = generate(session, {.max_tokens = 5});
  Session whole(sample(), 0);
  whole.append_tokens(std::vector<int32_t>(session.history().begin(), session.history().end() - 5));
  EXPECT_EQ(generate(whole, {.max_tokens = 5}), second);
  EXPECT_FALSE(first.empty());
}

TEST(Session, BeginAgainWithoutNewTokens) {
  Session session(sample(), 0);
  session.append_text("Once upon a");
  const std::string first = generate(session, {.max_tokens = 1});
  EXPECT_EQ(first, " time");
  const std::string second = generate(session, {.max_tokens = 3});
  Session whole(sample(), 0);
  whole.append_text("Once upon a");
  EXPECT_EQ(generate(whole, {.max_tokens = 4}), first + second);
}

/// A state cannot forget single tokens: what fails half-way goes back to where the call began.
TEST(Session, StatesGoBack) {
  const auto model = load_model(source_dir() / "tests/golden/models/qwen3-5-short-conv");
  std::vector<int32_t> ids(2600);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(3 + i * i % 37);
  const auto prompt = [&](int64_t from, int64_t to) {
    return std::vector<int32_t>(ids.begin() + from, ids.begin() + to);
  };
  const auto last = [&](const Session& session) {
    return std::vector<float>(session.logits().begin(), session.logits().end());
  };
  Session session(model, 4096), fresh(model, 4096);
  session.append_tokens(prompt(0, 700));
  session.prefill(Logits::none, quiet);
  session.append_tokens(prompt(700, 2600));
  int pieces = 0;
  const Progress fails = [&](int64_t, int64_t, const std::string&) {
    if (++pieces == 3) throw Error(Status::cancelled, "enough");
  };
  EXPECT_THROW(session.prefill(Logits::last, fails), Error);
  std::vector<int64_t> totals;
  session.prefill(Logits::last, [&](int64_t, int64_t total, const std::string&) { totals.push_back(total); });
  EXPECT_EQ(totals, (std::vector<int64_t>(4, 1900)));  // not those before
  fresh.append_tokens(ids);
  fresh.prefill(Logits::last, quiet);
  EXPECT_LE(relative_difference(last(session), last(fresh)), 1e-5);
}

TEST(Session, BeginAfterPrefillNeedsNoFurtherPass) {
  for (const char* folder : {"llama", "qwen3-5-short-conv", "qwen3-next-dense-first"}) {
    const auto model = load_model(source_dir() / "tests/golden/models" / folder);
    const std::vector<int32_t> ids{5, 9, 4, 17, 8, 3, 21, 30, 6, 12, 7};
    const GenerationOptions options{.max_tokens = 12, .ignore_eos = IgnoreEos::yes};
    Session one(model, 64), other(model, 64);
    one.append_tokens(ids);
    other.append_tokens(ids);
    other.prefill(Logits::none, quiet);
    for (Session* session : {&one, &other}) {
      session->begin(options, quiet);
      while (session->step() == StepResult::chunk) continue;
    }
    EXPECT_EQ(other.stats().prefill_tokens, 11) << folder;
    EXPECT_TRUE(std::equal(one.history().begin(), one.history().end(), other.history().begin(),
                           other.history().end()))
        << folder;
  }
}

TEST(Session, TokensBeyondTheTokenizerHaveNoText) {
  const TemporaryFolder folder;  // 96 tokens in the embedding, fewer in the tokenizer
  const fs::path model = source_dir() / "tests/golden/models/llama";
  for (const auto& entry : fs::directory_iterator(model)) {
    if (entry.path().filename() != "expected.safetensors")
      fs::copy_file(entry.path(), folder / entry.path().filename().string());
  }
  write_file(
      folder / "tokenizer.json",
      R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}, "decoder": {"type": "ByteLevel"}})");
  Session session(load_model(folder.path()), 0);
  session.append_tokens(std::vector<int32_t>{0, 60, 1});
  EXPECT_NO_THROW(generate(session, {.max_tokens = 8, .ignore_eos = IgnoreEos::yes}));
  EXPECT_EQ(session.history().size(), 11u);
}

TEST(Session, StopsAtATextWhereverTokensEnd) {
  Session session(sample(), 0);
  const auto run = [&](std::vector<std::string> stop, int64_t tokens) {
    session.reset();
    session.append_tokens(story_ids(12));
    return generate(session, {.max_tokens = tokens, .stop = std::move(stop)});
  };
  const std::string whole = run({}, 40);
  ASSERT_EQ(session.finish_reason(), FinishReason::length);
  ASSERT_GT(whole.size(), 60U);
  for (size_t at = 0; at + 7 < whole.size(); ++at) {
    const std::string stop = whole.substr(at, 1 + at % 7);
    EXPECT_EQ(run({"no such text", stop}, 40), whole.substr(0, whole.find(stop))) << stop;
    EXPECT_EQ(session.finish_reason(), FinishReason::stop);
    EXPECT_LE(session.history().size(), 12U + 40U);
  }
  EXPECT_EQ(run({whole + "!"}, 40), whole);  // what was held back comes at the end
  EXPECT_EQ(session.finish_reason(), FinishReason::length);
  EXPECT_EQ(run({whole.substr(20)}, 40), whole.substr(0, 20));  // it is complete with the last token
  EXPECT_EQ(session.finish_reason(), FinishReason::stop);
  EXPECT_EQ(session.step(), StepResult::done);
  // a generation that begins where another one stopped has texts of its own
  const std::string next = generate(session, {.max_tokens = 10});
  EXPECT_FALSE(next.empty());
  EXPECT_EQ(session.finish_reason(), FinishReason::length);
}

/// It has no text, and is left out of the history as an end-of-text token is, which it may be.
TEST(Session, StopsAtASpecialToken) {
  const auto& tokenizer = *sample()->tokenizer();
  const int32_t eos = sample()->eos().value();
  ASSERT_TRUE(tokenizer.is_special(eos));
  Session session(sample(), 0);
  const auto run = [&](uint64_t seed, std::vector<std::string> stop) {
    session.reset();
    session.append_tokens(story_ids(12));
    generate(session, {.sampler = {.temperature = 1, .seed = seed},
                       .max_tokens = 400,
                       .ignore_eos = IgnoreEos::yes,
                       .stop = std::move(stop)});
    return std::vector<int32_t>(session.history().begin(), session.history().end());
  };
  int stopped = 0;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    const std::vector<int32_t> whole = run(seed, {});
    const auto at = std::find(whole.begin() + 12, whole.end(), eos);
    EXPECT_EQ(run(seed, {"no such text", std::string(tokenizer.token_text(eos))}),
              std::vector<int32_t>(whole.begin(), at));
    EXPECT_EQ(session.finish_reason(), at == whole.end() ? FinishReason::length : FinishReason::stop);
    stopped += at == whole.end() ? 0 : 1;
  }
  EXPECT_GT(stopped, 0);
}

TEST(Session, StopsAtNoTextWithoutATokenizer) {
  Session session(load_model(source_dir() / "tests/golden/models/gptq-b4-g16"), 0);
  session.append_tokens(std::vector<int32_t>{1, 2});
  try {
    session.begin({.stop = {"a"}}, quiet);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::unsupported);
  }
  EXPECT_NO_THROW(session.begin({}, quiet));
}

TEST(Session, ContextLimits) {
  Session session(sample(), 10);
  EXPECT_THROW(session.append_tokens(story_ids(11)), Error);
  EXPECT_TRUE(session.history().empty());
  session.append_tokens(story_ids(8));
  session.begin({.ignore_eos = IgnoreEos::yes}, quiet);
  int steps = 0;
  while (session.step() == StepResult::chunk) ++steps;
  EXPECT_EQ(steps, 2);
  EXPECT_EQ(session.finish_reason(), FinishReason::context);
  EXPECT_THROW(session.append_tokens(story_ids(1)), Error);
}

TEST(Session, RefusesWhatIsOutOfOrder) {
  Session session(sample(), 0);
  EXPECT_THROW(session.step(), Error);
  EXPECT_THROW(session.begin({}, quiet), Error);
  EXPECT_THROW(session.prefill(Logits::last, quiet), Error);
  EXPECT_THROW(session.append_tokens(std::vector<int32_t>{-1}), Error);
  EXPECT_THROW(session.append_tokens(std::vector<int32_t>{4096}), Error);
}

TEST(Session, PrefillEndsTheGenerationWhoseLogitsItReplaces) {
  for (Logits keep : {Logits::none, Logits::last}) {
    Session session(sample(), 0);
    session.append_tokens(story_ids(10));
    session.begin({.sampler = {.temperature = 1}}, quiet);
    EXPECT_EQ(session.step(), StepResult::chunk);
    session.prefill(keep, quiet);  // the token of that step
    EXPECT_THROW(session.step(), Error);
    EXPECT_EQ(session.history().size(), 11U);
    EXPECT_FALSE(generate(session, {.max_tokens = 3}).empty());
  }
}

TEST(Session, CancelEndsPrefillAndLeavesTheSessionUsable) {
  Session session(sample(), 4096);
  const auto ids = story_ids(4096);
  using Clock = std::chrono::steady_clock;
  auto best = Clock::duration::max();  // of a few attempts: the machine may be busy with other things
  for (int attempt = 0; attempt < 5 && best >= std::chrono::milliseconds(50); ++attempt) {
    session.reset();
    session.append_tokens(ids);
    Clock::time_point asked;
    std::thread other([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(60));
      asked = Clock::now();
      session.cancel();
    });
    std::optional<Status> end;
    try {
      session.prefill(Logits::last, quiet);
    } catch (const Error& error) {
      end = error.status();
    }
    const auto ended = Clock::now();
    other.join();
    if (!end) GTEST_SKIP() << "this machine is through with 4,096 tokens in 60 ms";
    EXPECT_EQ(end, Status::cancelled);
    best = std::min(best, ended - asked);
  }
  EXPECT_LT(best, std::chrono::milliseconds(50));
  session.prefill(Logits::last, quiet);
  const std::vector<float> logits(session.logits().begin(), session.logits().end());
  Session fresh(sample(), 4096);
  fresh.append_tokens(ids);
  fresh.prefill(Logits::last, quiet);
  EXPECT_EQ(logits, std::vector<float>(fresh.logits().begin(), fresh.logits().end()));
}

TEST(Session, CancelBeforeAStepEndsThatStepOnly) {
  Session session(sample(), 0), undisturbed(sample(), 0);
  std::string text;
  session.append_text("Once upon a time");
  session.begin({.max_tokens = 12}, quiet);
  for (int i = 0; i < 4 && session.step() == StepResult::chunk; ++i) text += session.text();
  session.cancel();
  EXPECT_THROW(session.step(), Error);
  EXPECT_EQ(session.finish_reason(), FinishReason::cancelled);
  while (session.step() == StepResult::chunk) text += session.text();
  undisturbed.append_text("Once upon a time");
  EXPECT_EQ(text, generate(undisturbed, {.max_tokens = 12}));
}

TEST(Session, ProgressCanStopThePrompt) {
  Session session(sample(), 4096);
  session.append_tokens(story_ids(2048));
  int calls = 0;
  const auto stop = [&](int64_t, int64_t, const std::string&) {
    if (++calls == 3) throw Error(Status::cancelled, "stop");
  };
  EXPECT_THROW(session.begin({}, stop), Error);
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(session.history().size(), 2048u);
}

TEST(Session, APromptTakesMemoryPieceByPiece) {
  Session session(sample(), 8192);
  session.append_tokens(story_ids(8000));
  std::vector<uint64_t> bytes;
  session.prefill(Logits::none,
                  [&](int64_t, int64_t, const std::string&) { bytes.push_back(session.cache_bytes()); });
  ASSERT_GT(bytes.size(), 4u);
  EXPECT_EQ(bytes.front(), 0u);
  EXPECT_LT(bytes[1], session.cache_bytes() / 4);
}

TEST(Session, KeysAndValuesInEightBitsTakeLessAndSayMuchTheSame) {
  Session plain(sample(), 4096), rounded(sample(), 4096, KvElements::int8);
  std::vector<std::vector<float>> logits;
  for (Session* session : {&plain, &rounded}) {
    session->append_tokens(story_ids(500));
    session->prefill(Logits::last, quiet);
    logits.emplace_back(session->logits().begin(), session->logits().end());
  }
  // of a position of a layer: a byte for each number and two scales a head, instead of four bytes a number
  const CacheLayer layer = Decoder::cache_layer(sample()->spec(), 0);
  const auto numbers = static_cast<double>(layer.key_dim + layer.value_dim);
  EXPECT_NEAR(static_cast<double>(rounded.cache_bytes()) / static_cast<double>(plain.cache_bytes()),
              (numbers + 8) / (4 * numbers), 0.01);
  EXPECT_NE(logits[0], logits[1]);
  double kl = 0, sums[2] = {};
  for (int i = 0; i < 2; ++i)
    for (float x : logits[static_cast<size_t>(i)]) sums[i] += std::exp(double{x});
  for (size_t i = 0; i < logits[0].size(); ++i) {
    const double p = double{logits[0][i]} - std::log(sums[0]), q = double{logits[1][i]} - std::log(sums[1]);
    kl += std::exp(p) * (p - q);
  }
  EXPECT_LT(kl, 1e-3);
  // and it goes on, also token by token
  rounded.reset();
  rounded.append_tokens(story_ids(500));
  rounded.begin({.max_tokens = 20}, quiet);
  while (rounded.step() == StepResult::chunk) {
  }
  EXPECT_EQ(rounded.history().size(), 520u);
}

TEST(Session, CacheGrowsWithUseAndIsGivenBack) {
  Session session(sample(), 4096);
  const uint64_t empty = session.cache_bytes();
  session.append_tokens(story_ids(1000));
  session.prefill(Logits::none, quiet);
  EXPECT_GT(session.cache_bytes(), empty + 1000u * 4 * 2 * 128);
  session.reset();
  EXPECT_EQ(session.cache_bytes(), empty);
}

}  // namespace
}  // namespace gptq::test
